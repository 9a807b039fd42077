"""What the writer knows about the job."""

from connectors.dynamodb.modes import WriteMode
from engine.frozen import dataclass
from engine.tenure import NEVER


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """One table and how it is written to.

    Shape: `key` the table's key attributes; `source_key` the source columns that name a row in a dead letter.
    Units: `give_up_after_s` seconds without any success; `wcu_start` write units per second to begin with;
    `stop_after_refusals` items refused with none written between them.
    """

    mode: WriteMode
    table: str
    key: tuple[str, ...]
    rules: tuple[str, ...]
    source_key: tuple[str, ...]
    give_up_after_s: float
    fail_on_refusal: bool = False
    stop_after_refusals: int | None = None
    wcu_start: float = NEVER
