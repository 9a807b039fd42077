"""What a user would lose if the older of two rows won, or a batch hit one partition at a time."""

import itertools

import orjson
import pytest

from engine.contracts.transform import DELETE, ROW
from engine.kinds import Scalar
from tests.support.items import encoded, puts, rule_items, table_info

S, N, INT, B = Scalar.STRING, Scalar.NUMBER, Scalar.INT, Scalar.BINARY
KEY = {"PK": S, "SK": S}


def row(**values):
    return {"PK": "u#1", "SK": "o#1"} | values


def test_a_number_key_is_the_same_in_every_spelling():
    info = table_info(partition=("PK", "N"), sort=None)
    rows = [{"PK": "1.0", "v": "old"}, {"PK": "1", "v": "new"}, {"PK": "2", "v": "other"}]
    result = encoded(rule_items({"PK": N, "v": S}, rows), info=info)
    assert [item["v"]["S"] for item in puts(result)] == ["new", "other"]
    assert result.coalesced == 1


def test_of_equal_keys_the_last_row_is_written_and_of_its_rules_the_last():
    first = rule_items(KEY | {"v": S}, [row(v="0"), row(v="1a"), row(SK="o#2", v="2")])
    second = rule_items(KEY | {"w": S}, [row(w="1b", **{ROW: 1})], rule=1, name="Other")
    result = encoded(first, second)
    assert [item.get("w", item.get("v"))["S"] for item in puts(result)] == ["1b", "2"]
    assert (result.emitted, result.coalesced, sorted(result.rules.tolist())) == (4, 2, [0, 1])


def test_a_put_after_a_delete_of_one_key_wins_and_the_other_way_round():
    rows = [row(**{DELETE: True}), row(), row(SK="o#2"), row(SK="o#2", **{DELETE: True})]
    result = encoded(rule_items(KEY, rows))
    wire = sorted(result.item(place) for place in range(len(result)))
    assert wire == [
        b'{"DeleteRequest":{"Key":{"PK":{"S":"u#1"},"SK":{"S":"o#2"}}}}',
        b'{"PutRequest":{"Item":{"PK":{"S":"u#1"},"SK":{"S":"o#1"}}}}',
    ]
    assert result.coalesced == 2


def test_insert_keeps_the_first_of_equal_keys_as_it_keeps_what_an_earlier_batch_wrote():
    rows = [row(v="first"), row(SK="o#2", v="2"), row(v="later")]
    result = encoded(rule_items(KEY | {"v": S}, rows), mode="insert")
    statements = [orjson.loads(result.item(place)) for place in range(len(result))]
    assert sorted(each["Parameters"][2]["S"] for each in statements) == ["2", "first"]
    assert result.coalesced == 1


@pytest.mark.parametrize(
    ("kind", "versions", "left"),
    [
        (INT, ["9", "10", "2"], 1),
        (N, ["1E+2", "99.5", "100"], 0),  # equal isn't greater: the first stays
        (S, ["b", "\u00e9", "a"], 1),
        (B, ["/w==", "AA==", "/g=="], 0),
    ],
)
def test_newer_keeps_the_highest_version_of_equal_keys_wherever_the_batch_ends(kind, versions, left):
    rows = [row(version=version, v=str(place)) for place, version in enumerate(versions)]
    rows.append(row(SK="o#2", version=versions[0], v="other"))
    result = encoded(rule_items(KEY | {"v": S, "version": kind}, rows), mode="newer", version="version")
    items = [orjson.loads(result.item(place))["Item"] for place in range(len(result))]
    assert sorted(item["v"]["S"] for item in items) == [str(left), "other"]
    assert result.coalesced == 2


def test_newer_lets_no_stale_put_undo_a_delete_of_the_same_batch():
    rows = [row(version="5", **{DELETE: True}), row(version="4")]
    result = encoded(rule_items(KEY | {"version": INT}, rows), mode="newer", version="version")
    assert (len(result), result.deletes.tolist()) == (1, [True])


def test_neighbours_have_different_partition_keys():
    rows = [row(PK=f"u#{n // 100}", SK=f"o#{n}") for n in range(1000)]
    result = encoded(rule_items(KEY, rows))
    hashes = result.partition_hashes.tolist()
    assert sum(a == b for a, b in itertools.pairwise(hashes)) == 0
    assert sorted(result.rows.tolist()) == list(range(1000))
    assert result.rows.tolist() != list(range(1000))


def test_a_hot_partition_key_is_spread_over_the_whole_batch():
    rows = [row(PK="hot" if n % 2 else f"u#{n}", SK=f"o#{n}") for n in range(1000)]
    result = encoded(rule_items(KEY, rows))
    hot = [result.rows[place] % 2 for place in range(1000)]
    assert all(5 <= sum(hot[start : start + 25]) <= 20 for start in range(0, 1000, 25))


def test_hashes_are_those_of_the_key_in_every_batch():
    alone = encoded(rule_items(KEY | {"v": S}, [row(v="1")]))
    other = encoded(rule_items(KEY, [row(PK="é\n"), row(**{DELETE: True})]))
    place = other.rows.tolist().index(1)
    assert other.key_hashes[place] == alone.key_hashes[0]
    assert other.partition_hashes[place] == alone.partition_hashes[0]
    assert (
        len(set(encoded(rule_items(KEY, [row(PK="a", SK="b"), row(PK="b", SK="a")])).key_hashes.tolist()))
        == 2
    )
