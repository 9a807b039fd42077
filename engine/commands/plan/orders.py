"""What `plan --full` asks of its helpers, and what they answer.

Invariant: an answer holds sums, and is bounded; hashes and the keys that are suspected stay in files.
"""

from collections.abc import Mapping
from typing import TypeAlias

from engine.batch import Segment
from engine.commands.helpers import Failed, FilePart, Helper, Helpers, Ready, Used
from engine.commands.plan.measuring import MeasuredBy
from engine.commands.plan.tally import RuleTally
from engine.frozen import dataclass
from engine.run.beats import Beat, Granted, Left
from engine.run.link import Drain, Noted
from engine.run.wire import Language


@dataclass(frozen=True, slots=True)
class PlanBoot:
    """All that a helper of a plan needs; secret.

    Shape: `job` handed.write, `ticket` SourceTicket.as_json, `target` TargetInfo.as_text.
    """

    job: str
    ticket: str
    target: str
    by: MeasuredBy


@dataclass(frozen=True, slots=True)
class PlanBootAfar:
    """What one of another host needs besides the job. Shape: `hashes` hash_probe.probe."""

    hashes: str
    by: MeasuredBy


@dataclass(frozen=True, slots=True)
class MeasureOrder:
    """Measure a segment. Hashes go into `directory`; with `suspects`, hashes as bytes, what has those."""

    number: int
    segment: Segment
    directory: str
    suspects: bytes | None


@dataclass(frozen=True, slots=True)
class SegmentMeasured:
    """What a segment's rows come to. Shape: `sizes` each size in bytes, how often; `own` Measurer.sums."""

    number: int
    rows: int
    rules: Mapping[str, RuleTally]
    sizes: tuple[tuple[int, int], ...]
    own: str


TO_HELPER: Language[PlanBoot | MeasureOrder] = Language(PlanBoot | MeasureOrder)
FROM_HELPER: Language[Ready | Noted | Used | Failed | SegmentMeasured] = Language(
    Ready | Noted | Used | Failed | SegmentMeasured
)

TO_AFAR: Language[PlanBootAfar | MeasureOrder | Granted | Drain] = Language(
    PlanBootAfar | MeasureOrder | Granted | Drain
)
FROM_AFAR: Language[Ready | Noted | Used | FilePart | SegmentMeasured | Beat | Left] = Language(
    Ready | Noted | Used | FilePart | SegmentMeasured | Beat | Left
)

PlanHelper: TypeAlias = Helper[MeasureOrder, SegmentMeasured]
PlanHelpers: TypeAlias = Helpers[MeasureOrder, SegmentMeasured]
