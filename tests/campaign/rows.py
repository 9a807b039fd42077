"""The rows of a seed, and the items that must come of them, in plain Python. Pure.

Nothing of the engine has a part in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from tests.campaign.plan import Plan

Item = dict[str, dict[str, Any]]
DEAD_EVERY = 97
TEXTS = (
    "plain",
    "Ã© ü 😀",
    'quote " \\ back',
    "line\nline\ttab",
    "\u2028 sep",
    "",
    "^v.*$",
    "{brace}",
    "null",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row or document."""

    id: int
    grp: int
    rev: int
    k: str
    state: str
    name: str
    amount: Decimal
    flag: bool
    at: datetime
    body: Mapping[str, Any] | None
    tags: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a whole run must come to. `dead`: the rows whose item can't be written."""

    items: Mapping[str, Item]
    emitted: int
    dead: Sequence[int]


def rows_of(plan: Plan) -> list[Row]:
    """Return the source's rows in the order of their key."""
    random = Random(f"rows {plan.seed}")
    revisions = random.sample(range(1, 10 * plan.rows), plan.rows)
    start = datetime(2024, 1, 15, 10, tzinfo=UTC)
    made = []
    for number in range(1, plan.rows + 1):
        made.append(
            Row(
                id=number,
                grp=random.randrange(plan.groups),
                rev=revisions[number - 1],
                k="" if number % DEAD_EVERY == 0 else "k",
                state=random.choice(("live", "live", "gone")),
                name=random.choice(TEXTS) + str(number) + "x" * plan.pad,
                amount=Decimal(random.randrange(-(10**9), 10**9)) / 4,
                flag=random.random() < 0.5,
                at=start + timedelta(milliseconds=random.randrange(10**9) * random.choice((1, 1000))),
                body=None if random.random() < 0.2 else {"a": number, "b": [True, None, {"c": "ü"}]},
                tags=[{"x": f"t{number}.{place}"} for place in range(random.randrange(4))],
            )
        )
    return made


def preloaded(plan: Plan) -> dict[str, Item]:
    """Return what the target holds before the first run: some of it under keys of the job, one that isn't."""
    random = Random(f"preloaded {plan.seed}")
    items: dict[str, Item] = {"FOREIGN|F": _place("FOREIGN", "F") | {"id": {"N": "-1"}, "v": {"S": "stays"}}}
    for _ in range(10):
        number = random.randrange(1, plan.rows + 1)
        key = f"G#{number % plan.groups}" if plan.shape == "colliding" else f"R#{number}"
        rev = random.choice((0, 20 * plan.rows))
        items[f"{key}|k"] = _place(key, "k") | {"id": {"N": "-1"}, "rev": {"N": f"{rev}"}}
    return items


def rules(plan: Plan) -> list[dict[str, Any]]:
    """Return the job's item rules."""
    row: dict[str, Any] = {
        "name": "Row",
        "key": {"PK": "G#{grp}" if plan.shape == "colliding" else "R#{id}", "SK": "{k}"},
        "attributes": {name: f"{{{name}}}" for name in ATTRIBUTES},
    }
    if plan.shape == "deletes":
        row["delete_when"] = "state = 'gone'"
    if plan.shape != "fan_out":
        return [row]
    tag = {
        "name": "Tag",
        "for_each": "tags",
        "key": {"PK": "R#{id}", "SK": "T#{index:03d}"},
        "attributes": {"id": "{id}", "rev": "{rev}", "x": "{each.x}"},
    }
    return [row, tag]


ATTRIBUTES = ("id", "grp", "rev", "state", "name", "amount", "flag", "at", "body")


def expected(plan: Plan, rows: Sequence[Row], before: Mapping[str, Item]) -> Expected:
    """Return what the target must hold in the end, and the counts that are the same in every run."""
    items = {key: dict(item) for key, item in before.items()}
    dead, emitted = [], 0
    for row in rows:
        partition = f"G#{row.grp}" if plan.shape == "colliding" else f"R#{row.id}"
        emitted += 1
        if not row.k:
            dead.append(row.id)
        elif plan.shape == "deletes" and row.state == "gone":
            items.pop(f"{partition}|{row.k}", None)
        else:
            _write(items, plan, partition, row.k, _attributes(row, plan.source))
        for place, tag in enumerate(row.tags if plan.shape == "fan_out" else ()):
            emitted += 1
            attributes = {"id": _number(row.id), "rev": _number(row.rev), "x": {"S": tag["x"]}}
            _write(items, plan, partition, f"T#{place:03d}", attributes)
    return Expected(items, emitted, dead)


def _write(items: dict[str, Item], plan: Plan, partition: str, sort: str, attributes: Item) -> None:
    key = f"{partition}|{sort}"
    there = items.get(key)
    if there is not None and plan.mode == "insert":
        return
    if (
        there is not None
        and plan.mode == "newer"
        and Decimal(there["rev"]["N"]) >= Decimal(attributes["rev"]["N"])
    ):
        return
    items[key] = _place(partition, sort) | attributes


def _place(partition: str, sort: str) -> Item:
    return {"PK": {"S": partition}, "SK": {"S": sort}}


def _number(number: Decimal | int) -> dict[str, str]:
    return {"N": str(number)}


def _attributes(row: Row, source: str) -> Item:
    made = {
        "id": _number(row.id),
        "grp": _number(row.grp),
        "rev": _number(row.rev),
        "state": {"S": row.state},
        "name": {"S": row.name},
        "amount": _number(row.amount),
        "flag": {"BOOL": row.flag},
        "at": {"S": _moment(row.at, source)},
    }
    return made if row.body is None else made | {"body": _document(row.body)}


def _moment(at: datetime, source: str) -> str:
    """Print a moment as the contract has it: MongoDB's in whole milliseconds."""
    milliseconds = f"{at.microsecond // 1000:03d}" if at.microsecond else ""
    fraction = milliseconds if source == "mongodb" else f"{at.microsecond:06d}".rstrip("0")
    return at.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if fraction else "") + "Z"


def _document(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int():
            return _number(value)
        case str():
            return {"S": value}
        case list():
            return {"L": [_document(each) for each in value]}
    return {"M": {name: _document(each) for name, each in value.items()}}


def plain(value: Any) -> Any:
    """Return an item's value in a form in which equal values are equal: numbers as numbers."""
    match value:
        case {"N": str(text)}:
            return {"N": Decimal(text)}
        case dict():
            return {name: plain(each) for name, each in value.items()}
        case list():
            return [plain(each) for each in value]
    return value
