"""Whenever uniqueness is proved, no rows with unique identities give one key twice."""

from itertools import product

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.dynamodb.documents.codec import DOCUMENTS
from engine.contracts.transform import FLAW, ROW
from engine.errors import JobError
from engine.kinds import Column, ListOf, Scalar
from engine.rules.transform import compile_rules
from engine.rules.uniqueness import key_proof
from tests.support.rules import batch, job, schema

S = Scalar
KINDS = {
    "i": S.INT,
    "j": S.INT,
    "s": S.STRING,
    "t": S.STRING,
    "d": S.DATE,
    "c": S.TIME,
    "w": S.STRING,
    "e": S.STRING,
    "l": ListOf(S.STRING),
}
COLUMNS = KINDS | {"w": Column("w", S.STRING, width=2), "e": Column("e", S.STRING, signs="01-")}
VALUES = {
    "i": [None, "0", "1", "-1", "10"],
    "j": ["1", "-1", "10"],
    "s": [None, "", *"#01-", "#0", "0#", "1-", "-1", "##", "2024-01-01", "01:00:00.000001"],
    "t": ["", "#", "1", "-1", "1#", "#1"],
    "d": ["2024-01-01", "2024-10-11", "infinity"],
    "c": ["01:00:00", "01:00:00.000001"],
    "w": ["#0", "01"],
    "e": ["", "0", "1-"],
}
# Every combination of values that are likely to run into each other. Any two rows whose unique columns
# differ, or are null in one of them, could stand in one table, so no two such rows may share a key.
ROWS = [
    (*row, [["#", "0"], [], ["1", "1"]][number % 3]) for number, row in enumerate(product(*VALUES.values()))
]
BATCH = batch({name: (kind, [row[at] for row in ROWS]) for at, (name, kind) in enumerate(KINDS.items())})
LITERALS = ["#", "-", "0", "A#"]
PLACEHOLDERS = [*(f"{{{name}}}" for name in VALUES), "{i:03d}", "{d:%Y-%m}", "{d:%Y%m%d}", "{index}"]
UNIQUE = st.sampled_from(
    [
        *(
            tuple(names)
            for names in ("i", "s", "d", "w", "e", "ij", "st", "is", "sd", "sw", "we", "se", "ijs")
        ),
        ("c", "s"),
        ("d", "t"),
    ]
)


@st.composite
def rules_and_unique(draw):
    """Rules whose keys often hold an identity, so that many of them are proved."""
    identity = draw(UNIQUE)
    formats = {"d": ["{d:%Y%m%d}", "{d:%F}"], "c": ["{c:%H%M%S%f}", "{c:%T.%f}"], "i": ["{i:03d}"]}
    wanted = ["{index}", *(f"{{{name}}}" for name in identity)]
    wanted += [text for name in identity for text in formats.get(name, [])]
    part = st.one_of(st.sampled_from(LITERALS), st.sampled_from(wanted), st.sampled_from(PLACEHOLDERS))
    rules = []
    for each in draw(st.lists(st.booleans(), min_size=1, max_size=2)):
        parts = part if each else part.filter(lambda text: text != "{index}")
        texts = st.lists(parts, min_size=1, max_size=5).map("".join)
        rule = {"key": {"PK": draw(texts), "SK": draw(texts)}}
        rules.append(rule | {"for_each": "l"} if each else rule)
    return rules, identity


NAMES = list(KINDS)


def told_apart(row: tuple, unique: tuple[str, ...], number: int) -> str:
    """What differs in any two rows of one table."""
    values = [row[NAMES.index(name)] for name in unique]
    return f"null {number}" if None in values else "\0".join(values)


def garbled(kept: tuple[str, ...]):
    """A hook that makes texts which run into each other of every column that it doesn't keep."""
    mess = [pl.lit("#").alias(name) for name in VALUES if name not in kept]
    return lambda frame: frame.with_columns(*mess)


@settings(max_examples=150, deadline=None)
@given(rules_and_unique(), st.booleans(), st.booleans())
def test_proved_keys_never_meet(rules_and_unique, nullable, hooked):
    rules, unique = rules_and_unique
    sets = [frozenset(unique)]
    the_schema = schema(COLUMNS, unique=sets) if nullable else schema(COLUMNS, sets)
    the_job = job(*rules, transform={"hook": "jobs:hook", "keeps": unique} if hooked else None)
    if key_proof(the_job, the_schema).reason is not None:
        return
    try:
        transform = compile_rules(the_job, the_schema, garbled(unique) if hooked else None, DOCUMENTS)
    except JobError:  # a format for what the hook has made a text of
        assert hooked
        return
    items = [found.frame.select("0", "1", ROW, FLAW) for found in transform(BATCH)]
    sound = pl.concat(items).filter(pl.col(FLAW).is_null())
    identities = pl.DataFrame({ROW: range(len(ROWS))}, schema={ROW: pl.UInt32}).with_columns(
        pl.Series("identity", [told_apart(row, unique, number) for number, row in enumerate(ROWS)])
    )
    keys = sound.join(identities, on=ROW).group_by("0", "1")
    shared = keys.agg(rows=pl.col("identity").n_unique(), twice=pl.col(ROW).is_duplicated().any())
    assert shared.filter((pl.col("rows") > 1) | pl.col("twice")).is_empty()


@settings(max_examples=100, deadline=None)
@given(rules_and_unique())
def test_rows_of_one_key_share_what_can_be_read_out_of_it(rules_and_unique):
    rules, _ = rules_and_unique
    the_schema = schema(COLUMNS)
    the_job = job(*rules)
    proof = key_proof(the_job, the_schema)
    for found, told in zip(
        compile_rules(the_job, the_schema, None, DOCUMENTS)(BATCH), proof.rules, strict=True
    ):
        sound = found.frame.filter(pl.col(FLAW).is_null()).select("0", "1", ROW)
        for name in told.shared:
            values = pl.DataFrame(
                {ROW: range(len(ROWS)), "value": [row[NAMES.index(name)] for row in ROWS]},
                schema={ROW: pl.UInt32, "value": pl.String},
            )
            keys = sound.join(values, on=ROW).group_by("0", "1").agg(pl.col("value").n_unique())
            assert keys.filter(pl.col("value") > 1).is_empty(), name
