"""Variables: what they become, and that their values appear in no error."""

import pytest

from engine.errors import JobError
from engine.job.interpolation import Interpolation, dotted

ENV = {"HOST": "db.internal", "EMPTY": "", "REF": "${HOST}", "MONEY": "a$b"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${HOST}", "db.internal"),
        ("postgres://${HOST}:${PORT:-5432}/shop", "postgres://db.internal:5432/shop"),
        ("${HOST:-other}", "db.internal"),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b {c}", "a:-b {c"),
        ("$${HOST}", "${HOST}"),
        ("$$${HOST}", "$${HOST}"),
        ("COST$${amount}", "COST${amount}"),
        ("${REF}", "${HOST}"),
        ("${MONEY}", "a$b"),
        ("^a$", "^a$"),
        ("$1 {b} $HOST", "$1 {b} $HOST"),
    ],
)
def test_references_become_values_once(text, result):
    assert Interpolation(ENV)({"a": [text]}) == {"a": [result]}


def test_only_text_values_change():
    data = {"${HOST}": 5, "b": None, "c": True}
    assert Interpolation(ENV)(data) == data


@pytest.mark.parametrize(
    "text", ["${", "${HOST", "${}", "${a b}", "${1A}", "${A-b}", "${A:-${HOST}}", "${A:-b"]
)
def test_what_is_no_reference_is_refused_with_its_key(text):
    with pytest.raises(JobError, match=r"^a\[0\]\.b: .*'\$\$\{'"):
        Interpolation(ENV)({"a": [{"b": text}]})


def test_a_missing_variable_is_named_with_its_key():
    with pytest.raises(JobError, match=r"^source\.url: the environment variable SOURCE_URL isn't set"):
        Interpolation(ENV)({"source": {"url": "${SOURCE_URL}"}})


def test_what_was_used_leads_back_to_the_reference():
    interpolation = Interpolation(ENV)
    interpolation(["${HOST}", "${NONE:-x}"])
    assert interpolation.used == {"db.internal": "${HOST}"}


def test_paths_are_written_as_users_write_them():
    assert dotted(("items", 0, "key", "SK")) == "items[0].key.SK"
    assert dotted(("items", 0, "attributes", "a.b")) == 'items[0].attributes."a.b"'
    assert dotted(("jobs", 1)) == "jobs[1]"
    assert dotted(("a", "")) == 'a.""'
