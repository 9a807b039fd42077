"""JSON text keeps every kind of value that a ticket or a checkpoint carries, and builds nothing else."""

import json

import pytest

from connectors.postgres.types import ArrayOf, Composite, JsonArray, Nested, Node, Printed, Reading
from engine.kinds import Column, Decimal, Document, Kind, ListOf, Members, RowSchema, Scalar, SetOf, StructOf
from engine.plain import dumped, loaded

KINDS = (
    Scalar.INT,
    Decimal(12, 2),
    Document(plain=True),
    Members(),
    ListOf(SetOf(Scalar.NUMBER)),
    SetOf(Scalar.BINARY),
    StructOf((("a", ListOf(Scalar.STRING)), ("b", StructOf(())))),
)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_comes_back(kind: Kind) -> None:
    schema = RowSchema((Column("c", kind, hidden=True),), ("c",), (frozenset({"c", "a"}),), open=True)
    assert loaded(RowSchema, dumped(schema)) == schema


@pytest.mark.parametrize(
    "node",
    [
        Nested(Printed(Decimal(3, 1), Reading.AS_IS, castable=True)),
        JsonArray(),
        ArrayOf(Composite((("x", Printed(Document(), Reading.JSON)), ("y", JsonArray()))), splits=False),
    ],
    ids=str,
)
def test_classes_of_the_same_form_are_told_apart_by_their_names(node: Node) -> None:
    value = Composite((("n", node),))
    assert loaded(Composite, dumped(value)) == value


@pytest.mark.parametrize(
    "found",
    [
        {"columns": [], "key": [], "identities": [], "open": "yes"},
        {"columns": [], "key": [1], "identities": [], "open": True},
        {"columns": [{"name": "c", "kind": {"is": "Path"}}], "key": [], "identities": []},
        {"columns": [{"name": "c", "kind": {"element": "int"}}], "key": [], "identities": []},
        {"columns": [{"name": "c", "kind": "no kind"}], "key": [], "identities": []},
        {"columns": [{"name": "c", "kind": None}], "key": [], "identities": []},
        {"columns": 3, "key": [], "identities": []},
        {"columns": [], "key": []},
        [],
    ],
    ids=str,
)
def test_what_is_of_another_form_is_refused(found: object) -> None:
    with pytest.raises(ValueError):
        loaded(RowSchema, json.dumps(found))
