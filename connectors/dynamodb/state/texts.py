"""Long texts of a state in items of their own: there before they are referred to, let go of behind.

Invariant: what a run, the latest that was closed, or what is kept beside them refers to is there.
"""

from contextlib import suppress

from connectors.dynamodb.state.still import INLINE_BYTES, digest, parted, parts, text_of
from connectors.dynamodb.state.table import Item, StateTable, key, run_key
from engine.state import records
from engine.state.records import Damaged, RunRecord

TEXT = "TEXT"
"""The word before a run's texts; see still.py."""


async def read_text(table: StateTable, partition_key: str, word: str, name: str) -> str:
    """Return a text by its digest. Raises: Damaged."""
    return text_of([part async for part in table.below(partition_key, f"{word}#{name}#")], name)


class TextsApart:
    """The long texts of one job."""

    def __init__(self, table: StateTable) -> None:
        self._table = table
        self._written: set[tuple[str, str]] = set()
        """Runs and digests of what this process has seen to."""

    async def commit_run(self, run: RunRecord, spread: int) -> None:
        """Put a run's record, which refers to what doesn't change in it; that is there by then."""
        bare, still = await self._apart(run)
        actions, before = [self._table.put_run("RUN", bare, spread, still)], None
        if run.run.closed:
            before = await self._run_of("CLOSED")
            actions.append(self._table.put_run("CLOSED", bare, spread, still))
        await self._table.commit(actions)
        await self.forget(before)

    async def _apart(self, record: RunRecord) -> tuple[RunRecord, str | None]:
        """Return a run's record as its item holds it, and the digest of what is written apart from it."""
        bare, text = parted(record)
        if text is None:
            return record, None
        run_id, name = record.run.run_id, digest(text)
        if (run_id, name) not in self._written:
            await self._table.put_all(list(parts(run_key(self._table.job, run_id), TEXT, text)))
            self._written.add((run_id, name))
        return bare, name

    async def forget(self, run_id: str | None) -> None:
        """Delete the texts of a run to which nothing refers any more."""
        if run_id is None or run_id in (await self._run_of("RUN"), await self._run_of("CLOSED")):
            return
        left = self._table.of_run(run_id, f"{TEXT}#")
        await self._table.delete_all([part async for part in left])

    async def keep_beside(self, name: str, text: str | None) -> None:
        """Keep a text beside the checkpoint."""
        table, word, kept, new = self._table, f"BESIDE-{name}", None, ""
        if text is not None:
            kept = {"text": {"S": text}}
            if len(text.encode()) > INLINE_BYTES:
                new = digest(text)
                await table.put_all(list(parts(table.job, word, text)))
                kept = {"still": {"S": new}}
        place = key(table.job, f"BESIDE#{name}")
        verb, what = ("Delete", {"Key": place}) if kept is None else ("Put", {"Item": {**place, **kept}})
        await table.commit([{verb: {"TableName": table.table, **what}}])
        there = [part async for part in table.below(table.job, f"{word}#")]
        await table.delete_all([part for part in there if part["SK"]["S"].split("#")[1] != new])

    async def beside(self, name: str) -> str | None:
        """Return what is kept there. Raises: Damaged, KeyError."""
        item = await self._table.get(f"BESIDE#{name}")
        if item is None:
            return None
        if "still" in item:
            return await read_text(self._table, self._table.job, f"BESIDE-{name}", item["still"]["S"])
        return str(item["text"]["S"])

    async def _run_of(self, sort_key: str) -> str | None:
        item: Item | None = await self._table.get(sort_key)
        if item is not None:
            with suppress(Damaged, KeyError):
                return records.read_run(item["record"]["S"]).run.run_id
        return None
