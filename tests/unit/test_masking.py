"""No secret leaves the process, whatever a library puts into its message."""

import logging

import pytest

from engine.masking import mask, printable, register, register_url, visible
from engine.show.logs import MaskingFormatter

SECRET = "wJalrXUtnFEMI/K7MDENG+bPx"


@pytest.mark.parametrize(
    "text",
    [
        f"can't reach postgres://app:{SECRET}@db:5432/shop",
        f"can't reach postgresql+asyncpg://app:p@{SECRET}@db/shop",
        f"redis://:{SECRET}@cache",
        f"password={SECRET} host=db",
        f"PGPASSWORD='{SECRET}'",
        f'{{"aws_secret_access_key": "{SECRET}"}}',
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        f"X-Amz-Security-Token: {SECRET}",
        f"Signature={SECRET}",
    ],
)
def test_secrets_are_blanked(text: str) -> None:
    assert SECRET not in mask(text)
    assert "***" in mask(text)


@pytest.mark.parametrize("key", ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"])
def test_access_keys_are_blanked(key: str) -> None:
    assert mask(f"credentials {key} are refused") == "credentials *** are refused"


def test_the_environments_secrets_are_blanked_anywhere() -> None:
    assert mask(f"odd: {SECRET}!", {"AWS_SESSION_TOKEN": SECRET}) == "odd: ***!"


@pytest.mark.parametrize(
    "text",
    [
        "can't reach postgres://db:5432/shop",
        "items[0].key.SK: column password is null",
        "http://127.0.0.1:8000 doesn't answer",
        "the local table",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert mask(text, {"AWS_SECRET_ACCESS_KEY": "local"}) == text


def test_credentials_in_use_are_blanked_wherever_they_came_from() -> None:
    register(SECRET, None, "", "local", "postgres")
    register_url("postgresql://postgres:postgres@db/x?sslpassword=of-the-key-1")
    register_url("mongodb://app:p%40ss%2Fword1@db/")
    register_url("http://[")
    text = f"odd: {SECRET}! local postgres"
    assert mask(text) == "odd: ***! local postgres"
    assert mask("of-the-key-1 p%40ss%2Fword1 p@ss/word1") == "*** *** ***"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("\x9b31m\x85\x7f\x00\r", "\\x9b31m\\x85\\x7f\\x00\\x0d"),
        ("a\u202eb\u2066c\u200f\u061c\ufeff", "a\\u202eb\\u2066c\\u200f\\u061c\\ufeff"),
        ("\u2028\u2029\ud83d\U000e0041", "\\u2028\\u2029\\ud83d\\U000e0041"),
        ("two\n\tlines, é 漢 👩\u200d💻", "two\n\tlines, é 漢 👩\u200d💻"),
    ],
)
def test_what_a_terminal_obeys_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == printable(text) == shown


def test_a_log_line_is_obeyed_by_no_terminal() -> None:
    record = logging.LogRecord("engine", logging.ERROR, "f", 1, "lost \x1b[2J%s", ("\u202e",), None)
    assert "lost \\x1b[2J\\u202e" in MaskingFormatter("%(message)s").format(record)


def test_logged_tracebacks_hold_no_secret() -> None:
    def connect() -> None:
        raise ConnectionError(f"postgres://app:{SECRET}@db/shop refused")

    try:
        connect()
    except ConnectionError as error:
        record = logging.LogRecord(
            "engine", logging.ERROR, "f", 1, "lost %s", ("it",), (type(error), error, None)
        )
    text = MaskingFormatter().format(record)
    assert "lost it" in text
    assert "refused" in text
    assert SECRET not in text
