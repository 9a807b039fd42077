"""A place in the server's log as text for a checkpoint: a time, and behind it the server's own resume token.

Invariant: all that was committed up to a place's time, or up to its token where it has one, lies before it.
"""

import base64
import re
from datetime import UTC, datetime

from bson import Timestamp
from bson.raw_bson import RawBSONDocument

from engine.errors import JobError, PermanentError
from engine.frozen import dataclass

_TOKEN = re.compile(r"82([0-9A-Fa-f]{16})")
"""How a token's text begins: the mark of a time, and the time.

Source: mongodb/mongo, src/mongo/db/pipeline/resume_token.h and src/mongo/db/storage/key_string.
"""
_TEXT = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)/(\d+)/((?:\d+(?:\+\d+)*)?)(?:/([A-Za-z0-9_=-]+))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class PlaceInLog:
    """A place in the log.

    Shape: `types` the BSON types that all `_id`s of the run have that came here, empty where that isn't
    proved; `token` as BSON. Without it all changes of `time` lie before the place.
    """

    time: Timestamp
    types: frozenset[int]
    token: bytes | None = None

    @classmethod
    def read(cls, text: str) -> "PlaceInLog":
        """Return the place that a text names. Raises: JobError when it names none."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise JobError(
                f"source.catch_up: the checkpoint's place in the log, {text!r}, is none; run with --fresh"
            )
        moment, increment, types, token = found.groups()
        return cls(
            Timestamp(int(datetime.fromisoformat(moment).timestamp()), int(increment)),
            frozenset(int(kind) for kind in types.split("+") if kind),
            None if token is None else base64.urlsafe_b64decode(token),
        )

    @property
    def text(self) -> str:
        """The place as text."""
        types = "+".join(map(str, sorted(self.types)))
        token = "" if self.token is None else "/" + base64.urlsafe_b64encode(self.token).decode()
        return f"{moment_text(self.time)}/{self.time.inc}/{types}{token}"

    def behind(self, token: RawBSONDocument) -> "PlaceInLog":
        """Return the place behind the change, or the stretch without any, that a token stands for."""
        return PlaceInLog(time_of(token), self.types, bytes(token.raw))


def moment_text(time: Timestamp) -> str:
    """Return the second of a time as people read it."""
    return datetime.fromtimestamp(time.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_of(token: RawBSONDocument) -> Timestamp:
    """Return the time that a resume token begins with. Raises: PermanentError where it has another form."""
    data = token.get("_data")
    found = _TOKEN.match(data) if isinstance(data, str) else None
    if found is None:
        raise PermanentError(
            "source.catch_up: the server's resume tokens have a form that isn't known, so it can't be told"
            " how far its log was read; go by source.watermark"
        )
    number = int(found[1], 16)
    return Timestamp(number >> 32, number & 0xFFFFFFFF)
