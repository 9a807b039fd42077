"""The way through an HTTP proxy: a tunnel that CONNECT opens, in which all else is as without one.

Invariant: what goes through is encrypted from end to end, so the proxy sees an address and nothing else; its
own password stands in no message.
"""

import asyncio
import socket
from base64 import b64encode
from dataclasses import field
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from connectors.dynamodb.errors import words
from connectors.dynamodb.http.connection import HEAD_BYTES_MAX, TransportError
from engine.errors import JobError, PermanentError
from engine.frozen import dataclass
from engine.masking import register, register_url
from engine.tasks import aside

DEFAULT_PORT = 80
REACHED_S = 5.0
"""How long one address of the proxy may take to answer; a request waits no longer than for a connection."""
NAMED = "HTTPS_PROXY"


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where CONNECT is sent, with the headers that prove who asks."""

    host: str
    port: int
    headers: str = field(default="", repr=False)


def proxy_for(scheme: str, host: str, port: int) -> Proxy | None:
    """Return the proxy that the environment asks for: HTTPS_PROXY, unless NO_PROXY names the host.

    As curl reads them: lower case goes before upper case, NO_PROXY holds names and their ends, or `*`.
    Raises: JobError where it can't be gone through, for going around it might be forbidden.
    """
    url = getproxies_environment().get(scheme)
    if not url or proxy_bypass_environment(f"{host}:{port}"):
        return None
    if scheme != "https":
        raise JobError(
            f"HTTP_PROXY is set, and requests in clear text don't go through a proxy: add {host} to NO_PROXY"
        )
    url = url if "://" in url else f"http://{url}"
    register_url(url)
    try:
        parts = urlsplit(url)
        at = parts.hostname, parts.port or DEFAULT_PORT
    except ValueError:
        parts, at = urlsplit(""), (None, DEFAULT_PORT)
    if parts.scheme != "http" or not at[0]:
        raise JobError(f"{NAMED} isn't a URL like http://proxy:3128, the only kind of proxy that is known")
    if parts.username is None:
        return Proxy(at[0], at[1])
    known = b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()
    register(known)
    return Proxy(at[0], at[1], f"Proxy-Authorization: Basic {known}\r\n")


async def tunnel(proxy: Proxy, host: str, port: int) -> socket.socket:
    """Return a socket whose other end is the host's.

    Raises: TransportError; PermanentError when the proxy refuses; OSError.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    asked = f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{proxy.headers}\r\n".encode("latin-1")
    sock = await aside(lambda: socket.create_connection((proxy.host, proxy.port), REACHED_S))
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(sock, asked)
        _judge(await _answer(sock), proxy, where)
    except BaseException:
        sock.close()
        raise
    return sock


async def _answer(sock: socket.socket) -> list[str]:
    """Return the words of an answer's first line; nothing follows its head before the tunnel is used."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES_MAX:
        piece = await asyncio.get_running_loop().sock_recv(sock, HEAD_BYTES_MAX)
        if not piece:
            break
        head += piece
    return head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)


def _judge(status: list[str], proxy: Proxy, where: str) -> None:
    """Raise what an answer to CONNECT means, unless the tunnel is open."""
    code, said = (status[1], words(" ".join(status[1:]))) if len(status) > 1 else ("5", "no answer")
    by = f"{NAMED}: the proxy {proxy.host}:{proxy.port}"
    if code.startswith("2"):
        return
    if code == "407":
        raise PermanentError(f"{by} wants another user and password ({said}): write them into its URL")
    if code.startswith("5") or code == "429":
        raise TransportError(f"the proxy {proxy.host}:{proxy.port} can't reach {where} ({said})", sent=False)
    raise PermanentError(f"{by} refuses {where} ({said}): have it allowed there, or add it to NO_PROXY")
