"""Names of columns and fields: whatever they look like to Polars, each means itself alone."""

import polars as pl
import pytest

from engine.errors import JobError
from engine.kinds import Kind, ListOf, Scalar, StructOf
from tests.support.rules import column_of, transformed, values_of

S = Scalar
NAMES = [
    "^v.*$",
    "*",
    "^.*$",
    "^$",
    "^[$",
    "value",
    "vx",
    "{}",
    "a{b}",
    'a"b',
    "a'b",
    "%s",
    "row",
    "each",
    "^v",
]
"""Patterns to Polars, what they would match, and names that other places might trip over."""

PATTERNS = [name for name in NAMES if name == "*" or (name[0] == "^" and name[-1] == "$")]
COLUMNS = {"id": (S.INT, ["1", "2"])} | {name: (S.STRING, [f"{name} of 1", f"{name} of 2"]) for name in NAMES}
KEY = {"key": {"PK": "{id}"}}


def expected(*names: str) -> list[dict[str, str]]:
    return [{"PK": f"{row}", **{name: f"{name} of {row}" for name in names}} for row in (1, 2)]


@pytest.mark.parametrize("hook", [None, lambda frame: frame], ids=["plain", "hooked"])
def test_every_column_arrives_under_its_own_name(hook):
    (items,) = transformed(COLUMNS, {**KEY, "include": "all", "exclude": ["id"]}, hook=hook)
    assert values_of(items) == expected(*NAMES)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("hook", [None, lambda frame: frame], ids=["plain", "hooked"])
def test_a_pattern_is_a_name_wherever_a_rule_says_it(name, hook):
    quoted = f'"{name}"'
    (items,) = transformed(
        COLUMNS,
        {
            "key": {"PK": f"K#{{{name}}}"},
            "include": [name],
            "when": f"{quoted} <> 'x' AND value <> 'x'",
            "delete_when": f"{quoted} = '{name} of 2'",
            "attributes": {
                "text": f"<{{{name}}}>",
                "alone": f"{{{name}}}",
                "sql": {"sql": f"upper({quoted}) || value"},
            },
        },
        hook=hook,
    )
    assert values_of(items) == [
        {
            "PK": f"K#{name} of {row}",
            name: f"{name} of {row}",
            "text": f"<{name} of {row}>",
            "alone": f"{name} of {row}",
            "sql": f"{name} of {row}".upper() + f"value of {row}",
        }
        for row in (1, 2)
    ]
    assert items.frame.get_column("delete").to_list() == [False, True]


def test_a_hook_sees_and_makes_such_names():
    def hook(frame):
        return frame.with_columns(pl.lit("new").alias("^new.*$"), pl.lit("other").alias("newer"))

    seen = []
    (items,) = transformed(
        COLUMNS,
        {**KEY, "attributes": {"a": "{^new.*$}", "b": "{newer}", "c": "{^v.*$}"}},
        hook=lambda frame: (seen.append(frame.collect_schema().names()), hook(frame))[1],
    )
    assert values_of(items)[0] == {"PK": "1", "a": "new", "b": "other", "c": "^v.*$ of 1"}
    assert set(NAMES) <= set(seen[-1])


FIELDS = ("^v.*$", "*", "value")
STRUCT: Kind = StructOf(tuple((name, S.STRING) for name in FIELDS))
ONE = dict(zip(FIELDS, ("pattern", "star", "value"), strict=True))


@pytest.mark.parametrize("hook", [None, lambda frame: frame], ids=["plain", "hooked"])
def test_fields_of_structs_and_of_lists_elements(hook):
    columns = {
        "id": (S.INT, ["1"]),
        "one": (STRUCT, [ONE]),
        "many": (ListOf(STRUCT), [[ONE, {**ONE, "*": None}]]),
    }
    attributes = {
        "a": "{one.^v.*$}",
        "b": "{one.*}",
        "c": "<{one.value}>",
        "whole": "{one}",
        "list": "{many}",
    }
    each = {"a": "{each.^v.*$}", "b": "{each.*}", "c": "{each.value}"}
    row, element = transformed(
        columns,
        {**KEY, "attributes": attributes},
        {"key": {"PK": "{id}#{index}"}, "for_each": "many", "attributes": each},
        hook=hook,
    )
    (item,) = values_of(row)
    assert (item["a"], item["b"], item["c"]) == ("pattern", "star", "<value>")
    assert item["whole"] == ONE
    assert item["list"] == [ONE, {**ONE, "*": None}]
    assert column_of(element, "a") == ["pattern", "pattern"]
    assert column_of(element, "b") == ["star", None]
    assert column_of(element, "c") == ["value", "value"]


def test_typed_columns_and_values_that_sql_cant_hold():
    columns = {
        "id": (S.INT, ["1", "2"]),
        "^n$": (S.INT, ["7", "8"]),
        "n": (S.INT, ["0", "0"]),
        "*": (S.TIMESTAMP, ["2024-01-15T10:00:00", "infinity"]),
    }
    rule = {**KEY, "attributes": {"a": {"sql": '"^n$" + 1'}, "b": {"sql": 'extract(year from "*")'}}}
    (items,) = transformed(columns, rule)
    assert values_of(items)[0] == {"PK": "1", "a": "8", "b": "2024"}
    assert items.frame.get_column("flaw").to_list() == [
        None,
        "value_unsupported: b needs *, which holds a value that SQL can't compute with",
    ]


@pytest.mark.parametrize("text", ['"^x.*$" = 1', '"^" = 1'])
def test_an_unknown_pattern_is_an_unknown_name(text):
    with pytest.raises(JobError, match="names no known column"):
        transformed(COLUMNS, {**KEY, "when": text})
