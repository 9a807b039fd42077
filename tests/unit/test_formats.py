"""Formats: what dates, times and integers look like inside a text."""

import datetime

import pytest

from engine.errors import JobError
from engine.kinds import Decimal, Document, Scalar
from tests.support.rules import attribute

S = Scalar
TEXTS = {
    S.DATE: ["2024-01-05", "0044-12-31"],
    S.TIMESTAMP: ["2024-01-05T03:04:05", "1999-12-31T23:59:59.123456"],
    S.TIMESTAMPTZ: ["2024-01-05T03:04:05Z", "1969-12-31T23:59:59.5Z"],
    S.TIME: ["03:04:05", "23:59:59.000001"],
}
PARSERS = {
    S.DATE: datetime.date.fromisoformat,
    S.TIMESTAMP: datetime.datetime.fromisoformat,
    S.TIMESTAMPTZ: datetime.datetime.fromisoformat,
    S.TIME: datetime.time.fromisoformat,
}
DATED = [
    "%Y-%m-%d",
    "%Y%m%d",
    "%Y",
    "%d.%m.%Y",
    "%F",
    "%m-%Y",
    "%Y-%d-%m",
    "%Y_%%_%m",
    "%j",
    "%B %d",
    "%y/%a",
    "%G-W%V",
]
TIMED = ["%H:%M:%S", "%H%M", "%S", "%T", "%R", "%M-%H", "%I %p", "%H:%M:%S.%f", "%f"]


def one(kind, texts, template):
    columns = {"id": (S.INT, [str(n) for n in range(len(texts))]), "v": (kind, texts)}
    return attribute(columns, template)


@pytest.mark.parametrize(
    ("kind", "value_format"),
    [
        *[(kind, f) for kind in (S.DATE, S.TIMESTAMP, S.TIMESTAMPTZ) for f in DATED],
        *[(kind, f) for kind in (S.TIME, S.TIMESTAMP, S.TIMESTAMPTZ) for f in TIMED],
        *[(kind, "%Y-%m-%dT%H:%M:%S") for kind in (S.TIMESTAMP, S.TIMESTAMPTZ)],
    ],
)
def test_strftime_means_what_it_means_in_python(kind, value_format):
    # C libraries leave out the zeros of years before 1000.
    expected = [
        PARSERS[kind](text).strftime(
            value_format.replace("%Y", "%4Y").replace("%F", "%4Y-%m-%d").replace("%G", "%4G")
        )
        for text in TEXTS[kind]
    ]
    assert one(kind, TEXTS[kind], f"{{v:{value_format}}}") == (S.STRING, expected, [None, None])


@pytest.mark.parametrize("value_format", ["%Y-%m-%d", "%d %B"])
@pytest.mark.parametrize(
    ("kind", "text"),
    [(S.TIMESTAMP, "infinity"), (S.TIMESTAMPTZ, "-infinity"), (S.DATE, "12024-01-01"), (S.DATE, "infinity")],
)
def test_what_cant_be_written_is_a_flaw(value_format, kind, text):
    _, values, flaws = one(kind, [text, None], f"x{{v:{value_format}}}")
    assert values == [None, None]
    assert flaws == [f"value_unsupported: v has a value that the format {value_format} can't write", None]


def test_years_before_christ_are_no_four_digits():
    assert one(S.DATE, ["-0043-03-15"], "{v:%Y}")[1] == [None]


def test_integers_are_padded_as_in_python():
    assert one(S.INT, ["7", "-5", "1234", None], "{v:03d}") == (
        S.STRING,
        ["007", "-05", "1234", None],
        [None] * 4,
    )


def test_formats_inside_documents_go_by_value():
    texts = ['{"t":"2024-01-05T03:04:05Z","n":7}', '{"t":"2024-01-05","n":7.5}', '{"t":5,"n":null}', "{}"]
    _, values, flaws = one(Document(), texts, "{v.t:%Y/%m}")
    assert values == ["2024/01", "2024/01", None, None]
    assert [flaw is None for flaw in flaws] == [True, True, False, True]
    _, values, flaws = one(Document(), texts, "{v.t:%H}")
    assert values == ["03", None, None, None]
    _, values, flaws = one(Document(), texts, "{v.n:03d}")
    assert values == ["007", None, None, None]
    assert flaws == [
        None,
        "value_unsupported: v.n is no integer, so the format 03d can't be applied",
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("kind", "value_format", "sentence"),
    [
        (S.DATE, "%H:00", "v is of type date, which has no %H"),
        (S.TIME, "%Y", "v is of type time, which has no %Y"),
        (S.STRING, "%Y", "the format %Y is for dates and times, and v is of type string"),
        (S.TIMESTAMP, "%Y%Z", "the format %Y%Z can't be applied to v, of type timestamp"),
        (Document(), "%B", "the format %B can't be applied to v, which is a document"),
        (S.STRING, "03d", "the format 03d is for integers, and v is of type string"),
        (Decimal(5, 0), "03d", r"the format 03d is for integers, and v is of type numeric\(5,0\)"),
    ],
)
def test_formats_that_mean_nothing_are_refused(kind, value_format, sentence):
    with pytest.raises(JobError, match=sentence):
        one(kind, [], f"{{v:{value_format}}}")
