"""The bytes of an answer, right or wrong, for each kind of fault. Pure.

Invariant: what is wrong with an answer is wrong in its bytes or in how the stub sends them, not by accident.
"""

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import orjson

Ending: TypeAlias = Literal["keep", "close", "reset", "silent"]
V = "com.amazonaws.dynamodb.v20120810#"
HTML = b"<html><head><title>Gateway</title></head><body><h1>Sorry</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Sent:
    """What goes out: pieces, each behind a pause, then the connection's fate. Units: seconds."""

    pieces: Sequence[bytes]
    pause_s: float = 0.0
    ending: Ending = "keep"
    status: int = 200


def framed(
    status: int,
    body: bytes,
    *headers: str,
    version: str = "1.1",
    length: int | None = None,
    crc: int | None = None,
    kind: str = "application/x-amz-json-1.0",
) -> bytes:
    lines = [
        f"HTTP/{version} {status} Whatever",
        "Server: Server",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body) if length is None else length}",
        "x-amzn-RequestId: 5S0QJ0TV4KQNSO5AEMVJF66Q9ASUAAJG",
        f"x-amz-crc32: {zlib.crc32(body) if crc is None else crc}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def html(status: int) -> bytes:
    lines = [
        f"HTTP/1.1 {status} Whatever",
        "Content-Type: text/html",
        f"Content-Length: {len(HTML)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + HTML


def error(status: int, code: str, message: str, *headers: str, **more: Any) -> bytes:
    return framed(status, orjson.dumps({"__type": code, "message": message, **more}), *headers)


def reasons(reason: str) -> list[dict[str, str]]:
    return [{"reason": reason, "resource": "arn:aws:dynamodb:us-east-1:1:table/t"}]


PROVISIONED = V + "ProvisionedThroughputExceededException"
LEVEL = (
    "The level of configured provisioned throughput for the table was exceeded. "
    "Consider increasing your provisioning level with the UpdateTable API."
)
REFUSED: Mapping[str, tuple[int, bytes]] = {
    "throughput_exceeded": (400, error(400, PROVISIONED, LEVEL)),
    "throttling": (400, error(400, V + "ThrottlingException", "Rate exceeded")),
    "request_limit": (400, error(400, V + "RequestLimitExceeded", "Throughput exceeds the account limit")),
    "throttling_reasons_table": (
        400,
        error(400, PROVISIONED, LEVEL, ThrottlingReasons=reasons("TableWriteProvisionedThroughputExceeded")),
    ),
    "throttling_reasons_partition": (
        400,
        error(
            400,
            V + "ThrottlingException",
            "Throughput exceeds the current capacity",
            ThrottlingReasons=reasons("TableWriteKeyRangeThroughputExceeded"),
        ),
    ),
    "throttling_reasons_account": (
        400,
        error(
            400,
            V + "ThrottlingException",
            "Throughput exceeds the account",
            ThrottlingReasons=reasons("TableWriteAccountLimitExceeded"),
        ),
    ),
    "http_429_html": (429, html(429)),
    "internal_500": (500, error(500, V + "InternalServerError", "Internal server error")),
    "internal_500_empty": (500, framed(500, b"")),
    "unavailable_503": (503, error(503, "com.amazon.coral.availability#ServiceUnavailable", "Unavailable")),
    "gateway_502_html": (502, html(502)),
    "gateway_504_html": (504, html(504)),
    "write_conflict": (400, error(400, V + "ReplicatedWriteConflictException", "An item is being changed")),
    "expired_token": (
        400,
        error(400, "com.amazon.coral.service#ExpiredTokenException", "The security token is expired"),
    ),
    "signature_expired": (
        400,
        error(
            400,
            "com.amazon.coral.service#InvalidSignatureException",
            "Signature expired: 20240115T100000Z is now earlier than 20240115T101500Z",
            "Date: Mon, 15 Jan 2024 10:20:00 GMT",
        ),
    ),
    "html_200": (200, html(200)),
    "empty_200": (200, framed(200, b"")),
    "http_413": (413, html(413)),
    "access_denied": (
        400,
        error(400, "com.amazon.coral.service#AccessDeniedException", "User: x is not authorized"),
    ),
    "unknown_operation": (400, error(400, "com.amazon.coral.service#UnknownOperationException", "Unknown")),
    "html_403": (403, html(403)),
    "internal_500_applied": (500, error(500, V + "InternalServerError", "Internal server error")),
    "internal_500_applied_late": (500, error(500, V + "InternalServerError", "Internal server error")),
    "unavailable_503_applied": (503, framed(503, b"")),
    "html_200_applied": (200, html(200)),
    "empty_200_applied": (200, framed(200, b"")),
}


def sent(fault: str | None, status: int, body: bytes, late_s: float) -> Sent:
    """Return what goes out, given what the right answer would be."""
    if fault in REFUSED:
        refused, told = REFUSED[fault]
        return Sent([told], status=refused)
    right = framed(status, body)
    head, end = right[: len(right) - len(body)], b"\r\n"
    match fault:
        case "reset_before" | "reset_after" | "reset_applied_late":
            return Sent([], ending="reset", status=0)
        case "close_before" | "close_after":
            return Sent([], ending="close", status=0)
        case "silent_before" | "silent_after":
            return Sent([], ending="silent", status=0)
        case "answered_too_late":
            return Sent([right], late_s)
        case "not_http":
            return Sent([b"220 mail.example.com ESMTP\r\n"], ending="close", status=0)
        case "truncated":
            return Sent([head + body[: len(body) // 2]], ending="close", status=0)
        case "reset_mid_body":
            return Sent([head + body[: len(body) // 2], b""], 0.005, ending="reset", status=0)
        case "length_too_short":
            return Sent([framed(status, body, length=len(body) - 3)], ending="close", status=0)
        case "wrong_checksum":
            return Sent([framed(status, body, crc=zlib.crc32(body) ^ 1)], status=0)
        case "gzip_unasked":
            packed = gzip.compress(body)
            return Sent([framed(status, packed, "Content-Encoding: gzip")], status=0)
        case "chunked" | "broken_chunks":
            lines = [line for line in head.split(end) if not line.startswith(b"Content-Length")]
            lines.insert(1, b"Transfer-Encoding: chunked")
            half = len(body) // 2
            chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part]
            whole = [end.join(lines), *chunks, b"0\r\n\r\n"]
            if fault == "chunked":
                return Sent(whole, 0.002, status=status)
            return Sent(whole[:2], 0.002, ending="close", status=0)
        case "trickle":
            size = max(1, len(right) // 12)
            return Sent([right[at : at + size] for at in range(0, len(right), size)], 0.02, status=status)
        case "http_1_0":
            return Sent([framed(status, body, version="1.0")], ending="close", status=status)
        case "close_announced":
            return Sent([framed(status, body, "Connection: close")], ending="close", status=status)
        case "closed_when_idle":
            return Sent([right, b""], 0.004, ending="close", status=status)
        case "interim_100":
            return Sent([b"HTTP/1.1 100 Continue\r\n\r\n", right], 0.002, status=status)
        case "slow":
            return Sent([right], 0.7, status=status)
    return Sent([right], status=status)
