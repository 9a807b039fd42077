"""One verification from opening both ends to its report.

Invariant: nothing is written to the target unless `repair` was asked for, and then only under the job's
lease.
"""

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import field
from hashlib import blake2b
from pathlib import Path
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

import orjson
import polars as pl

from engine.commands.ends import open_store as open_checkpoint
from engine.commands.room import on_disk
from engine.commands.run.door import Door, cluster_held, door_open
from engine.commands.run.processes import usage
from engine.commands.verify.external_index import NO_ROOM, ExternalIndex
from engine.commands.verify.former_keys import FormerKeys, former_keys, rejected
from engine.commands.verify.get_pass import GetPass
from engine.commands.verify.help import OthersEffort, helped, sized
from engine.commands.verify.inversion import KeyInversion
from engine.commands.verify.narrator import Narrator
from engine.commands.verify.opened_job import ABSENT, OpenedJob, open_jobs
from engine.commands.verify.orders import VerifyHelpers
from engine.commands.verify.outcome import Outcome, VerifyReport
from engine.commands.verify.progress_store import (
    BEGUN_AT,
    ProgressStore,
    RecheckEntry,
    discard,
    open_store,
)
from engine.commands.verify.recheck import Recheck
from engine.commands.verify.repair import Repairs
from engine.commands.verify.shares import Shares
from engine.commands.verify.source_pass import DONE as SOURCE_DONE
from engine.commands.verify.source_pass import SourcePass
from engine.commands.verify.target_pass import DONE as TARGET_DONE
from engine.commands.verify.target_pass import HeldHere, Scanning, TargetPass
from engine.commands.whose import fault_of, job_named
from engine.contracts.readback import ItemCodec, TargetReader
from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.model import Job
from engine.own_files import made
from engine.registry import TARGETS
from engine.run.voice import SaysNotices, Voice
from engine.show import logs
from engine.state.lease import VERIFYING, take
from engine.tenure import Tenure

if TYPE_CHECKING:
    from engine.commands.run.cluster.holding import RayOptions
    from engine.commands.run.listening import Listen

SCAN_SEGMENT_BYTES, SCAN_SEGMENT_ITEMS = 16 * 2**20, 20_000
"""Short segments keep all scanners busy to the end. A table tells its size only some hours later."""
SCAN_SEGMENTS_MIN, SCAN_SEGMENTS_MAX = 8, 4_096
INDEX_FORMAT = 4
"""Rises when items are hashed or kept in another way: what was begun before is then begun anew."""

Ways = Literal["auto", "scan", "get"]


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What the command line says. `sample` None: everything. Units: `max_rcu` read units per second.

    `workers`: the most processes for everything; None: as many as it is worth; 0: those of other hosts alone,
    for whom it is to `listen`. `ray`: they are placed on a cluster, and `workers` counts these.
    """

    state_dir: Path
    sample: int | None = 1_000
    seed: int = 0
    max_rcu: float | None = None
    read: Ways = "auto"
    repair: bool = False
    delete_extra: bool = False
    fresh: bool = False
    workers: int | None = 1
    listen: "Listen | None" = None
    ray: "RayOptions | None" = None


async def verify(jobs: Sequence[Job], options: VerifyOptions, narrator: Narrator) -> list[VerifyReport]:
    """Verify jobs; those that write to one target are held against it together."""
    groups: dict[tuple[Any, ...], list[Job]] = {}
    for job in jobs:
        if not TARGETS[job.target.type].abilities.reads_back:
            raise JobError(
                f"{job.name} can't be verified: what a {job.target.type} target holds can't be read back"
            )
        groups.setdefault(job.target.place, []).append(job)
    if options.listen is not None and options.ray is None and len(groups) > 1:
        raise JobError(
            "--listen is about jobs of one table: name one with --only; one command for each table"
        )
    reports, voice = [], Voice([SaysNotices(narrator.say, warn=narrator.notice)])
    async with cluster_held(options.ray, voice) as cluster:
        for group in groups.values():
            with job_named(*group, among=len(jobs)):
                async with door_open(options.listen, cluster, voice, "the verification") as door:
                    reports.append(await _verify(group, options, narrator, door))
    return reports


async def _verify(
    jobs: Sequence[Job], options: VerifyOptions, narrator: Narrator, door: Door | None
) -> VerifyReport:
    began, before = monotonic(), usage()
    async with AsyncExitStack() as stack:
        verification = await _opened(stack, jobs, options, narrator, door)
        look = await stack.enter_async_context(verification.jobs[0].watch())
        with on_disk(*verification.place):
            progress = verification.open_progress(stack)
            extra_checked = await verification.first_passes(progress)
            outcome = await verification.recheck(progress)
            await look()  # what was found of a table is said of no other one
            tallies = progress.tallies()
            outcome.add(tallies)
            if options.sample is None:
                discard(progress)
        for job in verification.jobs:
            job.tell()
        after, others = usage(), verification.effort
        return VerifyReport(
            jobs=tuple(job.name for job in jobs),
            table=jobs[0].target.writes_to,
            full=options.sample is None,
            outcome=outcome,
            codec=verification.codec,
            rows_read=tallies.get("rows", 0),
            not_ours=tallies.get("not_ours", 0),
            extra_checked=extra_checked,
            repair=options.repair,
            notices=tuple(narrator.notices),
            elapsed_s=monotonic() - began,
            cpu_s=after.cpu_s - before.cpu_s + others.cpu_s,
            peak_rss_mb=max(after.peak_rss_bytes, others.peak_rss_bytes) / 1e6,
            consumed_rcu=verification.reader.consumed + others.consumed,
        )


async def _opened(
    stack: AsyncExitStack,
    jobs: Sequence[Job],
    options: VerifyOptions,
    narrator: Narrator,
    door: Door | None,
) -> "Verification":
    """Take the leases that repairs need, and open both ends of all jobs."""
    tenures = [Tenure() for _ in jobs]
    if options.repair:
        for number, job in enumerate(jobs):
            with fault_of(job):
                store = await open_checkpoint(job, options.state_dir, narrator.notice)
            stack.push_async_callback(store.close)
            tenures[number] = store.tenure
    opened = await open_jobs(stack, jobs, narrator.notice, tenures)
    logs.of_job(", ".join(job.name for job in jobs))  # from here on they are held against the target together
    connector = TARGETS[jobs[0].target.type]
    reader = await connector.open_reader(jobs[0], opened[0].info, options.max_rcu, narrator.notice)
    stack.push_async_callback(reader.close)
    former = await former_keys(stack, opened, options.state_dir, narrator.notice)
    return Verification(opened, reader, former, options, narrator, door)


@dataclass(frozen=True, slots=True)
class Verification:
    """Jobs that write to one target, held against it: first all of it, then again what seems to differ."""

    jobs: Sequence[OpenedJob]
    reader: TargetReader
    former: FormerKeys
    options: VerifyOptions
    narrator: Narrator
    door: Door | None = None
    effort: OthersEffort = field(default_factory=OthersEffort)

    @property
    def codec(self) -> ItemCodec:
        """What tells of the target's items."""
        return self.jobs[0].codec

    @property
    def place(self) -> tuple[Path | None, str]:
        """Where the progress store is, None for a passing one; and what to do where that takes nothing."""
        if self.options.sample is None:
            return self.options.state_dir / self.jobs[0].job.name / "verify", NO_ROOM
        return None, "set TMPDIR to a directory that takes some"

    def open_progress(self, stack: AsyncExitStack) -> ProgressStore:
        """Open the progress store: for everything, one to go on with later; for a sample, a passing one."""
        if self.options.sample is None:
            state_dir, name = self.options.state_dir, self.jobs[0].job.name
            stack.callback(take(state_dir, name, VERIFYING).release)
            directory = made(state_dir, name, "verify")
            progress = open_store(directory, self._fingerprint(), fresh=self.options.fresh)
            if progress.get(SOURCE_DONE) or progress.segments(0):
                self.narrator.notice(
                    "going on with the verification that was begun"
                    f" {f'at {began}' if (began := progress.get(BEGUN_AT)) else 'before'}: rows that have"
                    " changed since they were read may count as they were then (--fresh starts anew)"
                )
        else:
            scratch = Path(tempfile.mkdtemp(prefix="backfill-verify-"))
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            progress = ProgressStore(scratch)
        stack.callback(progress.close)
        return progress

    async def first_passes(self, progress: ProgressStore) -> bool:
        """Compare; return whether items were looked for that no row stands behind."""
        if self.options.sample is not None:
            return await self._sample(progress, self.options.sample)
        if await self._way() == "get":
            told = self.narrator.counting("items compared")
            await GetPass(progress, self.jobs, self.reader, told).everything()
            return False
        if progress.get(TARGET_DONE) is None:
            size = await sized(self.jobs, self.options.workers, self.door, self.narrator.say)
            patterns = self.former.patterns
            async with helped(
                self.jobs, patterns, progress, size, self.effort, self.narrator, self.door
            ) as helpers:
                if progress.get(SOURCE_DONE) is None:
                    told = self.narrator.counting("rows read")
                    await SourcePass(progress, self.jobs, told, helpers).run()
                await self._scan(progress, int(progress.get(SOURCE_DONE) or 0), helpers)
        return True

    async def _scan(self, progress: ProgressStore, length: int, helpers: VerifyHelpers) -> None:
        """Hold the whole target against the external index."""
        index = ExternalIndex(progress.directory, length)
        keeps = all(job.keeps for job in self.jobs)
        told, threads = self.narrator.counting("items read back"), self.jobs[0].stages.threads
        held = HeldHere(index, self.codec, self.former.patterns, keeps, threads)
        wanted = max(self.jobs[0].info.size_bytes // SCAN_SEGMENT_BYTES, length // SCAN_SEGMENT_ITEMS)
        segments = max(SCAN_SEGMENTS_MIN, min(SCAN_SEGMENTS_MAX, wanted))
        shares = Shares(self.options.max_rcu, self.reader.limit if helpers.own else None)
        scanning = Scanning(self.reader, held.compared)
        scan = TargetPass(progress, index, scanning, length, told, helpers, shares)
        await scan.run(segments)
        await shares.end()
        self.reader.limit(self.options.max_rcu)
        self.effort.consumed += scan.consumed

    async def recheck(self, progress: ProgressStore) -> Outcome:
        """Check again what seemed to differ, and repair what may be; return what was found."""
        options, outcome = self.options, Outcome()
        gave_rows = progress.tallies().get("rows", 0) > 0
        repairs = Repairs(self.reader, outcome, options.repair, options.delete_extra, gave_rows)
        if options.delete_extra and not gave_rows:
            self.narrator.notice("the source gave no rows, so nothing is deleted")
        await Recheck(
            progress,
            self.jobs,
            self.reader,
            outcome,
            repairs,
            self.former,
            self.narrator.say,
            self.narrator.notice,
            rejected(self.jobs, options.state_dir),
        ).run()
        return outcome

    async def _way(self) -> Ways:
        """Return how the target is read: in both directions, unless told otherwise."""
        repeat = any(job.ordered for job in self.jobs)
        if self.options.read == "get":
            if repeat:
                self.narrator.notice(
                    "several rows may give one key, and --read get compares each row: such an item is"
                    " counted once for each (--read scan counts items)"
                )
            return "get"
        there = self.jobs[0].info.item_count
        if self.options.read == "auto" and there and not repeat and not self.former:
            rows = [await job.source.rows_expected() or there for job in self.jobs]
            expected = sum(count * len(job.job.items) for count, job in zip(rows, self.jobs, strict=True))
            if self.reader.gets_cost_less(expected):
                self.narrator.say(
                    "the whole table is scanned for items that no row stands behind; --read get reads only"
                    " what rows give, which costs less here, and doesn't look for such items"
                )
        return "scan"

    async def _sample(self, progress: ProgressStore, wanted: int) -> bool:
        """Compare random rows' items, then look for the rows of random items."""
        seed, share = self.options.seed, max(1, wanted // len(self.jobs))
        compare = GetPass(progress, self.jobs, self.reader, self.narrator.counting("items compared"))
        for job in self.jobs:
            with fault_of(job.job):
                if (lookup := job.source.abilities.lookup) is not None:
                    await compare.rows(job, await lookup.sample_keys(share, seed))
                else:
                    await compare.stretches(job, share, Random(seed))  # noqa: S311 - a sample
        if not all(KeyInversion(job).complete for job in self.jobs):
            self.narrator.notice(
                "the keys of some rules don't tell their source row, so the target's own items were not"
                " sampled; --full finds items that no row stands behind"
            )
            return False
        await self._sample_target(progress, wanted)
        return True

    async def _sample_target(self, progress: ProgressStore, wanted: int) -> None:
        """Have random items of the target checked again, of those that rules could have made."""
        entries: list[RecheckEntry] = []
        async for page in self.reader.sample(wanted, self.options.seed):
            hashes = page.digests()
            pairs = zip(hashes.keys.tolist(), hashes.contents.tolist(), strict=True)
            for at, (key_hash, content) in enumerate(pairs):
                item = page.item(at)
                if self.former.patterns.hold(item):
                    key = self.codec.key_of(item)
                    entries.append(RecheckEntry(None, key_hash, ABSENT, content, key))
            if len(entries) >= wanted:
                break
        with progress.transaction():
            progress.recheck(entries[:wanted])

    def _fingerprint(self) -> str:
        parts = [
            [job.job.fingerprint_parts(), dict(job.source.identity), dict(job.info.identity)]
            for job in self.jobs
        ]
        text = orjson.dumps(
            [INDEX_FORMAT, pl.__version__, parts, self.former.patterns.texts], option=orjson.OPT_SORT_KEYS
        )
        return blake2b(text, digest_size=16).hexdigest()
