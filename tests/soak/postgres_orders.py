"""Orders in PostgreSQL as an application keeps them, and the items that they make, by plain Python."""

import asyncio
import json
import string
from collections import defaultdict
from collections.abc import Sequence
from random import Random
from typing import Any

import asyncpg

from tests.soak.application import Hurry
from tests.soak.plan import LogPlan
from tests.soak.several import REVISED, job_of, jobs_of, lines_of
from tests.soak.shared import DRAFT, Item, latest, latest_of
from tests.support.pg import execute

CUSTOMERS, LINES = 9, 3
GONE = "gone"
STATES = ("open", "done", "open", "done", DRAFT, GONE)
ELEMENTS = "abcdef"
LONG = 6_000
"""Characters that don't compress: stored apart from the row, so that the log leaves them out."""
EXPECTED_ERRORS = (
    asyncpg.UniqueViolationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.NotNullViolationError,
)


class Undone(Exception):
    """The application changes its mind."""


def perhaps(random: Random, share: float) -> None:
    """Change one's mind in so many cases."""
    if random.random() < share:
        raise Undone


def slot_of(plan: LogPlan) -> str:
    return f"soak_{plan.seed}"


def section(plan: LogPlan, url: str) -> dict[str, Any]:
    """Return the job's source."""
    embed = {"table": "lines", "on": {"order_id": "id"}, "columns": ["line", "product"], "order_by": ["line"]}
    return {
        "type": "postgres",
        "url": url,
        "table": "orders",
        "where": "NOT hidden",
        "unique": not plan.shared,  # of a list's elements
        "batch_rows": 200,
        "embed": {"lines": embed},
        "catch_up": {"type": "log", "slot": slot_of(plan)},
    }


def rules(plan: LogPlan) -> list[dict[str, Any]]:
    """Return the job's rules: a key of two columns, one by a unique column, one of a list's elements."""
    order = {
        "name": "Order",
        "when": f"status <> '{DRAFT}'",
        "delete_when": f"status = '{GONE}'",
        "key": {"PK": "USER#{customer}", "SK": "ORDER#{id}"},
        "attributes": {"id": "{rev}", "status": "{status}", "note": "{note}", "lines": "{lines}"},
    }
    tag = {
        "name": "Tag",
        "for_each": "tags",
        "key": {"PK": "ORDER#{id}", "SK": "TAG#{each}"},
        "attributes": {"id": "{rev}", "at": "{index}"},
    }
    code = {
        "name": "Code",
        "when": "customer <> 3",
        "key": {"PK": "CODE#{code}", "SK": "CODE"},
        "attributes": {"id": "{rev}", "order": "{id}"},
    }
    own = [order, tag] if plan.partitioned else [order, tag, code]
    return [*own, latest("id")] if plan.shared else own


def schema(plan: LogPlan) -> Sequence[str]:
    """Return the statements that make and fill the tables."""
    columns = (
        "id int PRIMARY KEY, customer int NOT NULL, code text NOT NULL, status text NOT NULL,"
        " tags jsonb NOT NULL, hidden boolean NOT NULL DEFAULT false, note text,"
        " rev bigint NOT NULL DEFAULT nextval('revs')"
    )
    made = ["CREATE SEQUENCE revs", "CREATE SEQUENCE numbers START 100000"]
    tables = ["orders"]
    if plan.partitioned:
        tables = [f"orders_{n}" for n in range(3)]
        made.append(f"CREATE TABLE orders ({columns}) PARTITION BY HASH (id)")
        leaf = "CREATE TABLE orders_{0} PARTITION OF orders FOR VALUES WITH (MODULUS 3, REMAINDER {0})"
        made += [leaf.format(n) for n in range(3)]
    else:
        made += [f"CREATE TABLE orders ({columns})", "CREATE UNIQUE INDEX ON orders (code)"]
    made.append("CREATE INDEX ON orders (customer)")
    needed = "id, customer, tags" if plan.partitioned else "id, customer, tags, code"
    for table in tables:
        if plan.identity_full:
            made.append(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
        else:
            made.append(f"CREATE UNIQUE INDEX {table}_told ON {table} ({needed})")
            made.append(f"ALTER TABLE {table} REPLICA IDENTITY USING INDEX {table}_told")
    if plan.identity_full:
        made.append(
            "CREATE TABLE lines (line int PRIMARY KEY DEFAULT nextval('numbers'), order_id int, product text)"
        )
        made.append("ALTER TABLE lines REPLICA IDENTITY FULL")
    else:
        made.append(
            "CREATE TABLE lines (line int DEFAULT nextval('numbers'), order_id int, product text,"
            " PRIMARY KEY (order_id, line))"
        )
    return (
        *made,
        "CREATE INDEX ON lines (order_id)",
        *(REVISED if plan.jobs > 1 else ()),
        f"INSERT INTO orders SELECT n, n % {CUSTOMERS}, 'c' || n, 'open', '[\"a\", \"b\"]', false, 'first'"
        f" FROM generate_series(1, {plan.rows}) n",
        f"INSERT INTO lines (order_id, product) SELECT n, 'p' || m FROM generate_series(1, {plan.rows}) n,"
        f" generate_series(1, {LINES}) m",
        "ANALYZE",
    )


class OrdersWriter:
    """One connection of the application; see application.Writer."""

    def __init__(self, plan: LogPlan, url: str, number: int) -> None:
        self._plan, self._url, self._number = plan, url, number
        self._random = plan.random(f"writer {number}")
        self._connection: Any = None

    async def open(self) -> None:
        """Connect."""
        self._connection = await asyncpg.connect(self._url)

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()

    async def once(self, hurry: Hurry) -> None:
        """Do a transaction; one writer keeps its open for long."""
        draw = self._random.random()
        try:
            async with self._connection.transaction():
                if self._number == 0 and draw < 0.3:
                    await self._several(self._random.randint(1, 5))
                    await self._lingered(hurry)
                elif draw < 0.02:
                    await self._connection.execute(bulk(self._random))
                elif draw < 0.12:
                    await self._several(self._random.choice((60, 300)))
                else:
                    await self._several(self._random.choice((1, 1, 2, 5)))
                perhaps(self._random, 0.15)
        except (Undone, *EXPECTED_ERRORS):
            return

    async def _several(self, count: int) -> None:
        """Change so much, a part of it within savepoints that may be gone back to."""
        for _ in range(count):
            if self._random.random() < 0.7:
                await self._change()
                continue
            try:
                async with self._connection.transaction():
                    await self._change()
                    perhaps(self._random, 0.4)
            except (Undone, asyncpg.UniqueViolationError, asyncpg.NotNullViolationError):
                pass

    async def _change(self) -> None:
        for sql in change(self._random, self._plan):
            await self._connection.execute(sql)

    async def _lingered(self, hurry: Hurry) -> None:
        """Keep the transaction open."""
        ends = asyncio.get_running_loop().time() + self._random.uniform(0, self._plan.linger_s)
        while not hurry() and asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(0.05)


def change(random: Random, plan: LogPlan) -> Sequence[str]:
    """Return the statements of one change, which may find nothing to change."""
    rows = plan.rows
    one, other = random.randint(1, rows), random.randint(1, rows)
    tags = json.dumps(random.sample(ELEMENTS, random.randint(0, 4)))
    note = "".join(random.choices(string.ascii_letters, k=LONG)) if random.random() < 0.1 else f"n{one}"
    status, customer = random.choice(STATES), random.randint(0, 8)
    set_ = "UPDATE orders SET rev = nextval('revs')"
    it = f"WHERE id = {one}"
    away, back = f"{set_}, id = {one + rows} {it}", f"{set_}, id = {one} WHERE id = {one + rows}"
    gone = f"DELETE FROM orders {it}"
    made = (
        "INSERT INTO orders (id, customer, code, status, tags, note)"
        f" VALUES ({one}, {customer}, 'c{one}', '{status}', '{tags}', '{note}') ON CONFLICT DO NOTHING"
    )
    copied = f"INSERT INTO orders SELECT id + {9 * rows}, customer, 'u' || id, status, tags FROM orders {it}"
    free = "NOT EXISTS (SELECT FROM orders AS o WHERE o.code = '{}')"
    swapped = (
        f"{set_}, code = 'x{one}' {it} AND code = 'c{one}'",
        f"{set_}, code = 'c{one}' WHERE id = {other} AND {free.format(f'c{one}')}",
        f"{set_}, code = 'c{other}' {it} AND {free.format(f'c{other}')}",
    )
    flipped = f"{set_}, customer = 8 - customer {it}"
    changes: Sequence[Sequence[str]] = (
        (f"{set_}, customer = {customer} {it}",),
        (flipped, flipped),
        (f"{set_}, status = '{status}' {it}",),
        (f"{set_}, hidden = NOT hidden {it}",),
        (f"{set_}, note = '{note}' {it}",),
        (f"{set_}, tags = '{tags}' {it}",),
        (f"{set_}, tags = '{tags}' {it}", f"{set_}, tags = '[\"a\"]' {it}"),
        (f"{set_}, code = 'c' || id {it}",),
        swapped,
        (away,),
        (back,),
        (away, back),
        (gone,),
        (made,),
        (gone, made),
        (f"DELETE FROM orders WHERE id = {one + rows}", away, made),
        (copied, f"DELETE FROM orders WHERE id = {one + 9 * rows}"),
        tuple(f"{set_}, note = 'turn {n}' {it}" for n in range(random.choice((3, 40)))),
        *line_changes(one, random.choice((str(other), str(other), str(one + rows), "NULL"))),
    )
    return random.choice(changes)


def line_changes(order: int, to: str) -> Sequence[Sequence[str]]:
    """Return changes of an order's children, some of which go to another one, or to none."""
    its = f"WHERE order_id = {order}"
    first = f"WHERE line = (SELECT min(line) FROM lines {its})"
    return (
        (f"DELETE FROM lines {first}",),
        (f"DELETE FROM lines {its}",),
        (f"INSERT INTO lines (order_id, product) VALUES ({order}, 'again'), ({order}, 'and again')",),
        (f"UPDATE lines SET product = product || '.' {its} AND length(product) < 40",),
        (f"UPDATE lines SET order_id = {to} {its}",),
        (f"UPDATE lines SET order_id = {to} {first}",),
    )


def bulk(random: Random) -> str:
    """Return a statement that changes many rows, each at once."""
    share, of = random.randint(0, 2), "UPDATE orders SET rev = nextval('revs')"
    return random.choice(
        (
            f"{of}, customer = (customer + 1) % {CUSTOMERS}",
            f"{of}, status = '{random.choice(STATES)}' WHERE id % 3 = {share}",
            f"{of}, hidden = NOT hidden WHERE id % 7 = {share}",
            f"{of}, tags = tags || '\"z\"' WHERE NOT tags ? 'z'",
            f"{of}, tags = tags - 'z'",
            f"UPDATE lines SET product = 'bulk' WHERE line % 3 = {share}",
            f"DELETE FROM orders WHERE id % 11 = {share}",
        )
    )


def expected(plan: LogPlan, url: str) -> dict[str, Item]:
    """Return the items that the rows make now, by `PK|SK`."""
    orders, lines = asyncio.run(_rows(url))
    children = defaultdict(list)
    for line in lines:
        child = {"line": {"N": str(line["line"])}, "product": {"S": line["product"]}}
        children[line["order_id"]].append({"M": child})
    made: dict[str, Item] = {}

    def make(pk: str, sk: str, row: Any, **attributes: Any) -> None:
        assert f"{pk}|{sk}" not in made, f"two rows make {pk}|{sk}"
        made[f"{pk}|{sk}"] = {"PK": {"S": pk}, "SK": {"S": sk}, "id": {"N": str(row["rev"])}, **attributes}

    for row in orders:
        if row["hidden"]:
            continue
        if row["status"] not in (DRAFT, GONE):
            note = {} if row["note"] is None else {"note": {"S": row["note"]}}
            own = {"status": {"S": row["status"]}, "lines": {"L": children[row["id"]]}, **note}
            make(f"USER#{row['customer']}", f"ORDER#{row['id']}", row, **own)
        for at, tag in enumerate(json.loads(row["tags"])):
            make(f"ORDER#{row['id']}", f"TAG#{tag}", row, at={"N": str(at)})
        if not plan.partitioned and row["customer"] != 3:
            make(f"CODE#{row['code']}", "CODE", row, order={"N": str(row["id"])})
    if plan.jobs > 1:
        made |= lines_of(lines)
    return made | latest_of((row for row in orders if not row["hidden"]), "id") if plan.shared else made


async def _rows(url: str) -> tuple[Sequence[Any], Sequence[Any]]:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            orders = await connection.fetch("SELECT * FROM orders")
            return orders, await connection.fetch("SELECT * FROM lines ORDER BY line")
    finally:
        await connection.close()


class PostgresOrders:
    """What a seed asks of its source; see course.Living."""

    def __init__(self, plan: LogPlan, url: str) -> None:
        self._plan, self._url = plan, url
        self.jobs = jobs_of(section(plan, url), rules(plan), plan.jobs)
        self.writers = [OrdersWriter(plan, url, number) for number in range(plan.writers)]

    def fill(self) -> None:
        """Make the tables and their first rows."""
        asyncio.run(execute(self._url, *schema(self._plan)))

    def job_of(self, key: str) -> str:
        """Return the job whose rules make an item."""
        return job_of(key, self._plan.jobs)

    def expected(self) -> dict[str, Item]:
        """Return the items that the rows make now."""
        return expected(self._plan, self._url)

    def now(self) -> int:
        """Return how far the log has come."""
        return asyncio.run(_asked(self._url, "SELECT (pg_current_wal_insert_lsn() - '0/0')::int8"))

    def confirmed(self) -> int:
        """Return how far the server was told that its log was read."""
        slot = slot_of(self._plan)
        sql = (
            f"SELECT (confirmed_flush_lsn - '0/0')::int8 FROM pg_replication_slots WHERE slot_name = '{slot}'"
        )
        return asyncio.run(_asked(self._url, sql))

    def kept(self) -> int:
        """Return how many slots and publications there are of it."""
        slot = slot_of(self._plan)
        sql = (
            f"SELECT (SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}')"
            " + (SELECT count(*) FROM pg_publication)"
        )
        return asyncio.run(_asked(self._url, sql))


async def _asked(url: str, sql: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(sql))
    finally:
        await connection.close()
