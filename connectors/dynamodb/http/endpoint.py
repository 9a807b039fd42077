"""Where requests go: one address, taken apart once and checked.

Invariant: an Endpoint that exists can be connected to as it stands: no path, no credentials, and the proxy
that the environment asks for.
"""

from dataclasses import replace
from urllib.parse import urlsplit

from connectors.dynamodb.http.proxy import Proxy, proxy_for
from connectors.near import local
from engine.errors import JobError
from engine.frozen import dataclass

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a DynamoDB endpoint and the region that its requests are signed for."""

    url: str
    host: str
    port: int
    tls: bool
    region: str
    proxy: Proxy | None = None

    @property
    def authority(self) -> str:
        """The Host header: the port only where it isn't the scheme's own, IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = DEFAULT_PORTS["https" if self.tls else "http"]
        return host if self.port == default else f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether this is an emulator on this machine, never AWS."""
        return local(self.host)


def parse_endpoint(url: str, region: str, named: str = "target.endpoint_url") -> Endpoint:
    """Take apart an endpoint's URL, which the user gave in what is `named`.

    Raises: JobError when it isn't `http(s)://host[:port]`, or the environment asks for a proxy that can't be.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise JobError(f"{named} isn't a URL like http://127.0.0.1:8000: give scheme, host and port")
    if parts.username is not None or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise JobError(f"{named} for {parts.hostname} may hold only scheme, host and port: drop the rest")
    endpoint = Endpoint(
        url=f"{parts.scheme}://{parts.netloc}",
        host=parts.hostname,
        port=port or DEFAULT_PORTS[parts.scheme],
        tls=parts.scheme == "https",
        region=region,
    )
    if endpoint.loopback:
        return endpoint
    return replace(endpoint, proxy=proxy_for(parts.scheme, endpoint.host, endpoint.port))
