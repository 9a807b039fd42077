"""One redrive: each dead letter's row is read again and written under the job as it is now.

Invariant: a letter leaves the file only after its item was written, or its row gives none any more, or is
gone where runs by the log take its items away; until the new file is in place the old one is, so a redrive
that is stopped loses none.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from itertools import islice
from pathlib import Path
from typing import IO

import orjson

from engine.batch import Batch, Cursor, DeadLetter, EncodedBatch
from engine.clock import utc_now
from engine.commands.ends import Ends, open_ends, open_store
from engine.commands.peers import sharing
from engine.commands.redrive.contest import Contest
from engine.commands.redrive.report import RedriveReport
from engine.commands.told import source_heard
from engine.commands.verify.comparison import read as read_back
from engine.commands.whose import job_named
from engine.contracts.readback import TargetReader
from engine.contracts.source import KeysRefused, Sharing
from engine.contracts.state import RunState
from engine.contracts.target import written
from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.model import Job
from engine.run.pipeline import Stages
from engine.state.dead_letters import StoredLetter, lines, read
from engine.state.fingerprint import POSITIONS, compare, upgraded

LETTERS_AT_ONCE = 10_000

RELAXED = ("mapping", "source", POSITIONS)
"""Parts of a fingerprint that may have changed: mending them is what a redrive is for."""


@dataclass(frozen=True, slots=True)
class RedriveOptions:
    """What the command line says. `drop_gone`: letters whose row or rule is gone leave the file."""

    state_dir: Path
    drop_gone: bool = False


async def redrive(
    jobs: Sequence[Job], options: RedriveOptions, notice: Callable[[str], None]
) -> list[RedriveReport]:
    """Try the dead letters of jobs again, one job after the other.

    Raises: JobError, PermanentError, RetriesExhausted; then the files are as they were.
    """
    reports = []
    for job in jobs:
        with job_named(job, among=len(jobs)):
            reports.append(await _redrive(job, options, notice))
    return reports


async def _redrive(job: Job, options: RedriveOptions, notice: Callable[[str], None]) -> RedriveReport:
    report = RedriveReport(job.name)
    # Letters that are refused again are no surprise, and good ones may lie behind a thousand of them.
    job = job.model_copy(update={"target": job.target.patient()})

    def note(text: str) -> None:
        report.notices.append(text)
        notice(text)

    async with AsyncExitStack() as stack:
        store = await open_store(job, options.state_dir, notice)
        stack.push_async_callback(store.close)
        before = await store.load()
        if before is not None and not before.closed:
            raise JobError(f"run {before.run_id} of {job.name} isn't complete: finish it with `backfill run`")
        letters = read(await store.collect_dead_letters())
        some = list(islice(letters, LETTERS_AT_ONCE))
        if not some:
            return report
        ends = await open_ends(stack, job)
        _check(ends, before)
        await stack.enter_async_context(source_heard(lambda: ends.source, note, len(ends.source.notices)))
        stages = await stack.enter_async_context(ends.stages(note, ordered=False, tenure=store.tenure))
        contest = _contest(ends, stages, note)
        reader = None if contest is not None else await _reader(stack, ends, note)
        look = await stack.enter_async_context(ends.watch())
        with tempfile.TemporaryFile(dir=store.dead_letters.parent) as kept:
            while some:
                await _Portion(ends, stages, reader, contest, some, options, report).settle(kept, note)
                some = list(islice(letters, LETTERS_AT_ONCE))
            await look()
            kept.seek(0)
            await store.replace_dead_letters(kept)
    return report


def _check(ends: Ends, before: RunState | None) -> None:
    """See that the letters are of these ends, and that their rows can be read. Raises: JobError."""
    job = ends.job
    if before is not None:
        now = ends.prints()
        stored, present = (
            {name: value for name, value in prints.items() if name not in RELAXED}
            for prints in (upgraded(before.fingerprint, job.former_parts(), now), now)
        )
        if misfit := compare(stored, present):
            raise misfit
    if ends.source.abilities.lookup is None:
        raise JobError(
            f"{job.source.reads} has no key by which rows can be looked up, so its dead letters can't be"
            " tried again one by one: load again with `backfill run --fresh`"
        )


def _contest(ends: Ends, stages: Stages, note: Callable[[str], None]) -> Contest | None:
    """Return how the other rows of a letter's keys are found, where keys may repeat and they can be."""
    found, peers = sharing(ends), ends.source.abilities.peers
    if peers is None or not isinstance(found, Sharing):
        return None
    note("several rows may give one key here: of each key, the item of the row that wins it is written")
    return Contest(stages, peers, found)


async def _reader(stack: AsyncExitStack, ends: Ends, note: Callable[[str], None]) -> TargetReader | None:
    """Open the target for reading where keys may repeat: then what is there is kept. Raises: JobError."""
    if not ends.ordered:
        return None
    if not ends.connector.abilities.reads_back:
        raise JobError(
            f"several rows of {ends.job.source.reads} may give one key, and what a {ends.job.target.type}"
            " target holds can't be read back, so letters can't be tried again without writing over other"
            " items: load again with `backfill run --fresh`"
        )
    note("several rows may give one key here, so items whose key is taken are not written over")
    reader = await ends.connector.open_reader(ends.job, ends.target, None, note)
    stack.push_async_callback(reader.close)
    return reader


_RowAndRule = tuple[Cursor, str]


class _Portion:
    """Some letters, grouped by the row and the rule that they are of."""

    def __init__(
        self,
        ends: Ends,
        stages: Stages,
        reader: TargetReader | None,
        contest: Contest | None,
        letters: Sequence[StoredLetter],
        options: RedriveOptions,
        report: RedriveReport,
    ) -> None:
        self._ends = ends
        self._stages = stages
        self._reader = reader
        self._contest = contest
        self._report = report
        self._drops = options.drop_gone
        self._names = ends.source.ticket.schema.key
        rules = {rule.name for rule in ends.job.items}
        self._gone: list[StoredLetter] = []
        self._letters: dict[_RowAndRule, list[StoredLetter]] = {}
        for letter in letters:
            row = self._row(letter)
            if row is None or letter.rule not in rules:
                self._gone.append(letter)
            else:
                self._letters.setdefault((row, letter.rule), []).append(letter)
        self._failed: dict[_RowAndRule, list[DeadLetter]] = {}
        self._met: set[Cursor] = set()
        self._keys: dict[Cursor, list[int]] = {}
        self._strange: frozenset[Cursor] = frozenset()

    async def settle(self, kept: IO[bytes], note: Callable[[str], None]) -> None:
        """Try the letters, and write those that are left."""
        lookup = self._ends.source.abilities.lookup
        assert lookup is not None, "checked when it was opened"
        rows = list(dict.fromkeys(row for row, _ in self._letters))
        try:
            async with aclosing(lookup.rows_by_key(rows)) as batches:
                async for batch in batches:
                    await self._write(batch)
        except KeysRefused as error:
            self._strange = error.keys
            note(
                f"{error}: their letters stay; load again with `backfill run --fresh` if the key has changed"
            )
        if self._contest is not None:
            await self._contest.write(self._keys, self._report, self._fail)
        for text in self._left():
            kept.write(text)

    async def _write(self, batch: Batch) -> None:
        columns = [batch.rows.column(name).to_pylist() for name in self._names]
        cursors = [Cursor(tuple(key)) for key in zip(*columns, strict=True)]
        self._met.update(cursors)
        target, rules = self._stages.target, self._ends.job.items
        encoded = target.encode(batch, self._stages.transform(batch))
        chosen = [
            at
            for at in range(len(encoded))
            if (cursors[int(encoded.rows[at])], rules[int(encoded.rules[at])].name) in self._letters
        ]
        for letter in encoded.dead_letters:
            self._fail(letter)
        if self._contest is not None:
            for at in chosen:
                row = cursors[int(encoded.rows[at])]
                self._keys.setdefault(row, []).append(int(encoded.key_hashes[at]))
            return
        taken = await self._taken(encoded, chosen)
        for at in taken:
            row = cursors[int(encoded.rows[at])]
            self._fail(
                DeadLetter(
                    rules[int(encoded.rules[at])].name,
                    "rejected_by_target",
                    "its key is taken, and another row may have it: `backfill verify --full --repair` tells",
                    dict(zip(self._names, row.key, strict=True)),
                    None,
                )
            )
        report = await written(target, encoded.subset([at for at in chosen if at not in taken]))
        self._report.add(report)
        for letter in report.dead_letters:
            self._fail(letter)

    async def _taken(self, encoded: EncodedBatch, chosen: Sequence[int]) -> set[int]:
        """Return which items' keys are taken by other items, where that matters."""
        if self._reader is None or not chosen:
            return set()
        codec = self._ends.connector.codec(self._ends.target)
        sent = codec.sent(encoded, chosen)
        keys = [codec.key_of(key) for key in sent.keys]
        there = await read_back(codec, self._reader, keys)
        taken = set()
        for at, item, key_hash in zip(chosen, sent.items, codec.digests(keys).keys.tolist(), strict=True):
            found = there.get(key_hash)
            if found is not None and (item is None or codec.differing(item, found)):
                taken.add(at)
        return taken

    def _fail(self, letter: DeadLetter) -> None:
        row = Cursor(tuple(str(letter.source_key[name]) for name in self._names))
        if (row, letter.rule) in self._letters:
            self._failed.setdefault((row, letter.rule), []).append(letter)

    def _left(self) -> Iterator[bytes]:
        """Yield the lines that stay, and count."""
        report = self._report
        for (row, rule), letters in self._letters.items():
            report.tried += len(letters)
            if row in self._strange:
                yield from self._as_they_are(letters)
                continue
            if row not in self._met:
                if self._ends.source.abilities.feed is None:
                    yield from self._without_origin(letters)
                else:  # the log tells that it is gone, so what was written of it goes, too
                    report.settled += len(letters)
                continue
            failed = self._failed.get((row, rule), [])
            report.settled += max(0, len(letters) - len(failed))
            report.left += len(failed)
            report.tried += max(0, len(failed) - len(letters))
            report.left_by_reason.update(letter.reason for letter in failed)
            yield lines(letters[0].run_id, utc_now(), failed)
        report.tried += len(self._gone)
        yield from self._without_origin(self._gone)

    def _without_origin(self, letters: Sequence[StoredLetter]) -> Iterator[bytes]:
        self._report.gone += len(letters)
        if self._drops:
            self._report.dropped += len(letters)
        else:
            yield from self._as_they_are(letters)

    def _as_they_are(self, letters: Sequence[StoredLetter]) -> Iterator[bytes]:
        self._report.left += len(letters)
        self._report.left_by_reason.update(letter.reason for letter in letters)
        for letter in letters:
            item = None if letter.item is None else orjson.dumps(letter.item).decode()
            same = DeadLetter(letter.rule, letter.reason, letter.detail, letter.source_key, item)
            yield lines(letter.run_id, letter.at, [same])

    def _row(self, letter: StoredLetter) -> Cursor | None:
        """Return the row that a letter is of; None when it doesn't say.

        Raises: JobError when it names rows by something else than the source's key of today.
        """
        if letter.source_key and not letter.source_key.keys() >= {*self._names}:
            raise JobError(
                f"the dead letters of {self._ends.job.name} name their rows by"
                f" {', '.join(letter.source_key)}, but {self._ends.job.source.reads} is read by"
                f" {', '.join(self._names)} now: set that back if the job has changed it, or load again with"
                " `backfill run --fresh`"
            )
        values = [letter.source_key.get(name) for name in self._names]
        return None if None in values else Cursor(tuple(str(value) for value in values))
