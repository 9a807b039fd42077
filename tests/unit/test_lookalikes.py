"""Servers that only look like PostgreSQL or MongoDB are refused in a sentence that says what they lack."""

import asyncpg
import pytest
from pymongo.errors import OperationFailure

from connectors.mongodb import lookalikes as mongodb
from connectors.postgres import lookalikes as postgres
from engine.errors import JobError

POSTGRES = {
    "PostgreSQL 16.4 (Debian 16.4-1) on x86_64-pc-linux-gnu, compiled by gcc 12.2.0, 64-bit": None,
    "PostgreSQL 16.6 on x86_64-pc-linux-gnu, compiled by x86_64-pc-linux-gnu-gcc, 64-bit": None,  # Aurora
    "CockroachDB CCL v24.1.3 (x86_64-pc-linux-gnu, built 2024/08/01, go1.22.5)": "CockroachDB",
    "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2, Redshift 1.0.7": "Redshift",
    "PostgreSQL 9.5.0 on x86_64-unknown-linux-gnu (Materialize v0.118.0)": "Materialize",
    "PostgreSQL 13.14.0-RisingWave-2.0.1": "RisingWave",
}


class Answering:
    """A connection of asyncpg that knows two answers."""

    def __init__(self, version, functions):
        self.version, self.functions, self.said = version, functions, []

    async def execute(self, sql, timeout=None):
        self.said.append(sql)

    async def fetchval(self, _):
        if isinstance(self.version, Exception):
            raise self.version
        return self.version

    async def fetch(self, *_):
        return [(name,) for name in self.functions]

    def is_closed(self):
        return False


@pytest.mark.parametrize(("version", "name"), POSTGRES.items())
async def test_a_server_that_names_itself_is_told_by_its_name(version, name):
    connection = Answering(version, postgres.NEEDED)
    if name is None:
        await postgres.check(connection)
    else:
        with pytest.raises(JobError, match=rf"source.url: this is {name}, .*can't be read as one: it has no"):
            await postgres.check(connection)


async def test_a_server_that_lacks_what_reading_needs_is_refused_by_that():
    dsql = Answering("PostgreSQL 16", [name for name in postgres.NEEDED if name != "pg_export_snapshot"])
    with pytest.raises(JobError, match=r"it has no pg_export_snapshot \(Aurora DSQL"):
        await postgres.check(dsql)


async def test_what_cannot_be_asked_is_left_to_what_follows():
    connection = Answering(asyncpg.InternalServerError("no"), ())
    await postgres.check(connection)
    assert connection.said[-1] == "ROLLBACK"


class Commands:
    """A client that answers commands to admin."""

    def __init__(self, **answers):
        self.admin, self.answers = self, answers

    async def command(self, name):
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


DENIED = OperationFailure("not authorized on admin to execute command", 13)
MONGODB = {"version": "7.0.5", "modules": [], "gitVersion": "7809d71e84e314b497f282ea8aa06d7ded3eb205"}
UNSUPPORTED = OperationFailure("Feature not supported: getCmdLineOpts", 303)


@pytest.mark.parametrize(
    ("place", "build", "options", "name"),
    [
        ("db.example:27017", MONGODB, {"argv": ["mongod"]}, None),
        ("db.example:27017", MONGODB, DENIED, None),
        ("c0.abc.mongodb.net", MONGODB, OperationFailure("CMD_NOT_ALLOWED: not supported", 8000), None),
        ("tunnel:27017", {"version": "5.0.0"}, UNSUPPORTED, "Amazon DocumentDB"),
        ("x.cluster-y.eu-west-1.docdb.amazonaws.com:27017", {}, {}, "Amazon DocumentDB"),
        ("shop.mongo.cosmos.azure.com:10255", {}, {}, "Azure Cosmos DB"),
        ("tunnel:10255", {"version": "4.2.0", "_t": "BuildInfoResponse"}, {}, "Azure Cosmos DB"),
        ("tunnel:27017", {"version": "7.0.77", "ferretdbVersion": "v1.24"}, {}, "FerretDB"),
    ],
)
async def test_a_mongodb_is_told_by_its_answers(place, build, options, name):
    client = Commands(buildInfo=build, getCmdLineOpts=options)
    if name is None:
        await mongodb.check(client, place)
    else:
        with pytest.raises(JobError, match=rf"source.url: this is {name}, .*can't be read as one: it has no"):
            await mongodb.check(client, place)
