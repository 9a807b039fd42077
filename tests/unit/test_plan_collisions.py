"""Repeated keys: exact counts, whatever the hashes do, in bounded memory."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from engine.batch import Batch
from engine.commands import hash_store
from engine.commands.hash_store import HashStore
from engine.commands.plan import collisions
from engine.commands.plan.collisions import NO_COLLISIONS, NO_ROOM, KeyCounter, key_hashes, suspected
from engine.contracts.planning import Measured


def measured(
    keys: list[str], *others: list[str], deletes: set[int] = frozenset(), rule: str = "R"
) -> tuple[Batch, Measured]:
    """Return items with such texts as the first attribute of their keys, "s" or `others` as the next ones."""
    rows = pa.RecordBatch.from_pydict({"id": pa.array([f"{rule}{n}" for n in range(len(keys))])})
    return Batch(0, 0, rows, None), Measured(
        rule=rule,
        rows=np.arange(len(keys), dtype=np.uint32),
        deletes=np.array([n in deletes for n in range(len(keys))], np.bool_),
        key=tuple(pl.Series(texts, dtype=pl.String) for texts in (keys, *(others or [["s"] * len(keys)]))),
        sizes=np.full(len(keys), 10),
    )


def found(*parts: tuple[Batch, Measured], suspects: np.ndarray | None = None) -> collisions.Collisions:
    keys = KeyCounter(("id",), suspects)
    for batch, items in parts:
        keys.add(batch, [items])
    return keys.collisions()


def test_keys_that_differ_do_not_collide() -> None:
    assert found(measured(["a", "b"]), measured(["c"], rule="Other")) == NO_COLLISIONS
    assert found() == NO_COLLISIONS


def test_repeats_within_and_across_batches_are_counted_with_their_rows() -> None:
    seen = found(measured(["a", "b", "a"]), measured(["a", "c"], rule="Other"))
    assert (seen.keys, seen.lost) == (1, 2)
    example = seen.examples[0]
    assert example.key == ("a", "s")
    assert [(member.rule, member.source_key) for member in example.members] == [
        ("R", {"id": "R0"}),
        ("R", {"id": "R2"}),
        ("Other", {"id": "Other0"}),
    ]


def test_two_deletes_lose_nothing_but_a_delete_and_a_put_do() -> None:
    assert found(measured(["a", "a"], deletes={0, 1})) == NO_COLLISIONS
    assert found(measured(["a", "a"], deletes={1})).keys == 1


@pytest.fixture
def store(tmp_path: Path) -> HashStore:
    return HashStore(tmp_path, np.dtype(np.uint64), advice=NO_ROOM)


def test_exactly_what_repeats_is_suspected_of_it(store: HashStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_store, "PART_RECORDS", 1_000)
    generator = np.random.default_rng(7)
    hashes = np.unique(generator.integers(0, 2**64, 20_000, np.uint64))
    repeated = hashes[::100]
    for part in np.array_split(generator.permutation(np.concatenate((hashes, repeated, repeated))), 9):
        store.add(part)
        store.flush()
    suspects = suspected(store)
    assert np.array_equal(suspects.hashes, np.sort(repeated))
    assert (suspects.keys_beyond, suspects.lost_beyond) == (0, 0)


def test_beyond_what_is_confirmed_hashes_count(store: HashStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collisions, "CONFIRMED_MAX", 3)
    store.add(np.repeat(np.arange(10, dtype=np.uint64) << np.uint64(59), 4))
    suspects = suspected(store)
    assert len(suspects.hashes) == 3
    assert (suspects.keys_beyond, suspects.lost_beyond) == (7, 21)


def test_where_nothing_is_nothing_is_suspected(store: HashStore) -> None:
    store.add(np.empty(0, np.uint64))
    assert len(suspected(store).hashes) == 0


def test_a_suspected_hash_that_is_of_two_keys_is_no_collision() -> None:
    batch, items = measured(["a", "b", "c", "c"])
    assert found((batch, items), suspects=np.sort(key_hashes(items)[:2])) == NO_COLLISIONS
    assert found((batch, items), suspects=np.unique(key_hashes(items))).keys == 1


def test_many_suspects_are_merged_without_losing_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collisions, "CONFIRMED_MAX", 2)
    seen = found(*(measured(["a", "b", f"only {n}"]) for n in range(20)))
    assert (seen.keys, seen.lost) == (2, 38)


def test_keys_of_three_attributes_are_told_apart_by_each_of_them() -> None:
    batch, items = measured(["a", "a", "a", "b"], ["x", "x", "y", "x"], ["1", "1", "1", "1"])
    seen = found((batch, items))
    assert (seen.keys, seen.lost, seen.examples[0].key) == (1, 1, ("a", "x", "1"))
    first, second, third, fourth = key_hashes(items).tolist()
    assert first == second
    assert len({first, third, fourth}) == 3
    _, turned = measured(["x", "1"], ["a", "a"], ["1", "x"])
    assert len({*key_hashes(turned).tolist(), first}) == 3, "which attribute has which text counts"
