"""Templates and conversions against a plain-Python rendering of the same rows."""

import string

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.job.template import Placeholder, parse
from engine.kinds import Scalar
from tests.support.rules import attribute

S = Scalar
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LITERAL = st.text(string.ascii_letters + "#-_/ é{}", max_size=4).map(
    lambda text: text.replace("{", "{{").replace("}", "}}")
)
MOMENTS = st.datetimes().map(lambda moment: moment.isoformat() + "Z")
VALUES = {
    "i": (S.INT, st.integers(-(2**63), 2**63 - 1).map(str)),
    "s": (S.STRING, TEXT),
    "b": (S.BOOL, st.sampled_from(["true", "false"])),
    "m": (S.TIMESTAMPTZ, MOMENTS),
}
PLACEHOLDERS = st.sampled_from(
    ["{i}", "{i:05d}", "{s}", "{b}", "{m}", "{m:%Y-%m-%d}", "{m:%d.%m.%Y %H:%M}", "{m:%S%M%H}", "{m:%Y%%%m}"]
)
TEMPLATES = st.lists(LITERAL | PLACEHOLDERS, min_size=1, max_size=6).map("".join)
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, (_, values) in VALUES.items()}), max_size=6
)


def rendered(part, row):
    if isinstance(part, str):
        return part
    value = row[part.path[0]]
    if value is None or part.format is None:
        return value
    if "%" not in part.format:
        return format(int(value), part.format)
    places = {"Y": slice(0, 4), "m": slice(5, 7), "d": slice(8, 10)}
    places |= {"H": slice(11, 13), "M": slice(14, 16), "S": slice(17, 19)}
    text = part.format.replace("%%", "\0")
    for letter, place in places.items():
        text = text.replace("%" + letter, value[place])
    return text.replace("\0", "%")


@settings(max_examples=200, deadline=None)
@given(TEMPLATES, ROWS)
def test_templates_say_what_python_would(template, rows):
    columns = {"id": (S.INT, [str(number) for number in range(len(rows))])}
    columns |= {name: (kind, [row[name] for row in rows]) for name, (kind, _) in VALUES.items()}
    expected = []
    for row in rows:
        parts = [rendered(part, row) for part in parse(template)]
        expected.append(None if None in parts else "".join(parts))
    kind, values, flaws = attribute(columns, template)
    assert values == expected
    assert flaws == [None] * len(rows)
    only = parse(template)[0] if len(parse(template)) == 1 else None
    alone = isinstance(only, Placeholder) and only.format is None
    assert kind == (VALUES[only.path[0]][0] if alone else S.STRING)
