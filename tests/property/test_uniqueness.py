"""Whenever uniqueness is proved, no rows with unique identities give one key twice."""

from itertools import product

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.dynamodb.documents.codec import DOCUMENTS
from engine.contracts.transform import FLAW, ROW
from engine.kinds import ListOf, Scalar
from engine.rules.transform import compile_rules
from engine.rules.uniqueness import key_proof
from tests.support.rules import batch, job, schema

S = Scalar
KINDS = {"i": S.INT, "j": S.INT, "s": S.STRING, "t": S.STRING, "d": S.DATE, "l": ListOf(S.STRING)}
INTEGERS = ["0", "1", "-1", "10"]
TEXTS = ["", *"#01-", *map("".join, product("#01-", repeat=2))]
DATES = ["2024-01-01", "infinity"]
# Every combination of values that are likely to run into each other. Any two rows whose identities differ
# could stand in one table, so no two such rows may share a key.
ROWS = [
    (*row, [["#", "0"], [], ["1", "1"]][number % 3])
    for number, row in enumerate(product(INTEGERS, INTEGERS[1:], TEXTS, TEXTS[::2], DATES))
]
BATCH = batch({name: (kind, [row[at] for row in ROWS]) for at, (name, kind) in enumerate(KINDS.items())})
LITERALS = ["#", "-", "0", "A#"]
PLACEHOLDERS = ["{i}", "{j}", "{s}", "{t}", "{d}", "{i:03d}", "{d:%Y-%m}", "{index}"]
IDENTITIES = st.sampled_from(
    [("i",), ("s",), ("d",), ("i", "j"), ("s", "t"), ("i", "s"), ("s", "d"), ("i", "j", "s")]
)


@st.composite
def rules_and_identity(draw):
    """Rules whose keys often hold an identity, so that many of them are proved."""
    identity = draw(IDENTITIES)
    wanted = ["{index}", *(f"{{{name}}}" for name in identity)]
    part = st.one_of(st.sampled_from(LITERALS), st.sampled_from(wanted), st.sampled_from(PLACEHOLDERS))
    rules = []
    for each in draw(st.lists(st.booleans(), min_size=1, max_size=2)):
        parts = part if each else part.filter(lambda text: text != "{index}")
        texts = st.lists(parts, min_size=1, max_size=5).map("".join)
        rule = {"key": {"PK": draw(texts), "SK": draw(texts)}}
        rules.append(rule | {"for_each": "l"} if each else rule)
    return rules, identity


@settings(max_examples=150, deadline=None)
@given(rules_and_identity())
def test_proved_keys_never_meet(rules_and_identity):
    rules, identity = rules_and_identity
    the_job, the_schema = job(*rules), schema(KINDS, [frozenset(identity)])
    if key_proof(the_job, the_schema).reason is not None:
        return
    items = [
        found.frame.select("0", "1", ROW, FLAW)
        for found in compile_rules(the_job, the_schema, None, DOCUMENTS)(BATCH)
    ]
    sound = pl.concat(items).filter(pl.col(FLAW).is_null())
    names = list(KINDS)
    identities = pl.DataFrame({ROW: range(len(ROWS))}, schema={ROW: pl.UInt32}).with_columns(
        pl.Series("identity", ["\0".join(row[names.index(name)] for name in identity) for row in ROWS])
    )
    keys = sound.join(identities, on=ROW).group_by("0", "1")
    shared = keys.agg(rows=pl.col("identity").n_unique(), twice=pl.col(ROW).is_duplicated().any())
    assert shared.filter((pl.col("rows") > 1) | pl.col("twice")).is_empty()
