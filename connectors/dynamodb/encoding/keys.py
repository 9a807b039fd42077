"""What the attributes of a key must be: their types, their sizes, never empty. Pure.

Invariant: a key attribute that passes is one that DynamoDB takes; one that doesn't has the reason.
"""

from collections.abc import Iterable, Mapping

import polars as pl

from connectors.dynamodb.encoding.values import NULL_WIRE, Values
from connectors.dynamodb.limits import PARTITION_KEY_BYTES_MAX, SORT_KEY_BYTES_MAX
from connectors.dynamodb.table_info import Index, TableInfo
from engine.contracts.transform import Attribute
from engine.errors import JobError
from engine.frozen import dataclass
from engine.kinds import Decimal, Document, Kind, ListOf, Members, Scalar, SetOf, StructOf


@dataclass(frozen=True, slots=True)
class KeyRole:
    """What an attribute has to be because the table or an index has it as a key.

    Shape: `of` is `the table` or `index NAME`. An item without a primary key attribute can't be written; one
    without an index's is only not in that index. Units: `bytes_max` for S and B.
    """

    of: str
    type: str
    bytes_max: int
    primary: bool


def key_roles(info: TableInfo) -> dict[str, tuple[KeyRole, ...]]:
    """Return by attribute name what the table and its indexes ask of it, the table's own role first."""
    roles: dict[str, tuple[KeyRole, ...]] = {}
    for position, key in enumerate(info.keys):
        bytes_max = SORT_KEY_BYTES_MAX if position else PARTITION_KEY_BYTES_MAX
        roles[key.name] = (KeyRole("the table", key.type, bytes_max, primary=True),)
    for index in info.indexes:
        for position, key in enumerate(index.keys):
            role = KeyRole(
                f"index {index.name}", key.type, _index_key_bytes_max(index, position), primary=False
            )
            roles[key.name] = (*roles.get(key.name, ()), role)
    return roles


def _index_key_bytes_max(index: Index, position: int) -> int:
    """Return the limit of one attribute; where it may be either sort, the wider: DynamoDB still checks."""
    is_sort_key = 0 < position == len(index.keys) - 1
    return SORT_KEY_BYTES_MAX if is_sort_key else PARTITION_KEY_BYTES_MAX


def type_letters(kind: Kind) -> str | None:
    """Return the attribute type that values of a kind have; None when each has its own."""
    match kind:
        case Scalar.INT | Scalar.NUMBER | Scalar.FLOAT | Decimal():
            return "N"
        case Scalar.BOOL:
            return "BOOL"
        case Scalar.BINARY:
            return "B"
        case Scalar():
            return "S"
        case Document() | Members():
            return None
        case ListOf():
            return "L"
        case SetOf(element):
            return "NS" if element is Scalar.NUMBER else "BS" if element is Scalar.BINARY else "SS"
        case StructOf():
            return "M"


def check_key_kind(rule: int, attribute: Attribute, roles: Iterable[KeyRole]) -> None:
    """Refuse an attribute whose values can never be what its key asks for. Raises: JobError."""
    letters = type_letters(attribute.kind)
    for role in roles:
        if letters is not None and letters != role.type:
            raise JobError(
                f"items[{rule}]: {attribute.name} is of type {letters}, but {role.of} has it as a key of type"
                f" {role.type}; {_way_out(role)}"
            )


def _way_out(role: KeyRole) -> str:
    if not role.primary:
        return f"give it `as: {role.type}`"
    if role.type == "S":
        return "text around its placeholder, or a format such as `:01d` for an integer, makes it S"
    return f"a placeholder alone keeps the type of its column, so name one that is {role.type}"


def key_flaws(values: Values, role: KeyRole, *, keep_nulls: bool) -> Mapping[int, str]:
    """Return by row why a value can't be that key, as `reason: detail`."""
    flaws: dict[int, str] = {}

    def add(mask: pl.Series, flaw: str) -> None:
        for row in mask.fill_null(False).arg_true().to_list():
            flaws.setdefault(row, flaw)

    text = values.text
    if text.null_count() and (role.primary or keep_nulls):
        reason = "key_null: the value" if role.primary else f"key_type: a key of {role.of}"
        add(text.is_null(), f"{reason} is null")
    if not values.before:  # each value has its own type
        if role.primary:
            add(text == NULL_WIRE, "key_null: the value is null")
        fits = text.str.starts_with(f'{{"{role.type}":')
        add(~fits, f"key_type: {role.of} has it as a key of type {role.type}")
    if role.type != "N" and isinstance(values.size, pl.Series):
        if values.size.min() == 0:
            add((values.size == 0) & text.is_not_null(), f"key_empty: a key of {role.of} can't be empty")
        if int(values.size.max() or 0) > role.bytes_max:  # type: ignore[arg-type]
            too_long = f"key_too_long: over {role.bytes_max} bytes, the most for this key of {role.of}"
            add(values.size > role.bytes_max, too_long)
    return flaws
