"""Reads HTTP/1.1 answers off a connection, one at a time, as httptools finds them.

Invariant: an answer is complete only when its frame says so; what comes behind it is never part of it.
"""

import zlib

import httptools

LENGTHS = frozenset(map(len, (b"x-amz-crc32", b"x-amzn-requestid", b"content-encoding")))
"""Of the names of headers that matter: most others are told apart by that alone."""


class AnswerReader:
    """The answer that is being read. `last`: the connection is of no use behind it."""

    status: int
    body: bytes
    """The whole body, once the answer is complete."""
    request_id: str | None
    """The server's name for the request."""
    complete: bool

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.feed = self._parser.feed_data
        self.last = False
        self.reset()

    def reset(self) -> None:
        """Forget the last answer."""
        self.status = 0
        self.body = b""
        self._chunks: list[bytes] | None = None
        self._crc: bytes | None = None
        self.request_id = None
        self._encoded = False
        self.complete = False

    @property
    def in_head(self) -> bool:
        """Whether nothing of the body has come yet."""
        return not self.body

    def flaw(self, name: str) -> str | None:
        """Return what is wrong with a server's answer that is complete."""
        if self._encoded:
            return f"{name} sent a compressed answer that wasn't asked for"
        if self._crc is not None and self._crc != b"%d" % zlib.crc32(self.body):
            return f"an answer of {name} doesn't match its checksum"
        return None

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Notice an answer that nobody asked for."""
        if self.complete:
            self.last = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the three headers that matter; the parser frames the body by itself."""
        if self.complete or len(name) not in LENGTHS:
            return
        name = name.lower()
        if name == b"x-amz-crc32":
            self._crc = value
        elif name == b"x-amzn-requestid":
            self.request_id = value.decode("latin-1")
        elif name == b"content-encoding":
            self._encoded = value.lower() != b"identity"

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        if self.complete:
            return
        if not self.body:
            self.body = body
        elif self._chunks is None:
            self._chunks = [self.body, body]
        else:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        """Take the answer as whole, unless it was only an interim one."""
        if self.complete:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.reset()
            return
        self.complete = True
        if self._chunks is not None:
            self.body = b"".join(self._chunks)
        if not self._parser.should_keep_alive():
            self.last = True
