"""A job's two ends, opened the one way there is: for a run, a worker, a plan, a verification, a redrive.

Invariant: connectors are found by the job's `type` in the registry's tables and nowhere else; whatever is
opened here belongs to the caller's stack.
"""

import math
from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import pyarrow as pa

from engine.batch import Batch
from engine.contracts.source import Source, SourceTicket
from engine.contracts.state import CheckpointStore, RunState
from engine.contracts.target import Look, Target, TargetInfo
from engine.contracts.transform import RuleShape, Transform
from engine.environment import cores
from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.hook import load_hook
from engine.job.model import Job
from engine.meter import Meter
from engine.registry import SOURCES, STATES, TARGETS, TargetConnector
from engine.rules.uniqueness import KeyProof, key_proof
from engine.run.key_gate import KeyGate
from engine.run.letters import LetterWindow
from engine.run.pipeline import BatchWindow, Stages
from engine.run.worth import Worth, worth
from engine.show import logs
from engine.state import beside
from engine.state.fingerprint import fingerprint
from engine.tenure import Tenure

CURSORS = 2
"""Segments that one process reads side by side: while one waits for its server, the other has rows."""

WINDOW_BYTES = 6 * 2**20
"""Rows that are between being read and being acked, per process: about three batches of 2 MB. Eight and
sixteen MB were no faster and took 7 and 57 MB more."""

ENCODE_THREADS = 1
"""Threads that transform and encode, per process: they take 2 µs an item, so that a second one only costs
memory (30 MB)."""


@dataclass(frozen=True, slots=True)
class Ends:
    """A job with its source opened and its target described.

    `proof`: whether item keys can meet. `connector`: the target's.
    """

    job: Job
    source: Source
    target: TargetInfo
    proof: KeyProof
    connector: TargetConnector

    @property
    def ordered_reason(self) -> str | None:
        """Why the source has to be read in order, as one segment, and what to do; None: keys can't meet."""
        proof = self.proof
        if proof.reason is None:
            return None
        return f"{proof.reason}, so the source is read in one ordered segment; {proof.way_out}"

    @property
    def ordered(self) -> bool:
        """Whether several rows may give one key."""
        return self.proof.reason is not None

    def prints(self) -> dict[str, str]:
        """Return what a checkpoint of this job depends on, and both ends' identity. Raises: JobError."""
        return fingerprint(self.job.fingerprint_parts(), self.source.identity, self.target.identity)

    def worth(self, rows: int | None, abreast: int = 1, *, here: bool = True) -> Worth:
        """Choose how many processes a load of so many rows gets, one of several that share the cores.

        `here`: whether they are this machine's, which has no more cores.
        """
        return worth(
            rows,
            cores=max(1, cores() // abreast) if here else None,
            target_max=self.connector.workers_max(self.job, self.target),
            cursors_max=self.source.ticket.cursors_max,
        )

    def watch(self) -> AbstractAsyncContextManager[Look]:
        """Return what looks, whenever asked, whether the target is still the one that was described."""
        return self.connector.watch(self.job, self.target)

    def transform(self) -> Transform:
        """Compile the item rules. Raises: JobError when they don't fit the source's columns."""
        return self._compiled(self.job)

    def keys_alone(self) -> Transform:
        """Compile the item rules for what their keys need, without any other attribute."""
        rules = tuple(
            rule.model_copy(update={"include": "none", "exclude": (), "attributes": {}})
            for rule in self.job.items
        )
        return self._compiled(self.job.model_copy(update={"items": rules}))

    async def plain_target(self, rules: Sequence[RuleShape]) -> Target:
        """Open the target in mode put, to encode what has nothing but keys, whatever the job's mode needs."""
        job = self.job.model_copy(update={"target": self.job.target.in_mode("put")})
        schema = self.source.ticket.schema
        return await self.connector.open(job, self.target, schema, rules, Meter(), lambda _: None, Tenure())

    def _compiled(self, job: Job) -> Transform:
        from engine.rules.transform import compile_rules

        hook = load_hook(job.hook, job.directory) if job.hook else None
        return compile_rules(job, self.source.ticket.schema, hook, self.connector.documents())

    def no_rows(self) -> Batch:
        """Return a batch of no rows, to try what checks rules before anything is read."""
        return Batch(0, 0, pa.RecordBatch.from_pylist([], self.source.ticket.schema.arrow()), None)

    @asynccontextmanager
    async def stages(
        self,
        notice: Callable[[str], None],
        *,
        ordered: bool | None = None,
        letters_bytes: float = math.inf,
        tenure: Tenure | None = None,
        transform: Transform | None = None,
    ) -> AsyncIterator[Stages]:
        """Put the stages of this process together, and take them apart again.

        `ordered` False: nothing waits for an equal key, as where single rows are tried again.
        `letters_bytes` bounds the dead letters that nobody has kept yet, where somebody tells what was.
        `tenure` is the lease's, where one is held: nothing is sent behind its end. `transform`: other rules
        than the job's own.
        Raises: JobError when the rules don't fit the source's columns or the target's keys.
        """
        job, meter, tenure, schema = self.job, Meter(), tenure or Tenure(), self.source.ticket.schema
        transform, empty = transform or self.transform(), self.no_rows()
        target = await self.connector.open(job, self.target, schema, transform.rules, meter, notice, tenure)
        try:
            target.encode(empty, transform(empty))  # finds rules that no item could pass, before any read
            with ThreadPoolExecutor(ENCODE_THREADS, thread_name_prefix="encode") as threads:
                yield Stages(
                    source=self.source,
                    transform=transform,
                    target=target,
                    window=BatchWindow(WINDOW_BYTES),
                    gate=KeyGate() if (self.ordered if ordered is None else ordered) else None,
                    threads=threads,
                    meter=meter,
                    letters=LetterWindow(letters_bytes),
                    tenure=tenure,
                )
        finally:
            await target.close()


async def open_ends(
    stack: AsyncExitStack,
    job: Job,
    *,
    since: str | None = None,
    ticket: SourceTicket | None = None,
    target: TargetInfo | None = None,
    connector: TargetConnector | None = None,
    views: Sequence[str] = (),
) -> Ends:
    """Describe the job's target and open its source; the stack closes it.

    `since`: the watermark that a catch-up run reads from; a worker has it in its `ticket`. `target`: where it
    was described already. `connector`: the target's where other jobs of this process use it, too. `views`:
    those that an earlier part of the run has read, see SourceAbilities.
    """
    logs.of_job(job.name)
    connector = connector or TARGETS[job.target.type]
    _check_deletes(job)
    target = target or await describe_target(job, connector)
    codec = connector.documents()
    opens = SOURCES[job.source.type]
    if views and opens.open_again is not None:
        source = await opens.open_again(job, since, views, codec)
    else:
        source = await opens.open(job, since if ticket is None else ticket.since, ticket, codec)
    stack.push_async_callback(source.close)
    return Ends(job, source, target, key_proof(job, source.ticket.schema), connector)


def _check_deletes(job: Job) -> None:
    if TARGETS[job.target.type].abilities.deletes:
        return
    for number, rule in enumerate(job.items):
        if rule.delete_when is not None:
            raise JobError(
                f"items[{number}].delete_when: a {job.target.type} target can't delete; leave it out, and"
                " keep such rows away with `when`"
            )


async def describe_target(job: Job, connector: TargetConnector | None = None) -> TargetInfo:
    """Return what the target says of itself, checked against the rules' keys.

    Raises: JobError when there is no such target or its keys don't fit.
    """
    connector = connector or TARGETS[job.target.type]
    info = await connector.describe(job)
    if info is None:
        raise JobError(
            f"target.table: there is no table {job.target.writes_to};"
            " create it with `backfill table create` or correct the name or region"
        )
    connector.check(info, job)
    return info


async def read_state(job: Job, state_dir: Path) -> RunState | None:
    """Return a job's latest run without taking its lease; None when it never ran. Raises: JobError."""
    return await STATES[job.state.type].read(job, state_dir)


async def open_store(job: Job, state_dir: Path, tell: Callable[[str], None]) -> CheckpointStore:
    """Take the job's lease and open its checkpoint, once no worker of another host writes any more.

    `tell` hears of it if that takes a while. Raises: JobError when another run holds the lease.
    """
    store = await STATES[job.state.type].open(job, state_dir)
    try:
        wait_s = await beside.elsewhere_s(store)
        if wait_s is not None:
            tell(
                f"waiting for {wait_s:.0f} s: the runner before this one didn't end cleanly, and workers of"
                " other hosts that it had may still write"
            )
            await sleep(wait_s)
            await beside.keep_elsewhere(store, None)
    except BaseException:
        await store.close()
        raise
    return store
