"""What a source has to say while a command reads it, told while it is true: that it is away, that it is back.

Invariant: each sentence once, in its order, the last ones before the command's result.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from engine.contracts.source import RowReading
from engine.tasks import ended

HEARD_EVERY_S = 0.5


@asynccontextmanager
async def source_heard(
    source: Callable[[], RowReading], tell: Callable[[str], None], told: int = 0
) -> AsyncGenerator[Callable[[], None], None]:
    """Tell what `source` says from behind its first `told` notices on.

    It may be opened anew meanwhile: what it says of being opened was told, or is the command's own doing.
    Yields what tells at once whatever is new.
    """
    heard, count = source(), told

    def tell_new() -> None:
        nonlocal heard, count
        if source() is not heard:
            heard, count = source(), len(source().notices)
        for text in heard.notices[count:]:
            count += 1
            tell(text)

    async def keep_telling() -> None:
        while True:
            await asyncio.sleep(HEARD_EVERY_S)
            tell_new()

    tell_new()
    telling = asyncio.create_task(keep_telling())
    try:
        yield tell_new
    finally:
        await ended(telling)
        tell_new()
