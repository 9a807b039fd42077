"""What one item looks like on the wire, by mode: members joined to the texts that requests are made of. Pure.

Invariant: every text ends in a comma, so that items one after the other are the body of a request.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import orjson
import polars as pl

from connectors.dynamodb.encoding.values import NULL_WIRE, json_name
from connectors.dynamodb.limits import CAPACITY_WANTED
from engine.frozen import dataclass

Piece: TypeAlias = str | pl.Expr


@dataclass(frozen=True, slots=True)
class Member:
    """One attribute of the items of a rule: `before + column + after` is its value's wire text.

    Shape: `nullable` when some item hasn't got it; then it is left out, or NULL with `keep_null`. `spread`
    when the column holds several members with their names, each behind a comma; for inserts, three columns
    beside it hold what PartiQL wants.
    """

    name: str
    column: str
    before: str
    after: str
    nullable: bool = False
    keep_null: bool = False
    spread: bool = False

    @property
    def names_column(self) -> str:
        """The column of a spread member's names, as PartiQL has them."""
        return f"{self.column}:names"

    @property
    def quoted_names_column(self) -> str:
        """The same within JSON."""
        return f"{self.column}:quoted"

    @property
    def values_column(self) -> str:
        """The column of a spread member's values alone."""
        return f"{self.column}:values"

    def value(self) -> list[Piece]:
        """Return the value's wire text, for items that surely have it."""
        return [self.before, pl.col(self.column), self.after]


@dataclass(frozen=True, slots=True)
class Items:
    """The members of the items of one rule. `key` has one or two of them and comes first in `members`."""

    table: str
    key: Sequence[Member]
    members: Sequence[Member]
    version: Member | None = None


def apart(member: Member, texts: pl.DataFrame) -> list[pl.Series]:
    """Return the three columns of a spread member that inserts want."""
    names: list[str] = []
    values: list[str] = []
    for text in texts.get_column(member.column):
        found = orjson.loads("{" + text[1:] + "}") if text else {}
        names.append("".join(",'" + name.replace("'", "''") + "':?" for name in found))
        values.append("".join("," + orjson.dumps(value).decode() for value in found.values()))
    quoted = [json_name(name)[1:-1] for name in names]
    return [
        pl.Series(member.names_column, names, dtype=pl.String),
        pl.Series(member.quoted_names_column, quoted, dtype=pl.String),
        pl.Series(member.values_column, values, dtype=pl.String),
    ]


def put(items: Items) -> pl.Expr:
    """Return the texts of puts for BatchWriteItem."""
    return _text(['{"PutRequest":{"Item":{', *_map(items.members), "}}},"])


def delete(items: Items) -> pl.Expr:
    """Return the texts of deletes for BatchWriteItem."""
    return _text(['{"DeleteRequest":{"Key":{', *_map(items.key), "}}},"])


def insert(items: Items) -> pl.Expr:
    """Return the texts of PartiQL inserts for BatchExecuteStatement."""
    parameters = _sequence(items.members, Member.value, lambda _: NULL_WIRE, lambda each: each.values_column)
    return _text(['{"Statement":"', *_statement(items, in_json=True), '","Parameters":[', *parameters, "]},"])


def statement(items: Items) -> pl.Expr:
    """Return the texts of the PartiQL statements alone."""
    return _text(_statement(items, in_json=False))


def newer_put(items: Items) -> pl.Expr:
    """Return the texts of PutItem bodies that write only over a lower version."""
    return _text([*_head(items), '"Item":{', *_map(items.members), "},", *_condition(items)])


def newer_delete(items: Items) -> pl.Expr:
    """Return the texts of DeleteItem bodies that delete only a lower version."""
    return _text([*_head(items), '"Key":{', *_map(items.key), "},", *_condition(items)])


def newer_gone(items: Items) -> pl.Expr:
    """Return the texts of DeleteItem bodies that delete this very version, too: the item's row had it."""
    return _text([*_head(items), '"Key":{', *_map(items.key), "},", *_condition(items, "<=")])


def _head(items: Items) -> list[Piece]:
    return [f'{{"TableName":{json_name(items.table)},']


def _condition(items: Items, sign: str = "<") -> list[Piece]:
    assert items.version is not None, "only a version can be compared"
    names = orjson.dumps({"#k": items.key[0].name, "#v": items.version.name}).decode()
    return [
        f'"ConditionExpression":"attribute_not_exists(#k) OR #v {sign} :v",'
        f'"ExpressionAttributeNames":{names},"ExpressionAttributeValues":{{":v":',
        *items.version.value(),
        "}" + CAPACITY_WANTED.decode() + "},",
    ]


def _statement(items: Items, *, in_json: bool) -> list[Piece]:
    def spelled(text: str) -> str:
        return json_name(text)[1:-1] if in_json else text

    def name(member: Member) -> str:
        return spelled("'" + member.name.replace("'", "''") + "':?")

    table = spelled('"' + items.table.replace('"', '""') + '"')

    def spread(member: Member) -> str:
        return member.quoted_names_column if in_json else member.names_column

    names = _sequence(items.members, lambda member: [name(member)], name, spread)
    return [f"INSERT INTO {table} VALUE {{", *names, "}"]


def _map(members: Sequence[Member]) -> list[Piece]:
    def named(member: Member) -> list[Piece]:
        return [json_name(member.name) + ":", *member.value()]

    return _sequence(
        members,
        named,
        lambda member: f"{json_name(member.name)}:{NULL_WIRE}",
        lambda member: member.column,
    )


def _sequence(
    members: Sequence[Member],
    spell: Callable[[Member], list[Piece]],
    null: Callable[[Member], str],
    spread: Callable[[Member], str],
) -> list[Piece]:
    """Return what is spelled for each member, with commas between; one left out leaves out its comma."""
    pieces: list[Piece] = []
    for position, member in enumerate(members):
        comma = "," if position else ""
        if member.spread:
            pieces.append(pl.col(spread(member)))
            continue
        if not member.nullable:
            pieces += [comma, *spell(member)]
            continue
        otherwise = comma + null(member) if member.keep_null else ""
        present = pl.when(pl.col(member.column).is_not_null())
        pieces.append(present.then(_text([comma, *spell(member)])).otherwise(pl.lit(otherwise)))
    return pieces


def _text(pieces: Iterable[Piece]) -> pl.Expr:
    """Join pieces. One format costs less than a concat of all its literals and columns."""
    template, columns = "", []
    for piece in pieces:
        if isinstance(piece, str):
            template += piece.replace("{", "{{").replace("}", "}}")
        else:
            template += "{}"
            columns.append(piece)
    return pl.format(template, *columns)
