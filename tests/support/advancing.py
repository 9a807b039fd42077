"""A process that checkpoints until it is killed or its disk is full: `python -m tests.support.advancing DIR`.

After each durable advance it prints how far segment 0 is; on a fault its sentence, after `fault: `.
"""

import asyncio
import resource
import sys
from dataclasses import replace
from pathlib import Path

from engine.batch import Effort
from engine.errors import PermanentError
from engine.state.checkpoint import open_store
from tests.support.states import a_letter, a_mark, a_run

SEGMENTS = 3
ITEMS = 2


def marks(step: int, letters: bool) -> list:
    """Each segment goes on by one step: two items, and a dead letter that says where it came from."""
    return [
        a_mark(number, str(step), ITEMS, [a_letter(f"{number}/{step}")] if letters else [])
        for number in range(SEGMENTS)
    ]


async def advance_for_ever(directory: Path, bytes_max: int | None, letters: bool) -> None:
    store = open_store(directory, "orders")
    state = await store.load()
    if state is None:
        await store.begin(replace(a_run(), segments=a_run(segments=SEGMENTS).segments))
        step = 0
    else:
        state = await store.resume()
        step = int(state.segments[0].end.key[0]) if state.segments[0].end else 0
    if bytes_max is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, bytes_max))
    while True:
        step += 1
        try:
            await store.advance(marks(step, letters), Effort(requests=step))
        except PermanentError as error:
            print(f"fault: {error}", flush=True)
            break
        print(step, flush=True)
    await store.close()


if __name__ == "__main__":
    limit = int(sys.argv[2]) if len(sys.argv) > 2 else None
    asyncio.run(advance_for_ever(Path(sys.argv[1]), limit, letters="no-letters" not in sys.argv))
