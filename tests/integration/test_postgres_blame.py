"""A value that the server can't send is named: its column, its row and the way out."""

from typing import Any

import pytest

from engine.errors import PermanentError
from tests.support import pg

FUNCTION = """
CREATE FUNCTION fussy(n int, at int, state text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF n = at THEN RAISE EXCEPTION 'invalid memory alloc request' USING ERRCODE = state; END IF;
    RETURN n;
END $$
"""
ROWS = "CREATE TABLE t AS SELECT n AS id, n / 2 AS pair, 'row ' || n AS s FROM generate_series(1, 5000) AS n"


async def said(url: str, **section: Any) -> str:
    with pytest.raises(PermanentError) as caught:
        await pg.read_all(url, **section)
    return str(caught.value)


@pytest.mark.parametrize(("at", "state"), [(1, "54000"), (2, "XX000"), (2500, "22012"), (5000, "54000")])
async def test_the_row_and_the_column_are_named(postgres_url: str, at: int, state: str) -> None:
    await pg.execute(
        postgres_url, FUNCTION, ROWS,
        f"CREATE VIEW v AS SELECT *, fussy(id, {at}, '{state}') AS huge, s AS other FROM t",
    )  # fmt: skip
    text = await said(postgres_url, table="v", key=["id"], batch_rows=1000)
    assert text == (
        f"source.columns: the server can't send column huge of the row with id {at} (invalid memory alloc"
        " request); mend it in the database, or leave the column out, or the row with source.where"
    )
    where = f"id <> {at}"
    assert len(await pg.read_all(postgres_url, table="v", key=["id"], where=where)) == 4999
    assert len(await pg.read_all(postgres_url, table="v", key=["id"], columns=["id", "other"])) == 5000


async def test_of_rows_that_share_a_key_or_have_none(postgres_url: str) -> None:
    await pg.execute(
        postgres_url, FUNCTION, ROWS, "CREATE VIEW v AS SELECT *, fussy(id, 3001, '54000') AS huge FROM t"
    )
    text = await said(postgres_url, table="v", key=["pair"], batch_rows=1000)
    assert "column huge of the row with pair 1500 " in text
    assert "column huge of some row " in await said(postgres_url, table="v")
