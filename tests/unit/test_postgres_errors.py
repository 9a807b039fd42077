"""Every error that PostgreSQL and its driver know becomes a sentence, by its class, and says what to do."""

import inspect
import re
import ssl

import asyncpg
import pytest

from connectors.postgres.errors import checking, refused, speaking, translated
from connectors.postgres.files import Password
from engine.errors import JobError, PermanentError, TransientError

KNOWN = {
    kind.sqlstate: kind
    for _, kind in inspect.getmembers(asyncpg.exceptions, inspect.isclass)
    if issubclass(kind, asyncpg.PostgresError) and kind.sqlstate and len(kind.sqlstate) == 5
}
"""Every SQLSTATE that the driver was built with. Source: PostgreSQL's errcodes.txt, by way of asyncpg."""
CODES = [*sorted(KNOWN), "ZZ999", "22ZZZ", "08ZZZ"]
PASSING = {"08", "40", "53", "57", "58"}
URL = "postgresql://user:hunter2@db.example:5432/shop"


def answered(code, message="something\nwith two lines.", hint=None):
    error = KNOWN.get(code, asyncpg.PostgresError)(message or "")
    error.sqlstate, error.message, error.hint = code, message, hint
    return error


@pytest.mark.parametrize("message", ["something\nwith two lines.", None, ""])
def test_every_code_becomes_a_sentence_that_says_something(message):
    for code in CODES:
        says_something(code, message)


def says_something(code, message):
    error = answered(code, message)
    told = translated(error, "source.table")
    text = str(told)
    assert re.fullmatch(r"source\.table: [^\n]*[^\s:;]", text)
    assert "None" not in text
    assert ("something with two lines" in text) == bool(message)
    if isinstance(told, PermanentError):
        assert "; " in text, "it says the next step"
    if code[:2] in PASSING and code not in ("57P04", "53400"):
        assert isinstance(told, TransientError)
    secret = refused(URL, error, Password())
    assert isinstance(secret, JobError | TransientError)
    assert "None" not in str(secret)
    assert "\n" not in str(secret)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("57P04", PermanentError),  # the database was dropped
        ("25P03", TransientError),  # a session that rested too long
        ("55P03", PermanentError),  # a lock that was waited for: who holds it is told
        ("42P01", PermanentError),
        ("XX001", PermanentError),
        ("22012", PermanentError),
    ],
)
def test_what_passes_is_told_from_what_lasts(code, kind):
    assert type(translated(answered(code), "source")) is kind


async def test_a_connection_lost_outside_a_copy_is_called_that():
    with pytest.raises(TransientError, match=r"source\.table: connection was closed"):
        async with checking("source.table"):
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        ConnectionResetError(104, "Connection reset by peer"),
        EOFError(),
        TimeoutError(),
        ssl.SSLError(1, "[SSL] record layer failure"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_the_driver_raises_is_a_lost_connection(error):
    with pytest.raises(TransientError, match=r"source: the connection was lost \(.+\)$"):
        async with speaking("source"):
            raise error


@pytest.mark.parametrize(
    ("code", "words", "kind", "said"),
    [
        ("55P02", 'parameter "ssl" cannot be changed now', JobError, "take it out or correct it"),
        ("22023", 'invalid value for parameter "TimeZone": "x"', JobError, "take it out or correct it"),
        ("08P01", "unsupported startup parameter: geqo", JobError, "take it out or correct it"),
        ("08P01", "server login has been failing", TransientError, "server login"),
        ("28P01", "password authentication failed", JobError, "correct the user"),
        ("53300", "too many clients", TransientError, "source.max_connections"),
        ("57P03", "the database system is starting up", TransientError, "starting up"),
    ],
)
def test_a_refused_connection_says_whose_fault_it_is(code, words, kind, said):
    told = refused(URL, answered(code, words), Password())
    assert isinstance(told, kind)
    assert said in str(told)


def test_a_mode_of_tls_that_there_is_not_is_named_so():
    told = refused(f"{URL}?sslmode=no-verify", asyncpg.ClientConfigurationError("…"), Password())
    assert "there is no such sslmode; it is one of disable, allow, prefer" in str(told)
    assert "hunter2" not in str(told)


def test_a_missing_right_names_what_to_grant():
    told = translated(answered("42501", "permission denied for table t"), "source.table")
    assert str(told) == "source.table: permission denied for table t; GRANT SELECT on it to this role"
