"""One verification from opening both ends to its report.

Invariant: nothing is written to the target unless `repair` was asked for, and then only under the job's
lease.
"""

import gc
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any, Literal

import orjson
import polars as pl

from engine.commands import ends
from engine.commands.verify import known
from engine.commands.verify.book import Book, Suspect, discard, open_book
from engine.commands.verify.desk import Desk, open_desk
from engine.commands.verify.digests import ABSENT, content_hashes, key_hashes
from engine.commands.verify.external_index import ExternalIndex
from engine.commands.verify.findings import RIGHT, Findings
from engine.commands.verify.former import Former
from engine.commands.verify.get_pass import GetPass
from engine.commands.verify.look import Looks, look_again
from engine.commands.verify.repair import Repairs
from engine.commands.verify.report import VerifyReport
from engine.commands.verify.source_pass import DONE as SOURCE_DONE
from engine.commands.verify.source_pass import SourcePass
from engine.commands.verify.target_pass import DONE as TARGET_DONE
from engine.commands.verify.target_pass import TargetPass, TargetReader
from engine.commands.verify.whence import Inverse
from engine.job.model import Job
from engine.tenure import Tenure

SCAN_SEGMENT_BYTES, SCAN_SEGMENT_ITEMS = 16 * 2**20, 20_000
"""Short segments keep all scanners busy to the end. A table tells its size only some hours later."""
SCAN_SEGMENTS_MIN, SCAN_SEGMENTS_MAX = 8, 4_096
RCU_BYTES = 4_096
"""What one read unit pays for. Source: Developer Guide, "Read and write capacity units"."""
INDEX_FORMAT = 3
"""Rises when items are hashed or kept in another way: what was begun before is then begun anew."""
SAMPLE_SCANS_MAX = 200
SAMPLE_PAGE_ITEMS = 20
GC_THRESHOLD = 200_000
"""New containers between two collections. Collecting after every 700 took a third of the time of parsing."""

Ways = Literal["auto", "scan", "get"]


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What the command line says. `sample` None: everything. Units: `max_rcu` read units per second."""

    state_dir: Path
    sample: int | None = 1_000
    seed: int = 0
    max_rcu: float | None = None
    read: Ways = "auto"
    repair: bool = False
    delete_extra: bool = False
    fresh: bool = False


class Voice:
    """What is told while it goes on: notices, and how far it has got."""

    def __init__(self, say: Callable[[str], None], step: Callable[[str, int], None]) -> None:
        self.notices: list[str] = []
        self.say = say
        self.step = step

    def notice(self, text: str) -> None:
        """Say something that belongs into the report."""
        if text not in self.notices:
            self.notices.append(text)
            self.say(text)


async def verify(jobs: Sequence[Job], options: VerifyOptions, voice: Voice) -> list[VerifyReport]:
    """Verify jobs; those that write to one table are held against it together.

    Raises: JobError, PermanentError, RetriesExhausted.
    """
    groups: dict[tuple[Any, ...], list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.target.place, []).append(job)
    with _few_collections():
        return [await _verify(group, options, voice) for group in groups.values()]


async def _verify(jobs: Sequence[Job], options: VerifyOptions, voice: Voice) -> VerifyReport:
    began, cpu_began = monotonic(), _cpu_s()
    async with AsyncExitStack() as stack:
        tenures = [Tenure() for _ in jobs]
        if options.repair:
            for number, job in enumerate(jobs):
                store = await ends.open_store(job, options.state_dir)
                stack.push_async_callback(store.close)
                tenures[number] = store.tenure
        desks = [
            await open_desk(stack, number, job, voice.notice, tenures[number])
            for number, job in enumerate(jobs)
        ]
        from connectors.dynamodb.connector import section_of
        from connectors.dynamodb.reading.reader import open_reader

        reader = await open_reader(section_of(jobs[0]), options.max_rcu)
        stack.push_async_callback(reader.close)
        rules = [await known.former(desk, options.state_dir, voice.notice) for desk in desks]
        others = known.others(desks, options.state_dir) if any(rules) else ()
        former = Former(stack, desks, rules, others, tenures)
        session = Session(desks, reader, options, voice, former)
        book = session.open_book(stack)
        extra_checked = await session.first_passes(book)
        findings = Findings()
        tallies = book.tallies()
        repairs = Repairs(
            reader,
            findings,
            options.repair,
            options.delete_extra,
            source_gave_rows=tallies.get("rows", 0) > 0,
        )
        if options.delete_extra and not repairs.source_gave_rows:
            voice.notice("the source gave no rows, so nothing is deleted")
        await look_again(
            Looks(
                book,
                desks,
                reader,
                findings,
                repairs,
                voice.say,
                former,
                voice.notice,
                rejected=known.rejected(desks, options.state_dir),
            )
        )
        tallies = book.tallies()
        for name in RIGHT:
            setattr(findings, name, getattr(findings, name) + tallies.get(name, 0))
        findings.matched += sum(tallies.get(name, 0) for name in RIGHT[1:])
        findings.dead_lettered += tallies.get("dead_lettered", 0)
        if options.sample is None:
            discard(book)
        return VerifyReport(
            jobs=tuple(job.name for job in jobs),
            table=jobs[0].target.writes_to,
            full=options.sample is None,
            findings=findings,
            rows_read=tallies.get("rows", 0),
            not_ours=tallies.get("not_ours", 0),
            extra_checked=extra_checked,
            repair=options.repair,
            notices=tuple(voice.notices),
            elapsed_s=monotonic() - began,
            cpu_s=_cpu_s() - cpu_began,
            peak_rss_mb=_peak_rss_mb(),
            consumed_rcu=reader.consumed_rcu,
        )


class Session:
    """The first passes of one verification, which find what is to be looked at again."""

    def __init__(
        self,
        desks: Sequence[Desk],
        reader: TargetReader,
        options: VerifyOptions,
        voice: Voice,
        former: Former,
    ) -> None:
        self._desks = desks
        self._reader = reader
        self._options = options
        self._voice = voice
        self._schema = desks[0].schema
        self._former = former
        self._scope = former.scope
        self._count = 0

    def open_book(self, stack: AsyncExitStack) -> Book:
        """Open the book: for everything, one that a later start goes on with; for a sample, a passing one."""
        if self._options.sample is None:
            directory = self._options.state_dir / self._desks[0].job.name / "verify"
            book = open_book(directory, _fingerprint(self._desks, self._former), fresh=self._options.fresh)
            if book.get(SOURCE_DONE) or book.segments(0):
                self._voice.say("going on with the verification that was begun (--fresh starts anew)")
            stack.callback(book.close)
            return book
        scratch = Path(tempfile.mkdtemp(prefix="backfill-verify-"))
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        book = Book(scratch)
        stack.callback(book.close)
        return book

    async def first_passes(self, book: Book) -> bool:
        """Compare; return whether items were looked for that no row stands behind."""
        if self._options.sample is not None:
            return await self._sample(book, self._options.sample)
        if await self._way() == "get":
            self._voice.notice(
                "items are read by key, which costs less here than a scan; items that no row stands behind"
                " are not looked for (--read scan does)"
            )
            await GetPass(book, self._desks, self._reader, self._told("items compared")).everything()
            return False
        if book.get(SOURCE_DONE) is None:
            await SourcePass(book, self._desks, self._told("rows read")).run()
        length = int(book.get(SOURCE_DONE) or 0)
        if book.get(TARGET_DONE) is None:
            index = ExternalIndex(book.directory, length)
            size = self._desks[0].table.size_bytes
            wanted = max(size // SCAN_SEGMENT_BYTES, length // SCAN_SEGMENT_ITEMS)
            segments = max(SCAN_SEGMENTS_MIN, min(SCAN_SEGMENTS_MAX, wanted))
            told, threads = self._told("items read back"), self._desks[0].line.threads
            keeps = all(desk.keeps for desk in self._desks)
            await TargetPass(
                book, index, self._reader, self._schema, self._scope, told, threads, keeps=keeps
            ).run(segments)
        return True

    async def _way(self) -> Ways:
        """Choose how the target is read, by what it costs in read units.

        A scan pays for the table's bytes, reads by key for each item that is expected, in whole units.
        """
        repeat = any(desk.ordered for desk in self._desks)
        if self._options.read != "auto":
            if repeat and self._options.read == "get":
                self._voice.notice(
                    "several rows may give one key, and --read get compares each row: such an item is"
                    " counted once for each (--read scan counts items)"
                )
            return self._options.read
        table = self._desks[0].table
        if not table.item_count or repeat or self._former:
            return "scan"
        rows = [await desk.source.rows_expected() for desk in self._desks]
        per_row = [len(desk.job.items) for desk in self._desks]
        expected = sum((count or table.item_count) * each for count, each in zip(rows, per_row, strict=True))
        by_key = expected * max(1, -(-table.size_bytes // table.item_count // RCU_BYTES))
        return "get" if by_key < table.size_bytes / RCU_BYTES else "scan"

    async def _sample(self, book: Book, wanted: int) -> bool:
        """Compare random rows' items, then look for the rows of random items."""
        options, share = self._options, max(1, wanted // len(self._desks))
        told = self._told("items compared")
        for desk in self._desks:
            compare = GetPass(book, self._desks, self._reader, told)
            if (lookup := desk.source.abilities.lookup) is not None:
                await compare.rows(desk, await lookup.sample_keys(share, options.seed))
            else:
                await compare.stretches(desk, share, Random(options.seed))  # noqa: S311 - a sample
        inverses = [Inverse(desk) for desk in self._desks]
        if not all(inverse.complete for inverse in inverses):
            self._voice.notice(
                "the keys of some rules don't tell their source row, so the target's own items were not"
                " sampled; --full finds items that no row stands behind"
            )
            return False
        await self._sample_target(book, wanted)
        return True

    async def _sample_target(self, book: Book, wanted: int) -> None:
        """Note random items of the target as suspects, from random places of its key space."""
        random = Random(self._options.seed)  # noqa: S311 - a sample, not a secret
        total = max(1, min(1_000_000, self._desks[0].table.item_count // SAMPLE_PAGE_ITEMS))
        scans = min(total, SAMPLE_SCANS_MAX, max(1, wanted // SAMPLE_PAGE_ITEMS))
        found: list[dict[str, Any]] = []
        for segment in random.sample(range(total), scans):
            limit = SAMPLE_PAGE_ITEMS if total > 1 else wanted
            async for page in self._reader.scan(segment, total, limit=limit):
                found += [item for item in page.items if self._scope.holds(item)]
                break
            if len(found) >= wanted:
                break
        found = found[:wanted]
        keys = key_hashes(found, self._schema).tolist()
        contents = content_hashes(found).tolist()
        book.begin()
        book.suspect(
            Suspect(None, key, ABSENT, content, dict(self._schema.of(item)))
            for key, content, item in zip(keys, contents, found, strict=True)
        )
        book.commit()

    def _told(self, what: str) -> Callable[[int], None]:
        self._count = 0

        def step(count: int) -> None:
            self._count += count
            self._voice.step(what, self._count)

        return step


def _fingerprint(desks: Sequence[Desk], former: Former) -> str:
    parts = [
        [desk.job.fingerprint_parts(), dict(desk.source.identity), dict(desk.table.identity)]
        for desk in desks
    ]
    text = orjson.dumps(
        [INDEX_FORMAT, pl.__version__, parts, former.scope.texts], option=orjson.OPT_SORT_KEYS
    )
    return blake2b(text, digest_size=16).hexdigest()


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let the garbage collector rest: items come by the hundred thousand and hold no cycles."""
    before = gc.get_threshold()
    gc.set_threshold(GC_THRESHOLD, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def _peak_rss_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, getrusage(2)
