"""What a run's coordinator takes for workers that have dialled in: marks a second, CPU per million items.

The coordinator, the door, the link with TLS and the checkpoint are the real ones, in this process. Workers
are simulated, all of them in one process of their own: they join, ask for segments, beat, tell figures and
send marks as real ones do, and read and write nothing.

Invariant: a figure counts only where every mark is durable.
"""

import asyncio
import itertools
import os
import ssl
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import uvloop

from bench import compare
from bench.servers import free_port
from bench.tls_null import self_signed
from engine.batch import Counts, Cursor, Mark, Segment
from engine.commands.run.listening import AFAR_SAYS, HEAD_SAYS, Address, Listen, Listener, listening
from engine.commands.run.processes import usage
from engine.contracts.state import RunState
from engine.environment import module_command
from engine.errors import PermanentError
from engine.meter import Meter
from engine.run.beats import BEATS, SILENCE_S, Beat, DialledIn, FromAfar, ToAfar
from engine.run.coordinator import Coordinator
from engine.run.greeting import OF_DIALLING, OF_HEAD, TOKEN, DiallingEnd, Welcome, introduce
from engine.run.link import (
    Advanced,
    Assign,
    Drain,
    Finished,
    NoMore,
    RunnerEnd,
    Ticked,
    Want,
)
from engine.run.voice import Voice
from engine.run.wire import SocketEnd
from engine.run.worker import TICK_S
from engine.state.checkpoint import open_store
from engine.tenure import Tenure

WORKERS = (2, 8, 32)
ROWS_A_MARK = 10_000
"""Items that a mark stands for: a batch, of the default size."""
MARKS_A_S = 12.0
"""Marks of a worker that fills a core: 120,000 items a second, as `peers` has it."""
SEGMENTS_EACH = 4
"""Segments for each worker."""
LATE_S = 5.0
HERE = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class MarkLoad:
    """What simulated workers do. `marks` of each segment; `marks_a_s` of each worker, None: all it can."""

    workers: int
    marks: int
    marks_a_s: float | None

    @property
    def all_marks(self) -> int:
        """How many there are in all."""
        return self.workers * SEGMENTS_EACH * self.marks


def run(_: str, sizes: compare.Sizes, tell: compare.Tell) -> dict[str, Any]:
    """Measure it for several numbers of workers: marks as fast as they can be sent, then as workers do."""
    found: dict[str, Any] = {"rows_a_mark": ROWS_A_MARK, "marks_a_s_each": MARKS_A_S}
    for workers in WORKERS:
        most = MarkLoad(workers, sizes.marks // (workers * SEGMENTS_EACH), None)
        paced = MarkLoad(workers, round(sizes.log_seconds * MARKS_A_S / SEGMENTS_EACH), MARKS_A_S)
        fast, steady = uvloop.run(measured(most)), uvloop.run(measured(paced))
        million = steady["marks"] * ROWS_A_MARK / 1e6
        found[str(workers)] = {
            "most": {**fast, "cpu_us_per_mark": round(fast["cpu_s"] / fast["marks"] * 1e6, 1)},
            "paced": {
                **steady,
                "items_per_s": round(steady["marks_per_s"] * ROWS_A_MARK),
                "cpu_s_per_million_items": round(steady["cpu_s"] / million, 4),
                "cpu_percent": round(100 * steady["cpu_s"] / steady["elapsed_s"], 1),
            },
        }
        tell(
            f"{workers} workers: at most {fast['marks_per_s']:,.0f} marks/s,"
            f" {found[str(workers)]['most']['cpu_us_per_mark']:.0f} µs of CPU a mark; at"
            f" {found[str(workers)]['paced']['items_per_s']:,} items/s"
            f" {1000 * found[str(workers)]['paced']['cpu_s_per_million_items']:.1f} ms of CPU a million"
        )
    return found


class Joining:
    """engine.run.workforce.Workforce: those who wait at the door."""

    def __init__(self, listener: Listener, tenure: Tenure) -> None:
        self._listener = listener
        self._tenure = tenure
        self.links: list[DialledIn] = []

    async def joining(self) -> RunnerEnd:
        """Take in the next one."""
        candidate = await self._listener.line.get()
        welcome = Welcome("run", (), cursors=1, silence_s=SILENCE_S)
        self.links.append(DialledIn(candidate.welcomed(welcome), candidate.name, self._tenure, LATE_S, _lost))
        return self.links[-1]

    async def buried(self, link: RunnerEnd) -> str:
        """Bury nobody: one that is lost spoils the figure."""
        raise PermanentError(f"a simulated worker was lost: {link}")


def _lost(text: str) -> None:
    raise PermanentError(text)


async def measured(load: MarkLoad) -> Mapping[str, float]:
    """Carry a run whose workers do so, and return what it took from the moment in which all are there."""
    with tempfile.TemporaryDirectory(prefix="backfill-bench-") as name:
        certificate, key = self_signed(Path(name))
        at = Address(HERE, free_port())
        token = uuid.uuid4().hex
        with patch.dict(os.environ, {TOKEN: token}):
            async with listening(
                Listen(at, certificate, key, load.workers), token, Voice((), "")
            ) as listener:
                said = (at.port, load.workers, load.marks, load.marks_a_s or 0.0)
                command = module_command("bench.coordinating", *map(str, said))
                others = await asyncio.create_subprocess_exec(*command)
                try:
                    await listener.expected(load.workers)
                    return await _carried(load, listener, Path(name))
                finally:
                    with suppress(ProcessLookupError):
                        others.terminate()
                    await others.wait()


async def _carried(load: MarkLoad, listener: Listener, folder: Path) -> Mapping[str, float]:
    store = open_store(folder, "coordinator")
    try:
        state = RunState.begun(
            "bench",
            "full",
            [Segment(number, None, None, None) for number in range(load.workers * SEGMENTS_EACH)],
        )
        await store.begin(state)
        workforce = Joining(listener, store.tenure)
        coordinator = Coordinator(store, state, (), rate_max=None, own_usage=usage)
        began, cpu_s = time.perf_counter(), time.process_time()
        await coordinator.run(workforce)
        took, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
        for link in workforce.links:
            await link.close()
        if coordinator.fault is not None:
            raise PermanentError(str(coordinator.fault.error))
        rows = coordinator.counts.rows_read
        if rows != load.all_marks * ROWS_A_MARK:
            raise PermanentError(f"{rows:,} rows are durable, of {load.all_marks * ROWS_A_MARK:,}")
    finally:
        await store.close()
    return {
        "marks": load.all_marks,
        "marks_per_s": round(load.all_marks / took, 1),
        "elapsed_s": round(took, 2),
        "cpu_s": round(cpu_s, 3),
    }


Wire = SocketEnd[ToAfar, FromAfar]


class SimulatedWorker:
    """Says what a worker says, and does nothing."""

    def __init__(self, wire: Wire, writer: asyncio.StreamWriter, load: MarkLoad) -> None:
        self._wire = wire
        self._writer = writer
        self._load = load
        self._meter = Meter()

    async def work(self) -> None:
        """Take segments until there are no more, and leave when the run is over."""
        async with self._beside():
            self._wire.send(Want())
            while (message := await self._wire.receive()) is not None:
                match message:
                    case Assign(segment):
                        await self._read(segment)
                        self._wire.send(Want())
                    case NoMore():
                        self._wire.send(Finished())
                    case Drain():
                        return
                    case _:
                        pass

    async def _read(self, segment: Segment) -> None:
        pause_s = 0.0 if self._load.marks_a_s is None else 1 / self._load.marks_a_s
        counts = Counts(rows_read=ROWS_A_MARK, items_emitted=ROWS_A_MARK, items_written=ROWS_A_MARK)
        began = time.perf_counter()
        for number in range(1, self._load.marks + 1):
            end = Cursor((str(segment.number * 10**9 + number * ROWS_A_MARK),))
            done = number == self._load.marks
            self._meter.rows_read += ROWS_A_MARK
            self._meter.items_written += ROWS_A_MARK
            self._wire.send(Advanced(Mark(segment.number, end, counts, (), done)))
            await self._writer.drain()
            await asyncio.sleep(max(0.0, began + number * pause_s - time.perf_counter()))

    @asynccontextmanager
    async def _beside(self) -> Any:
        tasks = [asyncio.create_task(self._beats()), asyncio.create_task(self._ticks())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    async def _beats(self) -> None:
        for number in itertools.count(1):
            self._wire.send(Beat(number))
            await asyncio.sleep(SILENCE_S / BEATS)

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._meter.answered("ok", 0.008)
            self._meter.consumed[""] += ROWS_A_MARK
            used = usage()
            self._wire.send(Ticked(self._meter.snapshot(), used.cpu_s, used.peak_rss_bytes))


async def dialled(port: int, load: MarkLoad) -> None:
    """Dial in as one worker, and work."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(HERE, port, ssl=tls)
    wire: DiallingEnd = SocketEnd(reader, writer, says=OF_DIALLING, hears=OF_HEAD)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    await introduce(wire, os.environ[TOKEN], shown, HERE)
    if isinstance(await wire.receive(), Welcome):
        await SimulatedWorker(SocketEnd(reader, writer, says=AFAR_SAYS, hears=HEAD_SAYS), writer, load).work()
    await wire.close()


async def simulate(port: int, load: MarkLoad) -> None:
    """Be all workers."""
    await asyncio.gather(*(dialled(port, load) for _ in range(load.workers)))


if __name__ == "__main__":
    port, workers, marks = map(int, sys.argv[1:4])
    uvloop.run(simulate(port, MarkLoad(workers, marks, float(sys.argv[4]) or None)))
