"""Blanks secrets in text that is about to leave the process: the second line of defence.

Invariant: pure; text without a secret comes back as it is. The first line is that no message is made from a
secret; this one catches what a library puts into its own.
"""

import re
from collections.abc import Mapping

MASK = "***"

SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD")
SECRET_LENGTH_MIN = 8
"""Shorter values are words too (`local`, `test`); blanking them would only garble the text."""

_URL_PASSWORD = re.compile(r"(?P<head>\b[a-zA-Z][\w+.-]*://[^\s:/@\"']*:)[^\s\"']+(?P<tail>@)")
_NAMED = re.compile(
    r"(?P<head>\b(?:\w*(?:password|passwd|pwd)|secret[\w-]*|\w*secret_?access_?key|[\w-]*(?:session|security)[_-]?token"
    r"|signature)[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s\"',;&)}]+)",
    re.IGNORECASE,
)
_ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")
"""Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html."""


def mask(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Blank passwords in URLs and settings, AWS keys, and the values of secret variables."""
    for name in SECRET_VARIABLES:
        value = (environment or {}).get(name, "")
        if len(value) >= SECRET_LENGTH_MIN:
            text = text.replace(value, MASK)
    text = _URL_PASSWORD.sub(rf"\g<head>{MASK}\g<tail>", text)
    text = _NAMED.sub(rf"\g<head>{MASK}", text)
    return _ACCESS_KEY.sub(MASK, text)
