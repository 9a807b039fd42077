"""Any rows that COPY … CSV can print are parsed back to themselves, however they are cut into batches."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.postgres.copy import DELIMITER, QUOTE, _digest, parse
from connectors.postgres.sql import KeyColumn, ReadColumn, Shape
from connectors.postgres.types import Printed
from engine.kinds import Scalar

HOSTILE = st.text(st.sampled_from('\ufeffab",\\\n\r .N\té😀\x1e\x1f\x01'), max_size=8)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
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
    parsed = parse(shape(len(rows[0])), as_csv(rows))
    assert [list(row.values()) for row in parsed.to_pylist()] == rows


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
