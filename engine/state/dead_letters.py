"""The file of items that can't be written: one JSON line each, in the order in which they were acked.

Invariant: what the checkpoint counts is on disk, and nothing more is in the file once a run goes on: lines
are appended and fsynced before the checkpoint's transaction, which stores the file's length; what lies
behind that length is cut off before anything is added.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from engine import own_files
from engine.batch import DeadLetter
from engine.errors import JobError, PermanentError
from engine.frozen import dataclass
from engine.own_files import removed, replaced, sync_directory

FILE_NAME = "dead-letters.jsonl"

REASONS = frozenset(
    {
        "key_null",
        "key_empty",
        "key_type",
        "key_too_long",
        "item_too_large",
        "number_precision",
        "number_range",
        "number_not_finite",
        "nesting_too_deep",
        "set_invalid",
        "value_unsupported",
        "rejected_by_target",
    }
)


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """One line of the file. `item` is DynamoDB JSON, None when there is none."""

    run_id: str
    at: str
    rule: str
    reason: str
    detail: str
    source_key: Mapping[str, str | None]
    item: Mapping[str, Any] | None


def count(path: Path) -> int:
    """Return how many letters a file holds, none where there is no file. Raises: PermanentError."""
    try:
        with path.open("rb") as file:
            return count_in(file)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise PermanentError(
            f"{path} can't be read ({error.strerror}): how many dead letters are open isn't known;"
            " make it readable and try again"
        ) from error


def count_in(lines: Iterable[bytes]) -> int:
    """Return how many of these lines hold a letter."""
    return sum(1 for line in lines if line.strip())


def lines(run_id: str, at: str, letters: Sequence[DeadLetter]) -> bytes:
    """Return dead letters as lines of the file. Units: `at` ISO 8601 in UTC."""
    return b"".join(orjson.dumps(_as_json(run_id, at, letter)) + b"\n" for letter in letters)


def _as_json(run_id: str, at: str, letter: DeadLetter) -> dict[str, Any]:
    assert letter.reason in REASONS, f"no dead letter has the reason {letter.reason}"
    return {
        "run_id": run_id,
        "at": at,
        "rule": letter.rule,
        "reason": letter.reason,
        "detail": letter.detail,
        "source_key": dict(letter.source_key),
        "item": _item(letter.item_json),
    }


def _item(text: str | None) -> orjson.Fragment | Any:
    """Return the item as it was encoded; only a text that spans lines has to be printed anew."""
    if text is None or "\n" not in text:
        return None if text is None else orjson.Fragment(text)
    return orjson.loads(text)


def read(path: Path) -> Iterator[StoredLetter]:
    """Yield the dead letters of a file, none when there is no file.

    Raises: JobError when a line isn't one.
    """
    if not path.exists():
        return
    with own_files.reading(path) as file:
        for number, text in enumerate(file, start=1):
            try:
                yield StoredLetter(**orjson.loads(text))
            except (ValueError, TypeError) as error:
                raise JobError(
                    f"line {number} of {path} isn't a dead letter: restore the file or take the line out"
                ) from error


class DeadLetterFile:
    """DIR/NAME/dead-letters.jsonl, written by the holder of the lease only."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        """Where the file is, or will be once there is a dead letter."""
        return self._path

    def size(self) -> int:
        """Return the file's length in bytes, 0 when there is none."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def check(self, recorded: int) -> None:
        """Raise JobError when the file holds less than the checkpoint counts."""
        if (size := self.size()) < recorded:
            what = "is missing" if size == 0 else f"was cut to {size} of {recorded} bytes"
            raise JobError(
                f"{self._path} {what}, and the checkpoint counts what it held:"
                " restore the file, or start over with --fresh"
            )

    def append(self, text: bytes, at: int) -> int:
        """Write lines at `at`, over whatever an interrupted append has left there, and fsync.

        Returns the file's new length.
        """
        if not text:
            return at
        created = not self._path.exists()
        fd = own_files.opened(self._path, os.O_WRONLY | os.O_CREAT)
        try:
            os.ftruncate(fd, at)
            os.lseek(fd, at, os.SEEK_SET)
            rest = memoryview(text)
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        if created:
            sync_directory(self._path.parent)
        return at + len(text)

    def cut(self, length: int) -> None:
        """Cut off what lies behind `length`: the next run writes it again."""
        if self.size() <= length:
            return
        if length == 0:
            removed(self._path)
            return
        fd = own_files.opened(self._path, os.O_WRONLY)
        try:
            os.ftruncate(fd, length)
            os.fsync(fd)
        finally:
            os.close(fd)

    def settle_end(self) -> int:
        """Return the file's length with its last line ended: a user may have edited it."""
        size = self.size()
        if size == 0:
            return 0
        with own_files.reading(self._path) as file:
            file.seek(-1, os.SEEK_END)
            ended = file.read(1) == b"\n"
        return size if ended else self.append(b"\n", size)

    @contextmanager
    def replacing(self) -> Iterator[Callable[[bytes], object]]:
        """Hand out what writes a new file, which takes the old one's place at the end, or not at all."""
        with replaced(self._path) as file:
            yield file.write
        if not self.size():
            removed(self._path)

    def copy_aside(self, run_id: str) -> None:
        """Keep a copy as dead-letters.RUN.jsonl before a full run starts with an empty file.

        A copy, not a rename: until the new run is committed, the checkpoint still counts on the file.
        """
        if self.size() == 0:
            return
        kept = self._path.with_name(f"dead-letters.{run_id}.jsonl")
        with own_files.reading(self._path) as file, replaced(kept) as copy:
            shutil.copyfileobj(file, copy)
