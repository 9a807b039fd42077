"""The null target that notes when it answered for items of a turn, in a process of its own.

Items with a number `Turn` are those of one transaction of the source. `GET /turns` tells, for each turn, how
many items of it came and the moment in which the last of them was answered.
"""

import asyncio
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import uvloop

from bench.servers import free_port, running
from bench.simulator.null import NullCounts, NullProtocol, http_answer
from engine.environment import module_command

TURN = "Turn"
_TURNS = re.compile(rb'"Turn":\{"N":"(\d+)"')


class ClockedProtocol(NullProtocol):
    """One connection. Units: seconds since 1970, so that another process's moments fit in."""

    def __init__(self, counts: NullCounts, turns: dict[int, tuple[int, float]]) -> None:
        super().__init__(counts)
        self._turns = turns

    def _answer(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"get /turns"):
            return http_answer(orjson.dumps([[turn, *seen] for turn, seen in self._turns.items()]))
        now = time.time()
        for turn in map(int, _TURNS.findall(body)):
            self._turns[turn] = (self._turns.get(turn, (0, now))[0] + 1, now)
        return super()._answer(head, body)


@contextmanager
def clocked_null_target() -> Iterator[str]:
    """Run it and give its endpoint URL."""
    port = free_port()
    with running(module_command("bench.clocked_null", str(port)), port=port):
        yield f"http://127.0.0.1:{port}"


async def serve(port: int) -> None:
    """Serve on 127.0.0.1 until ended."""
    counts, turns = NullCounts(), dict[int, tuple[int, float]]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ClockedProtocol(counts, turns), "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
