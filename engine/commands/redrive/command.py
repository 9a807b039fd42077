"""One redrive: each dead letter's row is read again and written under the job as it is now.

Invariant: a letter leaves the file only after its item was written, or its row gives none any more; until the
new file is in place the old one is, so a redrive that is stopped loses none.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson

from engine.batch import Batch, Cursor, DeadLetter, WriteReport
from engine.clock import utc_now
from engine.commands.ends import open_ends, open_store
from engine.commands.redrive.report import RedriveReport
from engine.commands.verify.repair import subset
from engine.commands.verify.values import differing
from engine.contracts.source import KeysRefused, Lookup, Source
from engine.contracts.state import RunState
from engine.contracts.target import Look
from engine.errors import JobError
from engine.job.model import Job
from engine.run.pipeline import Stages
from engine.state.dead_letters import StoredLetter, lines, read
from engine.state.fingerprint import POSITIONS, compare, upgraded
from engine.tenure import Tenure

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
    return [await _redrive(job, options, notice) for job in jobs]


async def _redrive(job: Job, options: RedriveOptions, notice: Callable[[str], None]) -> RedriveReport:
    report = RedriveReport(job.name)
    # Letters that are refused again are no surprise, and good ones may lie behind a thousand of them.
    job = job.model_copy(update={"target": job.target.patient()})

    def note(text: str) -> None:
        report.notices.append(text)
        notice(text)

    async with AsyncExitStack() as stack:
        store = await open_store(job, options.state_dir)
        stack.push_async_callback(store.close)
        before = await store.load()
        if before is not None and not before.closed:
            raise JobError(f"run {before.run_id} of {job.name} isn't complete: finish it with `backfill run`")
        letters = read(await store.collect_dead_letters())
        some = list(islice(letters, LETTERS_AT_ONCE))
        if not some:
            return report
        desk = await _open(stack, job, before, note, store.tenure)
        with tempfile.TemporaryFile(dir=store.dead_letters.parent) as kept:
            while some:
                await _Portion(desk, some, options, report).settle(kept, note)
                some = list(islice(letters, LETTERS_AT_ONCE))
            await desk.look()
            kept.seek(0)
            await store.replace_dead_letters(kept)
    return report


@dataclass(frozen=True, slots=True)
class _Desk:
    """What a redrive works with.

    `look` tells whether the target was replaced. `reader` is set where keys may repeat: then what is there
    is kept.
    """

    job: Job
    source: Source
    lookup: Lookup
    line: Stages
    look: Look
    key_names: tuple[str, ...]
    reader: Any | None


async def _open(
    stack: AsyncExitStack,
    job: Job,
    before: RunState | None,
    note: Callable[[str], None],
    tenure: Tenure,
) -> _Desk:
    ends = await open_ends(stack, job)
    source = ends.source
    if before is not None:
        now = ends.prints()
        stored, present = (
            {name: value for name, value in prints.items() if name not in RELAXED}
            for prints in (upgraded(before.fingerprint, job.former_parts(), now), now)
        )
        if misfit := compare(stored, present):
            raise misfit
    lookup = source.abilities.lookup
    if lookup is None:
        raise JobError(
            f"{job.source.reads} has no key by which rows can be looked up, so its dead letters can't be"
            " tried again one by one: load again with `backfill run --fresh`"
        )
    line = await stack.enter_async_context(ends.stages(note, ordered=False, tenure=tenure))
    reader = None
    if ends.ordered:
        from connectors.dynamodb.connector import section_of
        from connectors.dynamodb.reading.reader import open_reader

        note("several rows may give one key here, so items whose key is taken are not written over")
        reader = await open_reader(section_of(job), None)
        stack.push_async_callback(reader.close)
    look = await stack.enter_async_context(ends.watch())
    return _Desk(job, source, lookup, line, look, ends.target.key, reader)


_RowAndRule = tuple[Cursor, str]


class _Portion:
    """Some letters, grouped by the row and the rule that they are of."""

    def __init__(
        self, desk: _Desk, letters: Sequence[StoredLetter], options: RedriveOptions, report: RedriveReport
    ) -> None:
        self._desk = desk
        self._report = report
        self._drops = options.drop_gone
        self._names = desk.source.ticket.schema.key
        self._rules = {rule.name for rule in desk.job.items}
        self._gone: list[StoredLetter] = []
        self._letters: dict[_RowAndRule, list[StoredLetter]] = {}
        for letter in letters:
            row = self._row(letter)
            if row is None or letter.rule not in self._rules:
                self._gone.append(letter)
            else:
                self._letters.setdefault((row, letter.rule), []).append(letter)
        self._failed: dict[_RowAndRule, list[DeadLetter]] = {}
        self._met: set[Cursor] = set()
        self._strange: frozenset[Cursor] = frozenset()

    async def settle(self, kept: IO[bytes], note: Callable[[str], None]) -> None:
        """Try the letters, and write those that are left."""
        rows = list(dict.fromkeys(row for row, _ in self._letters))
        try:
            async with aclosing(self._desk.lookup.rows_by_key(rows)) as batches:
                async for batch in batches:
                    await self._write(batch)
        except KeysRefused as error:
            self._strange = error.keys
            note(
                f"{error}: their letters stay; load again with `backfill run --fresh` if the key has changed"
            )
        for text in self._left():
            kept.write(text)

    async def _write(self, batch: Batch) -> None:
        columns = [batch.rows.column(name).to_pylist() for name in self._names]
        cursors = [Cursor(tuple(key)) for key in zip(*columns, strict=True)]
        self._met.update(cursors)
        line, rules = self._desk.line, self._desk.job.items
        encoded = line.target.encode(batch, line.transform(batch))
        chosen = [
            at
            for at in range(len(encoded))
            if (cursors[int(encoded.rows[at])], rules[int(encoded.rules[at])].name) in self._letters
        ]
        taken = await self._taken(encoded, chosen)
        for at in taken:
            row = int(encoded.rows[at])
            self._fail(
                DeadLetter(
                    rules[int(encoded.rules[at])].name,
                    "rejected_by_target",
                    "its key is taken, and another row may have it: `backfill verify --full --repair` tells",
                    dict(zip(self._names, cursors[row].key, strict=True)),
                    None,
                )
            )
        report = await line.target.write(subset(encoded, [at for at in chosen if at not in taken]))
        assert isinstance(report, WriteReport), "nobody drains a redrive"
        self._report.items_written += report.items_written
        self._report.items_deleted += report.items_deleted
        self._report.items_skipped += report.items_skipped
        for letter in (*encoded.dead_letters, *report.dead_letters):
            self._fail(letter)

    async def _taken(self, encoded: Any, chosen: Sequence[int]) -> set[int]:
        """Return which items' keys are taken by other items, where that matters."""
        if self._desk.reader is None or not chosen:
            return set()
        names = self._desk.key_names
        entries = [orjson.loads(encoded.item(at)) for at in chosen]
        keys = [_key(entry, names) for entry in entries]
        there = {
            orjson.dumps({name: item[name] for name in names}): item
            for item in await self._desk.reader.get(keys)
        }
        found = [there.get(orjson.dumps(key)) for key in keys]
        return {
            at
            for at, entry, item in zip(chosen, entries, found, strict=True)
            if item is not None and not _is(entry, item)
        }

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
                yield from self._without_origin(letters)
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
        report = self._report
        report.gone += len(letters)
        if self._drops:
            report.dropped += len(letters)
            return
        yield from self._as_they_are(letters)

    def _as_they_are(self, letters: Sequence[StoredLetter]) -> Iterator[bytes]:
        report = self._report
        report.left += len(letters)
        report.left_by_reason.update(letter.reason for letter in letters)
        for letter in letters:
            yield lines(
                letter.run_id,
                letter.at,
                [
                    DeadLetter(
                        letter.rule,
                        letter.reason,
                        letter.detail,
                        letter.source_key,
                        None if letter.item is None else orjson.dumps(letter.item).decode(),
                    )
                ],
            )

    def _row(self, letter: StoredLetter) -> Cursor | None:
        """Return the row that a letter is of; None when it doesn't say.

        Raises: JobError when it names rows by something else than the source's key of today.
        """
        if letter.source_key and not letter.source_key.keys() >= {*self._names}:
            raise JobError(
                f"the dead letters of {self._desk.job.name} name their rows by"
                f" {', '.join(letter.source_key)}, but {self._desk.job.source.reads} is read by"
                f" {', '.join(self._names)} now: set that back if the job has changed it, or load again with"
                " `backfill run --fresh`"
            )
        values = [letter.source_key.get(name) for name in self._names]
        return None if None in values else Cursor(tuple(str(value) for value in values))


def _is(entry: Any, there: Any) -> bool:
    """Say whether an encoded item is what is there already."""
    match entry:
        case {"PutRequest": {"Item": item}} | {"Item": item}:
            return not differing(item, there)
        case _:
            return False


def _key(entry: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return the key of an encoded item in any mode."""
    match entry:
        case {"PutRequest": {"Item": attributes}} | {"DeleteRequest": {"Key": attributes}}:
            pass
        case {"Item": attributes} | {"Key": attributes}:
            pass
        case {"Parameters": [*parameters]}:  # an insert: the key comes first
            attributes = dict(zip(names, parameters, strict=False))
        case _:
            raise AssertionError(f"no item: {entry}")
    return {name: attributes[name] for name in names}
