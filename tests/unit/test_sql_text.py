"""No expression reaches a file or an address, and none is too large: said before Polars sees it."""

import http.server
import threading
from collections.abc import Iterator

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import JobError
from engine.rules.names import parsed, source_name
from engine.rules.sql import compiled
from engine.rules.sql_text import OPERATORS_MAX, checked

TYPES = {"a": pl.Int64(), "s": pl.String(), "update": pl.Int64(), "r": pl.Struct({"select": pl.String()})}


@pytest.fixture(scope="module")
def asked() -> Iterator[tuple[str, list[str]]]:
    """The URL of a server that writes down who asks."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}/x.csv", paths
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "text",
    [
        "EXISTS (SELECT 1 FROM read_csv('{url}'))",
        "exists(FROM read_csv('{url}'))",
        "a IN (FROM read_csv('{url}') SELECT a)",
        "a IN ((((SELECT a FROM read_csv('{url}')))))",
        "a = ANY(SELECT a FROM read_csv('{url}'))",
        "a BETWEEN 1 AND (/* it's */ sElEcT a -- '\n FROM read_parquet('{url}'))",
        "CASE WHEN a > (WITH x AS (FROM read_csv('{url}')) FROM x) THEN 1 END",
        "a IN (VALUES (1))",
        "a IN (TABLE x)",
        r"s = '\' OR EXISTS (SELECT 1 FROM read_csv('{url}')) OR s = '\'",
        "s = 'a''' OR EXISTS (SELECT 1 FROM read_csv('{url}')) OR s = ''",
        """"a""\" = 1 OR EXISTS (SELECT 1 FROM read_csv('{url}'))""",
        "`a` = 1 OR EXISTS (SELECT 1 FROM read_csv('{url}'))",
        "a\u00a0IN\u2003(\u00a0SELECT\u00a01 FROM read_csv('{url}'))",
        "SELECT a FROM read_csv('{url}')",
        "FROM read_csv('{url}')",
    ],
)
def test_a_query_is_refused_and_nobody_is_asked(text: str, asked: tuple[str, list[str]]) -> None:
    url, paths = asked
    with pytest.raises(
        JobError, match=r"holds a query \((?i:select|from|values|table|with)\); rules look at"
    ):
        compiled(text.replace("{url}", url), TYPES, "v")
    assert paths == []


@pytest.mark.parametrize(
    "text",
    [
        r"e'\'' || 's'", "r'a'", "q'[it's]'", "N'a'", "U&'a'", "$$a$$", "$t$a$t$", "'a", '"a', "/* /* */ a",
        "a \\ s", "\u2018SELECT\u2019", "a\x00",
    ],
)  # fmt: skip
def test_what_may_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(JobError, match=r"isn't known; quote|has a comment|write a text as 'text'"):
        checked(text)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a -- select it\n + 1", "a + 1"),
        ("a /* the /* SELECT */ of */ + 1", "a + 1"),
        ("s = 'SELECT 1 FROM x -- /*'", "s = 'SELECT 1 FROM x -- /*'"),
        ('"select" + 1', '"select" + 1'),
        ("r.select", "r.select"),
        ('("update" + 1)', '("update" + 1)'),
        ("abs(update)", "abs(update)"),
        ("s IS DISTINCT FROM 'x'", "s IS DISTINCT FROM 'x'"),
        ("extract(year FROM at)", "extract(year FROM at)"),
        ("a // 2 + x'ff' ^@ `b` :: int", "a // 2 + x'ff' ^@ `b` :: int"),
        ("größe + 1e5 - .5", "größe + 1e5 - .5"),
    ],
)
def test_all_else_reaches_polars_as_it_is_but_for_comments(text: str, seen: str) -> None:
    assert " ".join(checked(text).split()) == seen


@given(st.text(st.sampled_from("a'\"`\\-/*\n x"), max_size=12))
def test_quotes_end_where_polars_has_them_end(inner: str) -> None:
    text = f"'{inner.replace(chr(39), 2 * chr(39))}'"
    assert checked(text) == text
    assert pl.select(pl.sql_expr(text)).item() == inner
    for quote in '"`':
        name = f"{quote}{inner.replace(quote, 2 * quote)}{quote}"
        if inner and "`" not in inner:
            assert checked(name) == name
            assert [source_name(root) for root in parsed(name).meta.root_names()] == [inner]


@given(st.text(st.sampled_from("-/*\n a'"), max_size=12))
def test_comments_end_where_polars_has_them_end(inner: str) -> None:
    for text in (f"a --{inner}\n + 1", f"a /*{inner}*/ + 1"):
        try:
            seen = checked(text)
        except JobError:
            continue
        try:
            theirs = pl.sql_expr(text)
        except pl.exceptions.PolarsError:
            continue
        assert theirs.meta.eq(pl.sql_expr(seen))


def test_more_operators_than_can_be_reckoned_with_are_a_sentence() -> None:
    for count in (OPERATORS_MAX + 2, 6_000, 60_000):
        with pytest.raises(JobError, match=r"operators; it may have|characters; it may have"):
            compiled(" + ".join(["a"] * count), TYPES, "v")


@pytest.mark.parametrize("count", [60, 260, 900])
@pytest.mark.parametrize("joined", ["s || s", "a + a"])
def test_an_expression_that_is_too_deep_is_one_too(joined: str, count: int) -> None:
    one, operator, _ = joined.split()
    text = f" {operator} ".join([one] * count)
    if (one, count) == ("a", 60):
        compiled(text, TYPES, "v")
    else:
        with pytest.raises(JobError, match="is nested too deeply; compute a part of it"):
            compiled(text, TYPES, "v")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("LPAD(s, 2000000000, 'x')", "makes texts of up to 2,000,000"),
        ("RPAD(s, 2000000000)", "makes texts of up to 2,000,000"),
        ("LPAD(s, a)", "fills a text up to a length that isn't a plain number"),
        ("LPAD(s, 1000 * 1000 * 1000)", "fills a text up to a length that isn't a plain number"),
        (f"replace(replace(s, 'a', '{'b' * 500}'), 'b', '{'c' * 500}')", "makes texts of up to"),
        ("coalesce(s, CASE WHEN a > 1 THEN LPAD(s, 2000000000) END)", "makes texts of up to"),
    ],
)
def test_a_text_that_grows_beyond_all_use_is_refused(text: str, why: str) -> None:
    with pytest.raises(JobError) as caught:
        compiled(text, TYPES, "v")
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["LPAD(s, 20, '0')", "replace(s, 'a', 'bb') || '!'", f"a IN ({', '.join(map(str, range(9_000)))})"],
    ids=["pad", "replace", "long list"],
)
def test_ordinary_ones_stay(text: str) -> None:
    compiled(text, TYPES, "v")
