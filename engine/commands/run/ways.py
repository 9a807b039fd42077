"""How a run keeps equal keys in their order: they differ (proved, said, asked), are settled, or in order.

Invariant: cursors read side by side only where no two rows make one key, or where it is known which of them
wins; a run that began so never goes on in order, since what is behind a cursor may be newer than what is to
come.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from engine.batch import Segment
from engine.commands.ends import Ends
from engine.commands.run import settled_keys
from engine.commands.run.contest import NO_WINNERS, Winners
from engine.commands.run.following import log_end, log_of, whole
from engine.commands.run.key_pass import key_pass
from engine.commands.run.prepare import Prepared, segments_wanted
from engine.commands.run.word import see_to_whole
from engine.contracts.state import RunState
from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.model import Job
from engine.rules.uniqueness import KeyProof
from engine.run.voice import Voice
from engine.state.resume import GoOn, Start

ROWS_MIN = 500_000
"""Below, one process is done before several have started and looked at all keys.

Source: rows of 400 bytes, a target that takes everything, one run each on two busy cores; seconds (of CPU) in
order, and settled by two workers: 300,000 rows 45 (7), 58 (11); 500,000 rows 50 (9), 68 (19); a million 54
(14), 51 (22).
"""

ASK_S = 5.0
"""How long a question to the source may take at least."""

PASS_S_PER_ROW = 3e-6
"""About what looking at a row's keys takes."""

WayName: TypeAlias = Literal["proved", "said", "settled", "in order"]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The way that a run would take. `why`: what keeps it from settling its keys, if it reads in order.

    It is "settled" too where the source will be asked first, and may tell that nothing is to be settled.
    """

    name: WayName
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """How equal keys are kept in their order.

    `segments` the source is cut into, of a run that begins. `settled`: what a run goes by that has looked at
    its keys, None where it hasn't. `owed`: winners that what is behind the cursors may lack.
    """

    name: WayName | Literal["asked"]
    segments: Sequence[Segment] = ()
    settled: Winners | None = None
    owed: Winners = NO_WINNERS

    @property
    def said(self) -> bool:
        """Whether the run goes by the user's word."""
        return self.name == "said"

    @property
    def in_order(self) -> bool:
        """Whether one cursor has to read everything."""
        return self.name == "in order"

    @property
    def here_only(self) -> str | None:
        """Say why no other host can take part; None: any can."""
        if self.in_order:
            return "all is read in order, by one cursor"
        if self.said:
            return "what is written is noted here, to hold the job to its word that keys are unique"
        if self.settled is not None and len(self.settled):
            return "which rows win the keys that several make is known to this host alone"
        return None


def unsettled(ends: Ends, *, catch_up: bool) -> str | None:
    """Say why keys can't be settled before they are written; None when they can."""
    if ends.job.target.compared is not None:
        return "which of several versions is newest shows only when they are written"
    if not ends.connector.abilities.reads_back:
        return "the target's items can't be compared"
    if not ends.source.ticket.schema.key:
        return "the source has no key that tells its rows"
    if ends.source.abilities.keep_view is None:
        return "the source can't keep one view for the whole run"
    if catch_up:
        return "a catch-up run looks at what has changed only"
    return None


def foreseen(ends: Ends, *, workers: int, segments: int, rows: int | None) -> Foreseen:
    """Say which way a full run would take, as far as it shows before the source is asked or looked at."""
    if ends.proof.reason is None:
        return Foreseen("proved")
    if _believed(ends):
        return Foreseen("said")
    why = unsettled(ends, catch_up=False)
    if why is None and min(workers, segments) <= 1:
        why = "there is one worker" if workers <= 1 else "the source is one segment"
    if why is None and not worth_it(ends.job, rows, workers):
        why = f"fewer than {ROWS_MIN:,} rows are sooner read by one process than looked at first"
    return Foreseen("settled") if why is None else Foreseen("in order", why)


async def choose(prepared: Prepared, decision: Start | GoOn, voice: Voice) -> Way:
    """Choose the way, and go it as far as the first write. Raises: JobError, and what reading raises."""
    if isinstance(decision, GoOn):
        return await _gone_on_with(prepared, decision.run, voice)
    ends = prepared.ends
    if log_of(ends, decision.kind) is not None:
        assert decision.since is not None, "a run by the log begins where the one before has ended"
        return Way("in order", [whole(decision.since, log_end(ends, endless=prepared.line.endless))])
    rows = await ends.source.rows_expected()
    wanted = segments_wanted(prepared, rows)
    reason = ends.proof.reason
    if reason is None:
        return Way("proved", await ends.source.segments(wanted))
    if _believed(ends):
        against = "held against the changed rows" if decision.kind == "catch_up" else "checked as items go by"
        voice.note(f"{_sentence(reason)}, but the job says that keys are unique: that is {against}")
        return Way("said", await ends.source.segments(wanted))
    why = unsettled(ends, catch_up=decision.kind == "catch_up")
    if why is None and worth_it(ends.job, rows, prepared.workers):
        segments = await ends.source.segments(wanted)
        if len(segments) > 1:
            _keep_view(ends)
            if await _asked(prepared, voice):
                return Way("asked", segments, NO_WINNERS)
            voice.note(f"{_sentence(reason)}, so all keys are looked at first")
            found = await key_pass(prepared, segments, NO_WINNERS, voice)
            if isinstance(found, Winners):
                _tell(found, voice)
                return Way("settled", segments, found)
            voice.note(f"{_sentence(found)}, so the source is read in one ordered segment")
            return Way("in order", await ends.source.segments(1))
    assert ends.ordered_reason is not None, "what isn't proved has a reason"
    voice.note(ends.ordered_reason)
    return Way("in order", await ends.source.segments(1))


async def _gone_on_with(prepared: Prepared, run: RunState, voice: Voice) -> Way:
    """Choose for a run that was begun: what was read side by side can't be gone on with in order."""
    see_to_whole(run)
    ends = prepared.ends
    same = ends.source.abilities.same_view
    earlier = settled_keys.load(folder_of(prepared), run.run_id)
    if earlier is None and same and prepared.before is not None and prepared.before.differ:
        earlier = NO_WINNERS  # as is known on another host, too
    reason = ends.proof.reason
    if log_of(ends, run.kind) is not None:
        return Way("in order")
    if reason is None and not earlier:
        return Way("proved")
    if _believed(ends) and not earlier:
        return Way("said")
    if earlier is None and len(run.segments) == 1:
        assert ends.ordered_reason is not None, "what isn't proved has a reason"
        voice.note(ends.ordered_reason)
        return Way("in order")
    begun = any(state.done or state.end is not None for state in run.segments)
    if earlier is None and begun:
        raise JobError(
            f"{reason}, and this run was begun side by side, by a proof or a word that is gone, or by what is"
            f" kept at another place than {folder_of(prepared) / settled_keys.NAME}; put back what was there,"
            " or start over with --fresh"
        )
    why = unsettled(ends, catch_up=run.kind == "catch_up")
    if why is None:
        _keep_view(ends)
        if same and earlier is not None:
            voice.note("the view is the one in which item keys were looked at: what was found holds")
            return Way("settled", (), earlier)
        if not earlier and await _asked(prepared, voice):
            return Way("asked", (), NO_WINNERS)
        voice.note("the source may have changed since this run began, so all keys are looked at again")
        found = await key_pass(
            prepared, [state.segment for state in run.segments], earlier or NO_WINNERS, voice
        )
        if isinstance(found, Winners):
            _tell(found, voice)
            before = earlier or NO_WINNERS
            return Way("settled", (), before.joined(found), found.unlike(before) if begun else NO_WINNERS)
        why = found
    raise JobError(
        f"this run was begun side by side and can't be gone on with: {why}; start over with --fresh"
    )


def worth_it(job: Job, rows: int | None, workers: int) -> bool:
    """Whether reading side by side gains more than looking at all keys costs; asked for, it always does."""
    if workers == 1:
        return False
    return job.source.segments != "auto" or rows is None or rows >= ROWS_MIN


def _keep_view(ends: Ends) -> None:
    """Have the source end the run where its view is gone: what was found out holds for no other one."""
    keep = ends.source.abilities.keep_view
    assert keep is not None, "only what has one view is settled"
    keep()


def _believed(ends: Ends) -> bool:
    """Whether the user's word is taken, as it can be checked."""
    tells_rows = bool(ends.source.ticket.schema.key) and ends.connector.abilities.reads_back
    return ends.proof.said and tells_rows


def questions(proof: KeyProof) -> Sequence[frozenset[str]]:
    """Return the sets of columns of which none may be shared by two rows; none where that proves nothing.

    Equal keys of a rule have equal texts in the columns that can be read out of them.
    """
    sets = [rule.shared for rule in proof.rules if rule.reason is not None]
    return tuple(dict.fromkeys(sets)) if proof.between is None and all(sets) else ()


async def _asked(prepared: Prepared, voice: Voice) -> bool:
    """Ask the source whether rows share what keys are made of, no longer than looking at all keys takes."""
    shared, sets = prepared.ends.source.abilities.shared, questions(prepared.ends.proof)
    if shared is None or not sets:
        return False
    rows = await prepared.ends.source.rows_expected() or 0
    named = " or ".join(", ".join(sorted(names)) for names in sets)
    voice.say(f"asking the source whether two rows share {named}")
    found = await shared(sets, max(ASK_S, rows * PASS_S_PER_ROW))
    if found is False:
        voice.note(f"no two rows share {named}, so no two make one key")
    return found is False


def folder_of(prepared: Prepared) -> Path:
    """Return where a job keeps what lies beside its checkpoint."""
    return prepared.options.state_dir / prepared.ends.job.name


def _tell(found: Winners, voice: Voice) -> None:
    if not len(found):
        voice.note("no two rows make one key")
        return
    voice.note(
        f"{len(found):,} keys are made by several rows: of each the item of one row is written, and the"
        " others count as coalesced"
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
