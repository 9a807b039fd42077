"""Templates: what is text, what is a value, and where a mistake stands."""

import pytest

from engine.errors import JobError
from engine.job.template import Placeholder, parse, placeholders, single


def column(*path: str, fmt: str | None = None) -> Placeholder:
    return Placeholder(path, fmt)


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("", ()),
        ("PROFILE", ("PROFILE",)),
        ("{id}", (column("id"),)),
        ("USER#{user_id}", ("USER#", column("user_id"))),
        (
            "ORDER#{order_date:%Y-%m-%d}#{id}",
            ("ORDER#", column("order_date", fmt="%Y-%m-%d"), "#", column("id")),
        ),
        ("{a}{b}", (column("a"), column("b"))),
        ("{profile.firstName}", (column("profile", "firstName"),)),
        ("{each}", (column("each"),)),
        ('{"each"}{"index":03d}', (Placeholder(("each",), None, True), Placeholder(("index",), "03d", True))),
        ('{"id"}', (column("id"),)),
        ("{each.type}/{index:03d}", (column("each", "type"), "/", column("index", fmt="03d"))),
        ("{t:%H:%M:%S.%f}", (column("t", fmt="%H:%M:%S.%f"),)),
        ("{t:%Y week %V 100%%}", (column("t", fmt="%Y week %V 100%%"),)),
        ("{{x}}", ("{x}",)),
        ("{{{x}}}", ("{", column("x"), "}")),
        ('{"we.ird"}', (column("we.ird"),)),
        ('{doc."a:b{c}".d:05d}', (column("doc", "a:b{c}", "d", fmt="05d"),)),
        ('{"say ""hi"""}', (column('say "hi"'),)),
        ('{" padded "}', (column(" padded "),)),
        ("{première ligne}", (column("première ligne"),)),
        ("a.b:c", ("a.b:c",)),
    ],
)
def test_text_becomes_literals_and_placeholders(text, template):
    assert parse(text) == template


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("USER#{id", 6, "never closed"),
        ("{", 1, "never closed"),
        ('{"id', 1, "never closed"),
        ("{id:%Y", 1, "never closed"),
        ("id}", 3, "closes nothing"),
        ("{a}}", 4, "closes nothing"),
        ("{}", 2, "without a name"),
        ("{:%Y}", 2, "without a name"),
        ("{a.}", 4, "without a name"),
        ("{.a}", 2, "without a name"),
        ("{a..b}", 4, "without a name"),
        ('{""}', 2, "empty name"),
        ("{a{b}}", 3, "brace inside a placeholder"),
        ("{a:{b}}", 4, "brace inside a format"),
        ("{ a }", 2, "spaces around"),
        ('{"a"b}', 5, "may follow a name"),
        ('{a"b"}', 3, "may follow a name"),
        ("{a:}", 4, "the format ''"),
        ("{a:.2f}", 4, "the format '.2f'"),
        ("{a:>10}", 4, "the format '>10'"),
        ("{a:3d}", 4, "the format '3d'"),
        ("{a:%Q}", 4, "'%Q'"),
        ("{a:%Y%}", 6, "'%'"),
    ],
)
def test_a_mistake_is_refused_with_its_place(text, place, what):
    with pytest.raises(JobError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"at character {place}: ")
    assert what in str(caught.value)


def test_only_a_lone_placeholder_keeps_the_type_of_its_value():
    assert single(parse("{total}")) == column("total")
    assert single(parse("{a}{b}")) is None
    assert single(parse("x{a}")) is None
    assert single(parse("x")) is None
    assert single(parse("")) is None


def test_placeholders_come_in_their_order():
    assert placeholders(parse("a{x}b{y.z}")) == (column("x"), column("y", "z"))
