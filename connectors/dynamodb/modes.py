"""What it means to write in a mode: one value for each, and no decision on modes anywhere else.

Invariant: whoever encodes, sends, judges or holds back asks the mode; mypy sees that none is left out.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias, assert_never

import orjson
import polars as pl

from connectors.dynamodb.encoding import wire
from connectors.dynamodb.limits import BATCH_ITEMS_MAX, STATEMENTS_MAX
from connectors.dynamodb.section import Mode
from connectors.dynamodb.writing import answers
from engine.frozen import dataclass

Texts: TypeAlias = Callable[[wire.Items], pl.Expr]


@dataclass(frozen=True, slots=True)
class WriteMode:
    """How items are written.

    Shape: `put` and `delete` make the texts of items, each an entry of a request of up to `items_max`, and
    `gone` those of deletes for rows as they were (`Batch.old`); without `delete` the mode skips them. `head`
    (of a table) and `closing` stand around the entries; without `head` an entry is a request of its own, with
    the call that its kind wants.
    """

    operation: str
    items_max: int
    head: Callable[[str], bytes] | None
    closing: bytes
    put: Texts
    delete: Texts | None
    gone: Texts | None
    read: answers.ReadBody
    """What an answer without a fault means."""
    keeps: Literal["first", "last", "highest"]
    """Which of the items with one key is left, as if they had been written one by one."""
    late: Literal["harms", "harms deletes", "is kept out"]
    """What an older request does that is applied late, where a newer one has written meanwhile."""
    statements: bool = False
    """Whether an item is a PartiQL statement, with the limit of its length."""
    compares: bool = False
    """Whether the target compares versions, those of deletes too."""


PUT = WriteMode(
    operation="BatchWriteItem",
    items_max=BATCH_ITEMS_MAX,
    head=lambda table: b'{"RequestItems":{' + orjson.dumps(table) + b":[",
    closing=b"]}",
    put=wire.put,
    delete=wire.delete,
    gone=wire.delete,
    read=answers.read_batch,
    keeps="last",
    late="harms",
)
INSERT = WriteMode(
    operation="BatchExecuteStatement",
    items_max=STATEMENTS_MAX,
    head=lambda _: b'{"Statements":[',
    closing=b"]",
    put=wire.insert,
    delete=None,
    gone=None,
    read=answers.read_statements,
    keeps="first",
    late="is kept out",
    statements=True,
)
NEWER = WriteMode(
    operation="PutItem",
    items_max=1,
    head=None,
    closing=b"",
    put=wire.newer_put,
    delete=wire.newer_delete,
    gone=wire.newer_gone,
    read=answers.read_single,
    keeps="highest",
    late="harms deletes",  # they leave no version behind
    compares=True,
)


def write_mode(mode: Mode) -> WriteMode:
    """Return what a job's word stands for."""
    match mode:
        case "put":
            return PUT
        case "insert":
            return INSERT
        case "newer":
            return NEWER
        case _:
            assert_never(mode)
