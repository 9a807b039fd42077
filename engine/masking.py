"""What text goes through before it leaves the process: secrets are blanked, and no character is obeyed.

Invariant: text without a secret and without such a character comes back as it is. The first line of defence
is that no message is made from a secret; this one catches what a library puts into its own. Rows, names and
servers' messages may hold anything: a terminal that shows them must not be steered by them.
"""

import os
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

MASK = "***"

SECRET_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "PGPASSWORD",
)
SECRET_LENGTH_MIN = 8
"""Shorter values are words too (`local`, `test`); blanking them would only garble the text."""

WORD_LENGTH_MAX = 16

_URL_PASSWORD = re.compile(r"(?P<head>\b[a-zA-Z][\w+.-]*://[^\s:/@\"']*:)[^\s\"']+(?P<tail>@)")
_NAMED = re.compile(
    r"(?P<head>\b(?:\w*(?:password|passwd|pwd)|secret[\w-]*|\w*secret_?access_?key|[\w-]*(?:session|security)[_-]?token"
    r"|signature)[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s\"',;&)}]+)",
    re.IGNORECASE,
)
_ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")
"""Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html."""


_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters but tab and line feed, ends of lines that are none, what turns the direction of writing
or is invisible, and halves of characters, which no encoding takes. Not what joins letters and emoji.
Source: Unicode 16, categories Cc, Cf, Zl, Zp, Cs; ECMA-48 for what terminals make of them."""

_live: set[str] = set()


def register(*secrets: str | None) -> None:
    """Have the values of credentials that are in use blanked from now on, wherever they stand.

    Short ones and single words (`postgres`) aren't: whatever says that word would be garbled.
    """
    _live.update(secret for secret in secrets if secret and may_be_secret(secret))


def may_be_secret(value: str) -> bool:
    """Say whether a value is long enough for a secret, and no word."""
    return len(value) >= (WORD_LENGTH_MAX if value.isalpha() else SECRET_LENGTH_MIN)


def register_url(url: str) -> None:
    """Have the passwords in a URL blanked from now on, as it has them and as they are sent."""
    try:
        parts = urlsplit(url)
        given = [value for name, value in parse_qsl(parts.query) if "password" in name.lower()]
        register(parts.password, unquote(parts.password or ""), *given)
    except ValueError:
        return  # no URL: who opens it says so


def printable(text: str) -> str:
    """Return text as it may be shown: what every output to a person goes through."""
    return visible(mask(text, os.environ))


def visible(text: str) -> str:
    """Write the characters that a terminal would obey as the escapes that Python and YAML know."""
    return _OBEYED.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def mask(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Blank passwords in URLs and settings, AWS keys, secret variables' values and those in use."""
    given = ((environment or {}).get(name, "") for name in SECRET_VARIABLES)
    known = {*_live, *(value for value in given if len(value) >= SECRET_LENGTH_MIN)}
    for value in sorted(known, key=len, reverse=True):
        text = text.replace(value, MASK)
    text = _URL_PASSWORD.sub(rf"\g<head>{MASK}\g<tail>", text)
    text = _NAMED.sub(rf"\g<head>{MASK}", text)
    return _ACCESS_KEY.sub(MASK, text)
