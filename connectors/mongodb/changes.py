"""From a change stream's events to what is looked up: documents as they were, and `_id`s. Pure.

Invariant: what every event was about is in some part, in the order of the log; what isn't understood is an
error, never left out.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field

from bson import ObjectId, Timestamp
from bson.raw_bson import RawBSONDocument

from connectors.afresh import AFRESH
from connectors.mongodb.distinct import ALIKE, value_at
from connectors.mongodb.place_in_log import PlaceInLog
from connectors.mongodb.positions import id_element
from engine.errors import PermanentError
from engine.frozen import dataclass

IMAGE_GONE = (
    "source.catch_up: the log hasn't got a document as it was before it changed: changeStreamPreAndPostImages"
    " was off then, or the pre-image has expired (changeStreamOptions.preAndPostImages.expireAfterSeconds);"
    f" see to both, and {AFRESH}"
)
_INSERTED = "insert"
_CHANGED = frozenset({"update", "replace", "delete"})
_GONE = {"drop": "was dropped", "rename": "was renamed", "dropDatabase": "was dropped with its database"}


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes that are looked up together.

    Shape: `old` documents as BSON, as they were; `ids` each `_id` as a document of its own. `time`: nothing
    of this may be looked up as it was before. `place`: all before it is in this part or in an earlier one.
    `at_s`: so is what was committed before, by the server's clock; None: no more than the place's time says.
    """

    old: Sequence[bytes]
    ids: Sequence[bytes]
    time: Timestamp
    place: PlaceInLog
    at_s: float | None = None

    def __len__(self) -> int:
        return len(self.old) + len(self.ids)


@dataclass(slots=True)
class GatheredChanges:
    """Takes a stream's events and gives parts. What is of no later time than `since` is passed over.

    `alike`: the fields by which keys were proved to differ, each with the one type that proves it. `images`:
    whether documents as they were are given whole, or their `_id` alone.
    """

    collection: str
    place: PlaceInLog
    alike: Mapping[str, type | None]
    images: bool
    rows_max: int
    bytes_max: int
    _alike: dict[str, type | None] = field(default_factory=dict)
    _since: Timestamp | None = None
    _old: dict[bytes, None] = field(default_factory=dict)
    _ids: dict[bytes, None] = field(default_factory=dict)
    _bytes: int = 0

    def __post_init__(self) -> None:
        self._alike = dict(self.alike)
        self._since = self.place.time if self.place.token is None else None

    def __len__(self) -> int:
        return len(self._old) + len(self._ids)

    def take(self, event: RawBSONDocument) -> Changes | None:
        """Take the next event; return a part once there is enough for one. Raises: PermanentError."""
        time: Timestamp = event["clusterTime"]
        kind = event["operationType"]
        if self._since is not None and time <= self._since:
            return None
        if kind != _INSERTED and kind not in _CHANGED:
            raise PermanentError(_ended(self.collection, kind))
        element = id_element(event["documentKey"].raw, 0)
        assert element is not None, "a document's key holds its _id"
        self._see_to_type(element, self.place.types)
        self._ids[element] = None
        if kind in _CHANGED:
            was = self._image(event) if self.images else element
            if was not in self._old:
                self._old[was] = None
                self._bytes += len(was)
        self.place = self.place.behind(event["_id"])
        full = len(self) >= self.rows_max or self._bytes >= self.bytes_max
        return self.rest() if full else None

    def rest(self, place: PlaceInLog | None = None, at_s: float | None = None) -> Changes:
        """Return what is left as a part, which may be empty, up to a place behind it where one is known."""
        self.place = place or self.place
        part = Changes(tuple(self._old), tuple(self._ids), self.place.time, self.place, at_s)
        self._old, self._ids, self._bytes = {}, {}, 0
        return part

    def _image(self, event: RawBSONDocument) -> bytes:
        image = event.get("fullDocumentBeforeChange")
        if not isinstance(image, RawBSONDocument):
            raise PermanentError(IMAGE_GONE)
        for name, kind in self._alike.items():
            value = value_at(image, name.split("."))
            if value is None:
                continue
            if kind is None and type(value) in ALIKE:  # of what all of them were that are gone
                self._alike[name] = type(value)
            elif type(value) is not kind:
                raise PermanentError(
                    f"source: the log tells of documents whose {name} is of another type than"
                    f" {_named(kind)}: texts of both may be alike, so that the item of one may be the other's"
                    f" by now; {AFRESH}"
                )
        return bytes(image.raw)

    @staticmethod
    def _see_to_type(element: bytes, types: AbstractSet[int]) -> None:
        if types and element[4] not in types:
            raise PermanentError(
                "source: the log tells of an _id of another type than all have that are there now: texts of"
                f" both may be alike, so that the item of one may be the other's by now; {AFRESH}"
            )


def _ended(collection: str, kind: str) -> str:
    """Say why the log can't be followed beyond an event."""
    what = _GONE.get(kind)
    if what is None:
        return f"source: the log of {collection} tells of {kind!r}, which isn't known here; {AFRESH}"
    return (
        f"source: {collection} {what}, and the log tells nothing of its documents from there on, whatever is"
        f" called so now; {AFRESH}"
    )


def _named(kind: type | None) -> str:
    return "ObjectId" if kind is ObjectId else "text"
