"""How a cap on reading is shared by whoever scans, while some come and go.

Invariant: what all of them may read together is the cap at most, at any moment: whoever gets more gets it
once the others have less, and a share of one that is gone is another's when it reads nothing more.
"""

import asyncio
import itertools
from collections.abc import Callable

from engine.commands.helpers import Gone
from engine.commands.verify.orders import ShareOrder, VerifyHelper
from engine.frozen import dataclass

LEAST = 0.01
"""So much of a cap is worth sharing; else what those who are gone may still read is waited for."""
_NUMBERS = itertools.count(2**32)
"""Numbers of orders that no pass gives."""


@dataclass(slots=True)
class _Share:
    helper: VerifyHelper | None
    """None: this process."""
    units: float = 0.0


class Shares:
    """Shares a cap in even parts. `own` sets this process's; None: it scans nothing. Units: as `max_rcu`."""

    def __init__(self, cap: float | None, own: Callable[[float], None] | None) -> None:
        self._cap = cap
        self._set_own = own
        self._all = [] if own is None else [_Share(None)]
        self._lock = asyncio.Lock()

    async def see_to(self, helper: VerifyHelper | None) -> None:
        """Have one's share be right before it reads; None: this process's."""
        if self._cap is None:
            return
        async with self._lock:
            known = any(share.helper is helper for share in self._all)
            gone = [share for share in self._all if share.helper is not None and share.helper.settled]
            if not known:
                self._all.append(_Share(helper))
            if not known or gone or not all(share.units for share in self._all):
                self._all = [share for share in self._all if share not in gone]
                await self._share_out(self._cap)

    async def end(self) -> None:
        """Wait until none of those who are gone reads any more."""
        if self._cap is not None:
            for share in self._all:
                if share.helper is not None and not share.helper.there:
                    await share.helper.buried()

    async def _share_out(self, cap: float) -> None:
        while True:
            gone = [share for share in self._all if share.helper is not None and not share.helper.there]
            there = [share for share in self._all if share not in gone]
            left = cap - sum(share.units for share in gone)
            if gone and left < cap * LEAST:
                await self._buried(gone[0])
                continue
            even = left / max(1, len(there))
            more = [share for share in there if share.units > even]
            await asyncio.gather(*(self._give(share, even) for share in more))
            if not more:
                break
        for share in there:
            if share.units < even:
                share.units = even
                await self._give(share, even)

    async def _buried(self, gone: _Share) -> None:
        assert gone.helper is not None, "this process isn't gone"
        await gone.helper.buried()
        self._all.remove(gone)

    async def _give(self, share: _Share, units: float) -> None:
        if share.helper is None:
            assert self._set_own is not None, "this process scans"
            self._set_own(units)
        else:
            try:
                await share.helper.ask(ShareOrder(next(_NUMBERS), units))
            except Gone:  # it counts with what it had until it is settled
                return
        share.units = units
