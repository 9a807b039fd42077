"""Whatever the values: the bytes are those that botocore makes of the same item, and every item counts."""

from decimal import Decimal as Exact

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.contracts.transform import DELETE
from engine.kinds import Scalar
from tests.support.attribute_values import (
    _NESTED,
    Flawed,
    as_arrow,
    botocores,
    depth_of,
    expected,
    size_of,
    tables,
    with_numbers,
)
from tests.support.items import encoded, index, puts, rule_items, table_info


@settings(deadline=None)
@given(tables(), st.sampled_from(["omit", "keep"]), st.integers(0, 2))
def test_wire_texts_are_those_of_botocore(table, nulls, extra):
    kinds, rows = table
    plan, wanted, sizes, flawed = {"PK": Scalar.STRING, **kinds, "z": Scalar.STRING}, [], [], 0
    arrow_rows = []
    for place, row in enumerate(rows):
        item = {"PK": {"S": f"k{place}"}}
        filler = None
        try:
            for name, kind in kinds.items():
                if row[name] is not None:
                    item[name] = expected(kind, row[name], nulls == "keep")
                elif nulls == "keep":
                    item[name] = {"NULL": True}
            assert max(map(depth_of, item.values())) <= _NESTED
            size = sum(len(name.encode()) + size_of(value) for name, value in item.items())
            filler = "x" * (1024 - (size + 1) % 1024 + extra - 1)  # just under, at, or over a write unit
            item["z"] = {"S": filler}
            wanted.append(botocores(item))
            sizes.append(size + 1 + len(filler))
        except Flawed:
            flawed += 1
            if nulls == "keep":
                filler = ""
        arrow_rows.append(
            {"PK": f"k{place}", "z": filler}
            | {name: as_arrow(kind, row[name]) for name, kind in kinds.items()}
        )
    result = encoded(rule_items(plan, arrow_rows), info=table_info(sort=None), nulls=nulls)
    assert len(result.dead_letters) == flawed
    assert with_numbers(puts(result)) == with_numbers(wanted)
    by_row = [
        int(units) for _, units in sorted(zip(result.rows.tolist(), result.units.tolist(), strict=True))
    ]
    assert by_row == [-(-size // 1024) for size in sizes]
    for letter in result.dead_letters:
        assert letter.item_json is not None
        assert "PK" in orjson.loads(letter.item_json)


@settings(deadline=None)
@given(tables(), st.sampled_from(["put", "insert", "newer"]))
def test_an_item_is_the_same_bytes_alone_and_in_company(table, mode):
    kinds, rows = table
    plan = {"PK": Scalar.STRING, "v": Scalar.INT, **kinds}
    arrow_rows = [
        {"PK": f"k{place}", "v": "1"} | {name: as_arrow(kind, row[name]) for name, kind in kinds.items()}
        for place, row in enumerate(rows)
    ]
    settings = {"info": table_info(sort=None), "mode": mode, "version": "v", "numbers": "string"}
    together = encoded(rule_items(plan, arrow_rows), **settings)
    alone = [encoded(rule_items(plan, [row]), **settings) for row in arrow_rows]
    assert sorted(together.item(place) for place in range(len(together))) == sorted(
        one.item(0) for one in alone if len(one)
    )
    assert {letter.detail for letter in together.dead_letters} == {
        letter.detail for one in alone for letter in one.dead_letters
    }


KEY_TEXTS = st.sampled_from(["", "a", "b", '"', "é", "x" * 1025, "x" * 2049])


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            KEY_TEXTS,
            st.none() | st.sampled_from(["1", "1.0", "-1", "NaN", "10"]),
            st.booleans(),
            st.integers(0, 1),
        ),
        max_size=12,
    ),
    st.sampled_from(["put", "insert"]),
)
def test_what_is_left_of_equal_keys_is_what_writing_one_by_one_would_leave(rows, mode):
    kinds = {"PK": Scalar.STRING, "SK": Scalar.NUMBER, "v": Scalar.INT}
    rules = [
        rule_items(
            kinds,
            [
                {"PK": pk, "SK": sk, "v": str(place), DELETE: gone, "row": place}
                for place, (pk, sk, gone, of) in enumerate(rows)
                if of == rule
            ],
            rule,
        )
        for rule in (0, 1)
    ]
    left_over, bad, skipped = {}, 0, 0
    for place, (pk, sk, gone, _) in enumerate(rows):
        if gone and mode == "insert":
            skipped += 1
        elif pk == "" or len(pk) > 2048 or sk in (None, "NaN"):
            bad += 1
        elif mode == "put" or (pk, Exact(sk)) not in left_over:
            left_over[pk, Exact(sk)] = (place, gone)
    result = encoded(*rules, info=table_info(sort=("SK", "N"), indexes=[index("g", ("SK", "N"))]), mode=mode)
    left = dict(zip(result.rows.tolist(), result.deletes.tolist(), strict=True))
    assert left == dict(left_over.values())
    assert (len(result.dead_letters), result.skipped) == (bad, skipped)
