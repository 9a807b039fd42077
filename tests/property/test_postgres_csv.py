"""Any rows that COPY … CSV can print are parsed back to themselves, however they are cut into batches."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.postgres.copy import DELIMITER, QUOTE, _digest, parse, parsed_by_arrow
from connectors.postgres.sql import KeyColumn, ReadColumn, Shape
from connectors.postgres.types import Printed
from engine.documents import walking
from engine.kinds import Scalar
from tests.support.fuzz_walk import mutated

HOSTILE = st.text(st.sampled_from('\ufeffab",\\\n\r .N\té😀\x1e\x1f\x01'), max_size=8)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
SIGNS = f"{DELIMITER}{QUOTE}".encode()
VALUE = st.none() | HOSTILE | TEXT


def as_csv(rows: list[list[str | None]]) -> bytes:
    """Print rows as PostgreSQL's CopyAttributeOutCSV does."""

    def field(value: str | None, alone: bool) -> str:
        if value is None:
            return ""
        if value == "" or set(value) & {DELIMITER, QUOTE, "\n", "\r"} or (alone and value == "\\."):
            return QUOTE + value.replace(QUOTE, 2 * QUOTE) + QUOTE
        return value

    return "".join(
        DELIMITER.join(field(value, len(row) == 1) for value in row) + "\n" for row in rows
    ).encode()


def shape(width: int, key: bool = False) -> Shape:
    columns = tuple(ReadColumn(f"c{n}", f"c{n}", Printed(Scalar.STRING)) for n in range(width))
    keys = (KeyColumn("c0", "c0", "text", "pg_catalog.text", nullable=False),) if key else ()
    return Shape(columns, "t", True, 0, (), keys, key_unique=False)


@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(VALUE, min_size=width, max_size=width), min_size=1)
    )
)
def test_csv_is_read_back_exactly(rows: list[list[str | None]]) -> None:
    width, data = len(rows[0]), as_csv(rows)
    parsed = parse(shape(width), data)
    assert [list(row.values()) for row in parsed.to_pylist()] == rows
    assert parsed_by_arrow(data, parsed.schema.names).equals(parsed)
    cut = walking.rows(data, SIGNS, width)
    doubled = any(value is not None and QUOTE in value for row in rows for value in row)
    assert (cut is None) == (doubled or walking.WAY != "in C"), "what has no quote in it needs no parser"


@given(st.lists(st.lists(VALUE, min_size=2, max_size=2), min_size=1), st.integers(0, 2**32))
def test_what_is_cut_in_c_is_what_the_parser_gives(rows: list[list[str | None]], seed: int) -> None:
    data = mutated(as_csv(rows), Random(seed))
    cut = walking.rows(data, SIGNS, 2)
    if cut is None:
        return
    assert [column.to_pylist() for column in cut] == [
        column.to_pylist() for column in parsed_by_arrow(data, ("0", "1")).columns
    ]


@pytest.mark.parametrize("row", [["\ufeff"], ["\ufeffa", None], ["", "\ufeff"], [None], ["\ufeff\ufeff\x1f"]])
def test_a_byte_order_mark_is_part_of_the_first_value(row: list[str | None]) -> None:
    parsed = parse(shape(len(row)), as_csv([row, row]))
    assert [list(got.values()) for got in parsed.to_pylist()] == [row, row]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 7), st.data())
def test_groups_of_one_key_stay_together_whatever_the_chunks(
    keys: list[int], batch_rows: int, data: st.DataObject
) -> None:
    keys.sort()
    rows = [
        [str(key), str(n), "t" if n == 0 or keys[n - 1] != key else "f"] for n, key in enumerate(keys)
    ]  # fmt: skip
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows) - 1)) if len(rows) > 1 else st.just(set())))
    table = shape(2, key=True)
    held, got = None, []
    for low, high in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        digest = _digest(table, [as_csv(rows[low:high])], held, batch_rows, DOCUMENTS)
        held = digest.held
        got.extend(part.rows.to_pylist() for part in digest.ready)
    assert held is not None
    got.append([{"c0": row["0"], "c1": row["1"]} for row in held.to_pylist()])
    assert [row["c1"] for part in got for row in part] == [str(n) for n in range(len(rows))]
    ends = [part[-1]["c0"] for part in got]
    assert len(set(ends)) == len(ends)
