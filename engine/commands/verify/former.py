"""Items under keys that an earlier run's rules made and today's don't: told apart, and removed only on proof.

Invariant: an item goes only when its source row makes, by the earlier rules, exactly that item under exactly
that key. One that has changed since, or whose key doesn't tell its row, stays.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing

from engine.commands.verify.book import Place
from engine.commands.verify.desk import Desk, open_desk
from engine.commands.verify.digests import content_hashes
from engine.commands.verify.scope import Scope, patterns_of, scope_of
from engine.commands.verify.values import Item
from engine.commands.verify.whence import Inverse
from engine.errors import JobError, PermanentError
from engine.state.former import restored
from engine.tenure import Tenure


class Former:
    """The earlier rules of the jobs of some desks, and what of the table they made.

    Shape: `rules` are, for each desk, the texts that engine.state.former keeps; `others` those of other jobs
    that load the table: what their rules make is theirs.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        desks: Sequence[Desk],
        rules: Sequence[Sequence[str]],
        others: Sequence[str],
        tenures: Sequence[Tenure],
    ) -> None:
        self._stack = stack
        self._jobs = [
            (desk, desk.job.model_copy(update={"items": restored(text)}), tenure)
            for desk, texts, tenure in zip(desks, rules, tenures, strict=True)
            for text in texts
        ]
        schema = desks[0].schema
        now = scope_of([(desk.job, desk.source.ticket.schema) for desk in desks], schema)
        then = scope_of([(job, desk.source.ticket.schema) for desk, job, _ in self._jobs], schema)
        foreign = [rule for text in others for rule in restored(text)]
        self.scope = Scope(schema, now.rules, then.rules, patterns_of(foreign, {}, schema))
        """The keys of rules old and new."""
        self._opened: list[Desk] | None = None

    def __bool__(self) -> bool:
        return bool(self._jobs)

    async def still_as_written(self, found: Mapping[int, Item], notice: Callable[[str], None]) -> set[int]:
        """Return which of these items, by their keys' hashes, earlier rules still make of their rows."""
        proved: set[int] = set()
        for desk in await self._desks(notice):
            inverse = Inverse(desk)
            if not inverse.complete or desk.ordered or desk.keeps:
                notice("items of earlier keys stay: their keys don't tell the rows that made them")
                continue
            cursors = tuple({cursor for item in found.values() for cursor in inverse.cursors(item)})
            try:
                async with aclosing(desk.rows_of(Place(0, keys=cursors))) as rows:
                    async for batch in rows:
                        expected = (await desk.look(batch)).expected
                        hashes = expected.hashes(desk.schema).tolist()
                        for key_hash, item in zip(hashes, expected.items, strict=True):
                            there = found.get(key_hash)
                            if there is not None and item is not None and _alike(item, there):
                                proved.add(key_hash)
            except PermanentError:  # a text among them can't be such a key
                notice("items of earlier keys stay: the source doesn't take what their keys tell")
        return proved

    async def _desks(self, notice: Callable[[str], None]) -> list[Desk]:
        if self._opened is None:
            self._opened = []
            for _, job, tenure in self._jobs:
                try:
                    self._opened.append(await open_desk(self._stack, 0, job, lambda _: None, tenure))
                except JobError as error:
                    notice(f"items of earlier keys stay, since their rules don't fit the source: {error}")
        return self._opened


def _alike(one: Item, other: Item) -> bool:
    first, second = content_hashes([one, other]).tolist()
    return bool(first == second)
