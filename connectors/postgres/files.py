"""The connection files that PostgreSQL's own programs read: services and passwords, understood as they do.

Invariant: nothing of a password is in any message.
Source: PostgreSQL documentation, sections 34.16 and 34.17; passwordFromFile and parseServiceFile in
src/interfaces/libpq/fe-connect.c.
"""

import getpass
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from engine.errors import JobError
from engine.frozen import dataclass

_PORT = "5432"


def with_service(url: str, environ: Mapping[str, str], home: Path) -> str:
    """Write what a service says into the URL, where that says nothing itself. Raises: JobError."""
    given = _given(url)
    service = given.get("service") or environ.get("PGSERVICE")
    if not service:
        return url
    own = Path(environ.get("PGSERVICEFILE") or home / ".pg_service.conf")
    files = [
        own,
        *(Path(folder) / "pg_service.conf" for folder in filter(None, [environ.get("PGSYSCONFDIR")])),
    ]
    found = next((said for file in files if (said := _section(file, service)) is not None), None)
    if found is None:
        raise JobError(
            f"source.url: there is no service {service} in {' or '.join(map(str, files))}; correct its name"
            " or the file"
        )
    head, _, query = url.partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("service=")]
    kept += [f"{name}={quote(value, safe='')}" for name, value in found.items() if name not in given]
    return f"{head}?{'&'.join(kept)}"


@dataclass(frozen=True, slots=True)
class Password:
    """What the password file has for a URL: the password, or why the file isn't used."""

    value: str | None = None
    fault: str | None = None


def password(url: str, environ: Mapping[str, str], home: Path) -> Password:
    """Look the URL's password up in the password file; nothing where it says one itself."""
    given = _given(url)
    if given.get("password") or environ.get("PGPASSWORD"):
        return Password()
    file = Path(given.get("passfile") or environ.get("PGPASSFILE") or home / ".pgpass")
    try:
        mode = file.stat().st_mode
        if not stat.S_ISREG(mode):
            return Password(fault=f"the password file {file} isn't a plain file")
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            return Password(
                fault=f"the password file {file} isn't used, since others may read it: chmod 600 it"
            )
        lines = file.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return Password()
    user = given.get("user") or environ.get("PGUSER") or getpass.getuser()
    database = given.get("dbname") or environ.get("PGDATABASE") or user
    for host, port in _places(given, environ):
        for line in lines:
            hosts = {host, "localhost"} if host.startswith("/") else {host}
            if told := _told(line.rstrip("\r"), (hosts, {port}, {database}, {user})):
                return Password(told)
    return Password()


def _places(given: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield hosts and ports as the URL or the environment gives them, which may be several."""
    hosts = (given.get("host") or environ.get("PGHOST") or "localhost").split(",")
    ports = (given.get("port") or environ.get("PGPORT") or _PORT).split(",")
    for at, host in enumerate(hosts):
        yield host, ports[at if len(ports) == len(hosts) else 0] or _PORT


def _given(url: str) -> dict[str, str]:
    """Return what a URL says, by libpq's words; a part that is empty says nothing."""
    parts = urlsplit(url)
    login, _, place = parts.netloc.rpartition("@")
    user, _, secret = login.partition(":")
    said = {"user": user, "password": secret, "dbname": parts.path.removeprefix("/")}
    if place:
        pairs = [_host_and_port(each) for each in place.split(",")]
        said["host"] = ",".join(host for host, _ in pairs)
        if any(port for _, port in pairs):
            said["port"] = ",".join(port for _, port in pairs)
    query = dict(parse_qsl(parts.query))
    if "database" in query:
        query.setdefault("dbname", query["database"])
    return {**query, **{name: unquote(value) for name, value in said.items() if value}}


def _host_and_port(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = place.partition(":")
    return host, port


def _section(file: Path, service: str) -> dict[str, str] | None:
    """Return the settings of a service, the first of each name; None where the file hasn't got it."""
    try:
        lines = file.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return None
    found: dict[str, str] | None = None
    for line in map(str.strip, lines):
        if line.startswith("["):
            if found is not None:
                return found
            if line == f"[{service}]":
                found = {}
        elif found is not None and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name.strip(), value)
    return found


def _told(line: str, wanted: tuple[set[str], ...]) -> str | None:
    """Return the password of a line that is about this connection."""
    if line.startswith("#"):
        return None
    rest = line
    for names in wanted:
        field, text, colon = "", rest, False
        for at, sign in _signs(text):
            if sign is None:
                rest, colon = text[at + 1 :], True
                break
            field += sign
        if not colon or (text[: len("*:")] != "*:" and field not in names):
            return None
    return "".join(sign for _, sign in _signs(rest, whole=True) if sign is not None)


def _signs(text: str, *, whole: bool = False) -> Iterator[tuple[int, str | None]]:
    """Yield the signs of a field with what escapes them taken off; None at the colon that ends it."""
    at = 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
        elif text[at] == ":" and not whole:
            yield at, None
            return
        yield at, text[at]
        at += 1
