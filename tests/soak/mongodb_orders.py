"""Orders in MongoDB as an application keeps them, and the items that they make, by plain Python."""

import asyncio
import itertools
import string
from collections.abc import Iterator, Mapping
from typing import Any

import pymongo
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from tests.soak.application import Hurry
from tests.soak.plan import LogPlan
from tests.soak.postgres_orders import CUSTOMERS, ELEMENTS, GONE, LONG, STATES, Undone, perhaps
from tests.soak.shared import DRAFT, Item, latest, latest_of

LINES = 3
PATIENCE_S = 0.5
"""What a change without a transaction waits for one that has its document; that one may wait for its turn."""


def section(plan: LogPlan, url: str) -> dict[str, Any]:
    """Return the job's source."""
    return {
        "type": "mongodb",
        "url": url,
        "database": f"soak_{plan.seed}",
        "collection": "orders",
        "filter": {"hidden": False},
        "unique": not plan.shared,  # of a list's elements
        "batch_rows": 200,
        "catch_up": {"type": "log"},
    }


def rules(plan: LogPlan) -> list[dict[str, Any]]:
    """Return the job's rules: a key of two fields, one by a unique field, one of a list's elements."""
    order = {
        "name": "Order",
        "when": f"status <> '{DRAFT}'",
        "delete_when": f"status = '{GONE}'",
        "key": {"PK": "USER#{customer}", "SK": "ORDER#{_id}"},
        "attributes": {"id": "{rev}", "status": "{status}", "note": "{note}", "lines": "{lines}"},
    }
    tag = {
        "name": "Tag",
        "for_each": "tags",
        "key": {"PK": "ORDER#{_id}", "SK": "TAG#{each}"},
        "attributes": {"id": "{rev}", "at": "{index}"},
    }
    code = {
        "name": "Code",
        "when": "status <> 'done'",
        "key": {"PK": "CODE#{code}", "SK": "CODE"},
        "attributes": {"id": "{rev}", "order": "{_id}"},
    }
    return [order, tag, code, latest("_id")] if plan.shared else [order, tag, code]


def document(number: int, rev: int, **fields: Any) -> dict[str, Any]:
    """Return an order as it is when it is new."""
    lines = [{"line": n, "product": f"p{n}"} for n in range(LINES)]
    made = {"_id": number, "customer": number % CUSTOMERS, "code": f"c{number}", "status": "open"}
    return {
        **made,
        "tags": ["a", "b"],
        "hidden": False,
        "note": "first",
        "lines": lines,
        "rev": rev,
        **fields,
    }


class DocumentsWriter:
    """One client of the application; see application.Writer. `turns` counts changes, of all writers."""

    def __init__(
        self, plan: LogPlan, url: str, number: int, turns: Iterator[int], in_turn: asyncio.Lock
    ) -> None:
        self._plan, self._url, self._number, self._turns = plan, url, number, turns
        self._in_turn = in_turn
        self._random = plan.random(f"writer {number}")
        self._client: Any = None
        self._orders: Any = None

    async def open(self) -> None:
        """Connect."""
        self._client = AsyncMongoClient(self._url)
        self._orders = self._client[f"soak_{self._plan.seed}"]["orders"]

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()

    async def once(self, hurry: Hurry) -> None:
        """Do a transaction, or changes without one; one writer keeps its transactions open for long."""
        draw = self._random.random()
        try:
            if draw < 0.4 and self._number:
                for _ in range(self._random.choice((1, 1, 5))):
                    with pymongo.timeout(PATIENCE_S):
                        await self._change(None)
                return
            async with self._client.start_session() as session, await session.start_transaction():
                for _ in range(self._random.choice((1, 2, 5, 60))):
                    await self._change(session)
                if self._number == 0 and draw < 0.3:
                    await self._lingered(hurry)
                perhaps(self._random, 0.15)
        except (Undone, DuplicateKeyError, BulkWriteError):
            return
        except PyMongoError as error:
            if not error.timeout and not error.has_error_label("TransientTransactionError"):
                raise

    async def _lingered(self, hurry: Hurry) -> None:
        """Keep the transaction open."""
        ends = asyncio.get_running_loop().time() + self._random.uniform(0, self._plan.linger_s)
        while not hurry() and asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(0.05)

    async def _set(self, session: Any, where: Mapping[str, Any], fields: Any, *, many: bool = False) -> None:
        """Update; revisions grow in the order in which a document is written."""
        async with self._in_turn:
            update = {"$set": {**fields.get("$set", {}), "rev": next(self._turns)}}
            update |= {name: value for name, value in fields.items() if name != "$set"}
            do = self._orders.update_many if many else self._orders.update_one
            await do(where, update, session=session)

    async def _made(self, session: Any, number: int, **fields: Any) -> None:
        async with self._in_turn:
            made = document(number, next(self._turns), **fields)
            await self._orders.replace_one({"_id": number}, made, upsert=True, session=session)

    async def _moved(self, session: Any, one: int, to: int) -> None:
        """Give a document another _id, by the only way there is."""
        async with self._in_turn:
            found = await self._orders.find_one_and_delete({"_id": one}, session=session)
            if found is None:
                return
            await self._orders.delete_one({"_id": to}, session=session)
            await self._orders.insert_one({**found, "_id": to, "rev": next(self._turns)}, session=session)

    async def _change(self, session: Any) -> None:
        random = self._random
        rows = self._plan.rows
        one, other = random.randint(1, rows), random.randint(1, rows)
        it = {"_id": one}
        tags = random.sample(ELEMENTS, random.randint(0, 4))
        note = "".join(random.choices(string.ascii_letters, k=LONG)) if random.random() < 0.1 else f"n{one}"
        fields: dict[str, Any] = {"status": random.choice(STATES), "customer": random.randint(0, 8)}
        match random.randint(0, 13):
            case 0 | 1 | 2:
                name = random.choice(("status", "customer"))
                await self._set(session, it, {"$set": {name: fields[name]}})
            case 3:
                await self._set(session, it, {"$set": {"tags": tags}})
            case 4:
                await self._set(session, it, {"$set": {"hidden": random.random() < 0.3}})
            case 5:
                await self._set(
                    session, it, random.choice(({"$set": {"note": note}}, {"$unset": {"note": 1}}))
                )
            case 6:
                await self._set(session, it, {"$set": {"code": f"x{one}"}})
                await self._set(session, {"_id": other}, {"$set": {"code": f"c{one}"}})
            case 7:
                await self._set(session, it, {"$set": {"code": f"c{one}"}})
            case 8:
                await self._moved(session, *random.choice(((one, one + rows), (one + rows, one))))
            case 9:
                await self._orders.delete_one(it, session=session)
            case 10 | 11:
                await self._made(session, one, tags=tags, **fields)
            case 12:
                await self._set(session, it, {"$push": {"lines": {"line": other, "product": note}}})
                await self._set(session, {"_id": other}, {"$set": {"lines": []}})
            case _:
                await self._several(session, it)

    async def _several(self, session: Any, it: Mapping[str, Any]) -> None:
        """Change one document many times, or many at once."""
        random = self._random
        if random.random() < 0.8:
            for turn in range(random.choice((3, 40))):
                await self._set(session, it, {"$set": {"note": f"turn {turn}"}})
        elif session is None:
            some = {"customer": random.randint(0, 8)}
            await self._set(None, some, {"$set": {"status": random.choice(STATES)}}, many=True)


def expected(plan: LogPlan, url: str) -> dict[str, Item]:
    """Return the items that the documents make now, by `PK|SK`."""
    with MongoClient[dict[str, Any]](url) as client:
        documents = list(client[f"soak_{plan.seed}"]["orders"].find())
    made: dict[str, Item] = {}

    def make(pk: str, sk: str, row: Any, **attributes: Any) -> None:
        assert f"{pk}|{sk}" not in made, f"two documents make {pk}|{sk}"
        made[f"{pk}|{sk}"] = {"PK": {"S": pk}, "SK": {"S": sk}, "id": {"N": str(row["rev"])}, **attributes}

    for row in documents:
        if row["hidden"]:
            continue
        if row["status"] not in (DRAFT, GONE):
            note = {"note": {"S": row["note"]}} if "note" in row else {}
            lines = [
                {"M": {"line": {"N": str(each["line"])}, "product": {"S": each["product"]}}}
                for each in row["lines"]
            ]
            own = {"status": {"S": row["status"]}, "lines": {"L": lines}, **note}
            make(f"USER#{row['customer']}", f"ORDER#{row['_id']}", row, **own)
        for at, tag in enumerate(row["tags"]):
            make(f"ORDER#{row['_id']}", f"TAG#{tag}", row, at={"N": str(at)})
        if row["status"] != "done":
            make(f"CODE#{row['code']}", "CODE", row, order={"N": str(row["_id"])})
    return made | latest_of((row for row in documents if not row["hidden"]), "_id") if plan.shared else made


class MongoOrders:
    """What a seed asks of its source; see course.Living."""

    def __init__(self, plan: LogPlan, url: str) -> None:
        self._plan, self._url = plan, url
        self.jobs = [{"name": "soak", "source": section(plan, url), "items": rules(plan)}]
        turns, in_turn = itertools.count(plan.rows + 1), asyncio.Lock()
        self.writers = [DocumentsWriter(plan, url, n, turns, in_turn) for n in range(plan.writers)]

    def fill(self) -> None:
        """Make the collection and its first documents."""
        with MongoClient[dict[str, Any]](self._url) as client:
            orders = client[f"soak_{self._plan.seed}"].create_collection(
                "orders", changeStreamPreAndPostImages={"enabled": True}
            )
            orders.create_index("code", unique=True)
            orders.create_index("customer")
            orders.insert_many([document(number, number) for number in range(1, self._plan.rows + 1)])

    def job_of(self, _: str) -> str:
        """Return the one job that there is."""
        return "soak"

    def expected(self) -> dict[str, Item]:
        """Return the items that the documents make now."""
        return expected(self._plan, self._url)

    def now(self) -> None:
        """Tokens are no numbers."""

    def confirmed(self) -> int:
        """Return nothing that can be compared."""
        return 0

    def kept(self) -> int:
        """Return nothing: the server keeps its log for nobody in particular."""
        return 0
