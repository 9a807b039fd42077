"""Items under keys that an earlier run's rules made and today's don't: told apart, and removed only on proof.

Invariant: an item goes only when its source row makes, by the earlier rules, exactly that item under exactly
that key. One that has changed since, or whose key doesn't tell its row, stays. What runs keep is read here,
not changed, and none of it need be there.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

from engine.commands.ends import read_state
from engine.commands.verify.inversion import KeyInversion
from engine.commands.verify.key_patterns import KeyPatterns, patterns_of, patterns_of_jobs
from engine.commands.verify.opened_job import OpenedJob, open_job
from engine.commands.verify.progress_store import RowRange
from engine.contracts.readback import Item
from engine.errors import BackfillError, JobError, PermanentError
from engine.state import file
from engine.state.dead_letters import FILE_NAME, read
from engine.state.fingerprint import fingerprint, same_target
from engine.state.former import former_rules, hidden_for_good, restored


class FormerKeys:
    """The earlier rules of some jobs, and what of the target they made.

    Shape: `rules` are, for each job, the texts that engine.state.former keeps; `others` those of other jobs
    that load the same target: what their rules make is theirs.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        jobs: Sequence[OpenedJob],
        rules: Sequence[Sequence[str]],
        others: Sequence[str],
    ) -> None:
        self._stack = stack
        self._former = [
            (job, job.job.model_copy(update={"items": restored(text)}))
            for job, texts in zip(jobs, rules, strict=True)
            for text in texts
        ]
        key = jobs[0].info.key
        self.patterns = KeyPatterns(
            jobs[0].codec,
            patterns_of_jobs([(job.job, job.source.ticket.schema) for job in jobs], key),
            patterns_of_jobs([(former, job.source.ticket.schema) for job, former in self._former], key),
            patterns_of([rule for text in others for rule in restored(text)], {}, key),
        )
        """The keys of rules old and new."""
        self._opened: list[OpenedJob] | None = None

    def __bool__(self) -> bool:
        return bool(self._former)

    async def still_as_written(
        self, contents: Mapping[int, int], keys: Sequence[Item], notice: Callable[[str], None]
    ) -> set[int]:
        """Return which of these items earlier rules still make of their rows: hashes of keys and contents."""
        proved: set[int] = set()
        for job in await self._jobs(notice):
            inversion = KeyInversion(job)
            if not inversion.complete or job.ordered or job.keeps:
                notice("items of earlier keys stay: their keys don't tell the rows that made them")
                continue
            cursors = tuple({cursor for key in keys for cursor in inversion.cursors(key)})
            try:
                async with aclosing(job.rows_of(RowRange(0, keys=cursors))) as batches:
                    async for batch in batches:
                        made = await job.make(batch)
                        pairs = zip(made.keys.tolist(), made.contents.tolist(), strict=True)
                        proved |= {key for key, content in pairs if contents.get(key) == content}
            except PermanentError:  # a text among them can't be such a key
                notice("items of earlier keys stay: the source doesn't take what their keys tell")
        return proved

    async def _jobs(self, notice: Callable[[str], None]) -> list[OpenedJob]:
        if self._opened is None:
            self._opened = []
            for job, former in self._former:
                try:
                    opened = await open_job(self._stack, 0, former, lambda _: None, job.stages.tenure)
                    self._opened.append(opened)
                except JobError as error:
                    notice(f"items of earlier keys stay, since their rules don't fit the source: {error}")
        return self._opened


async def former_keys(
    stack: AsyncExitStack, jobs: Sequence[OpenedJob], state_dir: Path, notice: Callable[[str], None]
) -> FormerKeys:
    """Return what the runs so far of some jobs, and of others that load the same target, have made."""
    rules = [await _former(job, state_dir, notice) for job in jobs]
    return FormerKeys(stack, jobs, rules, _others(jobs, state_dir) if any(rules) else ())


async def _former(job: OpenedJob, state_dir: Path, notice: Callable[[str], None]) -> tuple[str, ...]:
    """Return the rules of a job's runs so far that make keys which today's rules don't."""
    try:
        state = await read_state(job.job, state_dir)
    except BackfillError as error:
        notice(f"what earlier runs wrote isn't known, so items of earlier keys aren't looked for: {error}")
        return ()
    prints = fingerprint({}, {}, job.info.identity)
    if state is None or not same_target(state.fingerprint, prints):
        return ()
    former = former_rules(state, job.job.items)
    for name in dict.fromkeys(name for text in former for name in hidden_for_good(text)):
        notice(
            f"items whose earlier keys held the value of ${{{name}}} aren't known: the variable isn't what it"
            " was, and the checkpoint keeps a digest of it alone"
        )
    return former


def _others(jobs: Sequence[OpenedJob], state_dir: Path) -> tuple[str, ...]:
    """Return the rules of other jobs whose runs, kept in the same directory, loaded the same target."""
    ours = {job.job.name for job in jobs}
    prints = fingerprint({}, {}, jobs[0].info.identity)
    rules = []
    for path in sorted(state_dir.glob(f"*/{file.STATE_NAME}")):
        name = path.parent.name
        if name in ours:
            continue
        try:
            state = file.read_state(state_dir, name)
        except JobError:  # damaged: its own commands tell
            continue
        if state is not None and state.rules is not None and same_target(state.fingerprint, prints):
            rules.append(state.rules)
    return tuple(rules)


def rejected(jobs: Sequence[OpenedJob], state_dir: Path) -> frozenset[int]:
    """Return the hashes of the keys that runs have tried and the target has refused."""
    codec = jobs[0].codec
    items = [
        letter.item
        for job in jobs
        for letter in read(state_dir / job.job.name / FILE_NAME)
        if letter.reason == "rejected_by_target" and letter.item and codec.has_key(letter.item)
    ]
    return frozenset(codec.digests([codec.key_of(item) for item in items]).keys.tolist())
