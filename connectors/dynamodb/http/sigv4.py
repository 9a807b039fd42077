"""Signature Version 4 for DynamoDB's requests, with everything prebuilt that doesn't change by request.

Invariant: the signature is the one that botocore makes for the same headers, body and time. What is computed
per request: the body's hash, and what it changes at the ends of the canonical request's hash and of the HMAC;
how these begin is hashed once per second and operation, the key once per day.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
import time
from collections.abc import Iterable
from dataclasses import field
from hashlib import sha256
from typing import TYPE_CHECKING

from engine.frozen import dataclass

if TYPE_CHECKING:
    from hashlib import _Hash

SERVICE = "dynamodb"
CONTENT_TYPE = "application/x-amz-json-1.0"
TARGET_PREFIX = "DynamoDB_20120810."
"""Source: the service model's targetPrefix and jsonVersion."""

USER_AGENT = "backfill"

BLOCK_BYTES, PADS = 64, (0x36, 0x5C)
"""How HMAC mixes a key that is no longer than a block of SHA-256. Source: RFC 2104, section 2."""


@dataclass(frozen=True, slots=True)
class Keys:
    """AWS credentials as they are at one moment; never printed."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False, default=None)


class Signer:
    """Makes the heads of signed requests for one set of credentials, one region, one host."""

    __slots__ = (
        "_authority",
        "_begun",
        "_day",
        "_inner",
        "_keys",
        "_outer",
        "_prebuilt",
        "_region",
        "_second",
        "_signed",
    )

    def __init__(self, keys: Keys, region: str, authority: str) -> None:
        self._keys = keys
        self._region = region
        self._authority = authority
        self._day = ""
        self._second = -1
        self._inner = self._outer = self._begun = sha256()
        """HMAC's two hashes behind the key of the day; the inner one up to the canonical request's hash."""
        self._prebuilt: dict[str, tuple[_Hash, bytes]] = {}
        """By operation: the canonical request, hashed up to the body's hash; the head up to the signature."""
        token = ";x-amz-security-token" if keys.token else ""
        self._signed = f"content-type;host;x-amz-date{token};x-amz-target"

    @property
    def keys(self) -> Keys:
        """The credentials that this signer signs with."""
        return self._keys

    def head(self, operation: str, parts: Iterable[bytes | memoryview], length: int, now: float) -> bytes:
        """Return the whole request head for a body given in parts.

        Units: `length` bytes of all parts together; `now` seconds since the epoch.
        """
        second = int(now)
        if second != self._second:
            self._turn(second)
        prebuilt = self._prebuilt.get(operation)
        if prebuilt is None:
            prebuilt = self._prebuilt[operation] = self._prebuild(operation)
        canonical, head = prebuilt
        body = sha256()
        for part in parts:
            body.update(part)
        request = canonical.copy()
        request.update(body.hexdigest().encode())
        inner = self._begun.copy()
        inner.update(request.hexdigest().encode())
        signature = self._outer.copy()
        signature.update(inner.digest())
        return b"%b%b\r\ncontent-length: %d\r\n\r\n" % (head, signature.hexdigest().encode(), length)

    def _turn(self, second: int) -> None:
        """Prepare for another second, and another day where it is one."""
        self._second = second
        self._prebuilt.clear()
        stamp = self._stamp()
        scope = self._scope()
        if stamp[:8] != self._day:
            self._day = stamp[:8]
            key = b"AWS4" + self._keys.secret_key.encode()
            for step in (self._day, self._region, SERVICE, "aws4_request"):
                key = hmac.digest(key, step.encode(), "sha256")
            block = key.ljust(BLOCK_BYTES, b"\0")
            self._inner, self._outer = (sha256(bytes(byte ^ pad for byte in block)) for pad in PADS)
        self._begun = self._inner.copy()
        self._begun.update(f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n".encode())

    def _stamp(self) -> str:
        return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._second))

    def _scope(self) -> str:
        return f"{self._stamp()[:8]}/{self._region}/{SERVICE}/aws4_request"

    def _prebuild(self, operation: str) -> "tuple[_Hash, bytes]":
        headers = {
            "content-type": CONTENT_TYPE,
            "host": self._authority,
            "x-amz-date": self._stamp(),
            **({"x-amz-security-token": " ".join(self._keys.token.split())} if self._keys.token else {}),
            "x-amz-target": TARGET_PREFIX + operation,
        }
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        canonical = f"POST\n/\n\n{lines}\n{self._signed}\n"
        head = (
            "POST / HTTP/1.1\r\n"
            + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            + f"accept-encoding: identity\r\nuser-agent: {USER_AGENT}\r\n"
            + f"authorization: AWS4-HMAC-SHA256 Credential={self._keys.access_key}/{self._scope()}, "
            + f"SignedHeaders={self._signed}, Signature="
        )
        return sha256(canonical.encode()), head.encode()
