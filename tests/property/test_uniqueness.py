"""Whenever uniqueness is proved, no rows with unique identities give one key twice."""

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kinds import ListOf, Scalar
from engine.transform import compile_rules
from engine.uniqueness import ordered_reason
from tests.support.rules import batch, flaws_of, job, schema

S = Scalar
KINDS = {"i": S.INT, "j": S.INT, "s": S.STRING, "t": S.STRING, "d": S.DATE, "l": ListOf(S.STRING)}
INTEGERS = st.integers(-12, 120).map(str)
# Few characters, so that collisions happen wherever they can.
TEXTS = st.text("#-01", max_size=3)
DATES = st.sampled_from(["2024-01-01", "2024-01-11", "infinity", "-0043-03-15"])
ROWS = st.lists(
    st.tuples(INTEGERS, INTEGERS, TEXTS, TEXTS, DATES, st.lists(TEXTS, max_size=2)), min_size=2, max_size=12
)
LITERALS = ["#", "-", "0", "A", "A#", "B"]
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
@given(rules_and_identity(), ROWS)
def test_proved_keys_never_meet(rules_and_identity, rows):
    rules, identity = rules_and_identity
    names = list(KINDS)
    the_job, the_schema = job(*rules), schema(KINDS, [frozenset(identity)])
    if ordered_reason(the_job, the_schema) is not None:
        return
    unique = {tuple(row[names.index(name)] for name in identity): row for row in rows}
    columns = {name: (KINDS[name], [row[at] for row in unique.values()]) for at, name in enumerate(names)}
    keys = []
    for items in compile_rules(the_job, the_schema, None)(batch(columns)):
        found = items.frame.select("0", "1").rows()
        keys += [key for key, flaw in zip(found, flaws_of(items), strict=True) if flaw is None]
    assert len(set(keys)) == len(keys)
