"""What a source's URL says: as the driver takes it, as messages may show it, and what its faults mean.

Invariant: nothing that is returned to be shown holds a password. Pure but for a look for certificates.
"""

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

_LIBPQ_ONLY: Mapping[str, frozenset[str] | None] = {
    **dict.fromkeys(
        ("client_encoding", "connect_timeout", "fallback_application_name", "keepalives", "keepalives_count",
         "keepalives_idle", "keepalives_interval", "sslcompression", "tcp_user_timeout")
    ),
    **dict.fromkeys(("channel_binding", "gssencmode"), frozenset({"disable", "prefer"})),
}  # fmt: skip
"""Parameters that asyncpg would hand to the server, which knows none of them; None: whatever their value.

Or to itself: an encoding that Python doesn't know; settings.py says which one is read by.

Source: PostgreSQL documentation, section 34.1.2, "Parameter Key Words".
"""
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""Values of sslmode. Source: PostgreSQL documentation, section 34.1.2."""
_NO_ROOT_CERTIFICATE = "root certificate file"
"""How asyncpg's sentence begins when there is none. Source: asyncpg/connect_utils.py."""


def for_driver(url: str) -> str:
    """Leave out what only libpq knows and what changes nothing that is read."""
    head, _, query = url.partition("?")
    kept = [part for part in query.split("&") if part and not _is_libpqs(*part.partition("=")[::2])]
    return f"{head}?{'&'.join(kept)}" if kept else head


def _is_libpqs(name: str, value: str) -> bool:
    values = _LIBPQ_ONLY.get(name, frozenset[str]())
    return values is None or value in values


def tls_mode(url: str) -> str | None:
    """Return the sslmode that a URL names."""
    try:
        return dict(parse_qsl(urlsplit(url).query)).get("sslmode")
    except ValueError:  # it is no URL
        return None


def where(url: str) -> str:
    """Return host and port of a URL, and nothing else of it."""
    authority = urlsplit(url).netloc
    if "@" in url and "@" not in authority:
        return "the given host"  # a bare / ? or # in a password has cut it in two
    place = authority.rpartition("@")[2]
    if place and re.fullmatch(r"[\w.,:\[\]-]+", place):
        return place
    return "the given host" if place else "the local socket"


def place(url: str) -> str:
    """Return a URL without its user and password: what names a server and its database."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url  # it is no URL, and like no other
    return parts._replace(scheme="postgresql", netloc=parts.netloc.rpartition("@")[2]).geturl()


def certificate_fault(url: str, error: Exception) -> str | None:
    """Say what is wrong with the certificates that a URL asks for; None where that isn't the fault."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of the server at {where(url)} can't be trusted ({error.verify_message}); name"
            " the file of its authority with sslrootcert=FILE, or the host as the certificate has it"
        )
    if str(error).startswith(_NO_ROOT_CERTIFICATE):
        return (
            "sslmode has the server's certificate checked, but there is no file of authorities to check it"
            " by; name one with sslrootcert=FILE"
        )
    if isinstance(error, FileNotFoundError):
        for name, value in parse_qsl(urlsplit(url).query):
            if name in _FILES and not Path(value).exists():
                return f"there is no file {value}, which {name} names; correct it"
    return None
