"""From an item's key back to its row's: whatever templates and values are, the row's own key or none."""

from itertools import permutations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.commands.verify.inversion import inverted
from engine.commands.verify.key_patterns import patterns_of
from engine.job.items import ItemRule
from engine.kinds import Column, Scalar

COLUMNS = {
    column.name: column
    for column in (
        Column("id", Scalar.INT),
        Column("n", Scalar.NUMBER),
        Column("name", Scalar.STRING),
        Column("other", Scalar.STRING),
        Column("on", Scalar.DATE),
        Column("code", Scalar.STRING, width=3),
        Column("mood", Scalar.STRING, signs="ab-"),
    )
}
SIGNS = "#-1a"
"""What separates in one template stands inside the values of another."""
TEXTS = st.one_of(st.text(SIGNS, max_size=6), st.text(max_size=4))
ROWS = st.fixed_dictionaries(
    {
        "id": st.integers(-(10**40), 10**40).map(str),
        "n": st.decimals(-100, 100, places=2).map(str),
        "name": TEXTS,
        "other": TEXTS,
        "on": st.dates().map(str),
        "code": st.text(SIGNS, min_size=3, max_size=3),
        "mood": st.text("ab-", max_size=3),
    }
)
PARTS = st.one_of(
    st.text("#-1a", min_size=1, max_size=2),
    st.sampled_from(["{id}", "{n}", "{name}", "{other}", "{on}", "{code}", "{mood}", "{id:05d}"]),
)
TEMPLATES = st.lists(PARTS, min_size=1, max_size=5)
KEYS = st.lists(TEMPLATES, min_size=1, max_size=3)


def rule_of(key):
    templates = {f"K{number}": "".join(parts) for number, parts in enumerate(key)}
    return ItemRule.model_validate({"name": "Rule", "key": templates})


def made_of(key, row):
    """The key's texts that a run would make of a row."""

    def text(part):
        if not part.startswith("{"):
            return part
        name, _, number = part[1:-1].partition(":")
        return f"{int(row[name]):05d}" if number else row[name]

    return ["".join(map(text, parts)) for parts in key]


@settings(max_examples=300, deadline=None)
@given(key=KEYS, row=ROWS)
@example(
    key=[["{id}", "{name}", "#", "{id}"]],  # the second tells, the first may run on into the name
    row={"id": "12", "name": "34x", "n": "0", "other": "", "on": "2024-01-31", "code": "1#a", "mood": ""},
)
def test_a_key_tells_its_own_row_or_none(key, row):
    """Rows that share a key are among the examples: it can tell neither."""
    names = [f"K{number}" for number in range(len(key))]
    columns = sorted({part[1:-1].partition(":")[0] for parts in key for part in parts if "{" in part})
    for count in (1, 2):
        for source_key in permutations(columns, count):
            found = inverted(rule_of(key), COLUMNS, source_key, names)
            if found is not None:
                assert found.values(made_of(key, row)) == tuple(row[name] for name in source_key)


@settings(max_examples=200, deadline=None)
@given(key=KEYS, row=ROWS)
def test_what_a_rule_makes_its_patterns_hold(key, row):
    names = [f"K{number}" for number in range(len(key))]
    (patterns,) = patterns_of([rule_of(key)], COLUMNS, names)
    assert all(pattern.fullmatch(text) for pattern, text in zip(patterns, made_of(key, row), strict=True))
