"""Bad input: one sentence that names what is at fault and the next step, the exit code, nothing written."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.servers import free_port
from connectors.postgres.session import abandon, connect
from engine.errors import JobError
from tests.support import loads
from tests.support.command import Command, Ended
from tests.support.own_postgres import PASSWORD, OwnPostgres, embedded_binaries, own_postgres
from tests.support.pg import execute

TABLE = (
    "CREATE TABLE orders (id int PRIMARY KEY, user_id int, status text, total numeric, doc jsonb,"
    " lines text[], at timestamptz, place point)",
    "INSERT INTO orders VALUES (1, 7, 'open', 1.5, '{}', '{}', now(), '(1,1)')",
    "CREATE TABLE order_lines (order_id int, product text)",
)


@dataclass(frozen=True)
class Rig:
    """A job that would run, and the table that must stay empty."""

    command: Command

    def refused(
        self, code: int, *said: str, unsaid: tuple[str, ...] = (), arguments: tuple[str, ...] = ()
    ) -> None:
        ended = self.command.here("run", *arguments)
        self.judge(ended, code, said, unsaid)
        target = self.command.job.get("target", {})
        if "endpoint_url" in target and target["table"].startswith("here"):
            assert loads.items(target["endpoint_url"], target["table"]) == {}
        assert not list(self.command.folder.rglob("report.json"))

    @staticmethod
    def judge(ended: Ended, code: int, said: tuple[str, ...], unsaid: tuple[str, ...] = ()) -> None:
        assert ended.code == code, ended.stderr
        *before, last = ended.stderr.strip().splitlines()
        assert last.startswith("backfill: error: "), ended.stderr
        assert not [line for line in before if "error" in line or "Traceback" in line], ended.stderr
        for text in said:
            assert text in last, last
        for text in unsaid:
            assert text not in ended.stderr
        assert ended.stdout == ""

    def merge(self, path: str, value: Any) -> None:
        *steps, name = path.split(".")
        part: Any = self.command.job
        for step in steps:
            part = part[int(step)] if isinstance(part, list) else part[step]
        if value is None:
            del part[name]
        else:
            part[name] = value


@pytest.fixture
def rig(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Rig:
    asyncio.run(execute(postgres_url, *TABLE))
    table = f"here-{table_name}"
    loads.create_table(dynoxide, table)
    rule = {
        "name": "Order",
        "key": {"PK": "USER#{user_id}", "SK": "ORDER#{id}"},
        "include": "all",
        "attributes": {"Type": "Order"},
    }
    job = loads.job(postgres_url, dynoxide, table, source={"table": "orders"}, items=[rule])
    return Rig(Command(tmp_path, job))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("itmes", [], ("itmes", "did you mean 'items'")),
        ("source.tabel", "orders", ("source.tabel", "table")),
        ("items.0.atributes", {}, ("items[0].atributes", "attributes")),
        ("target.max_wcus", 5, ("target.max_wcus", "max_wcu")),
        ("name", None, ("name",)),
        ("name", "Orders!", ("name", "lower-case")),
        ("items", [], ("items",)),
        ("target.mode", "upsert", ("target.mode", "put")),
        ("source.type", "mysql", ("source.type", "postgres")),
        ("source.batch_rows", 0, ("source.batch_rows",)),
        ("items.0.key", {"PK": "x{"}, ("items[0].key.PK",)),
        ("options", {"nulls": "drop"}, ("options.nulls", "omit")),
        ("source.url", "${NO_SUCH_VARIABLE}", ("source.url", "NO_SUCH_VARIABLE")),
        # against the source
        ("source.table", "ordesr", ("source.table", "ordesr")),
        ("source.columns", ["id", "usr_id"], ("source.columns", "usr_id", "user_id")),
        ("source.where", "statsu = 'x'", ("source.where", "statsu")),
        ("source.where", "status = ", ("source.where",)),
        ("source.key", ["idd"], ("source.key", "idd")),
        ("source.key", ["doc"], ("source.key", "doc")),
        ("source.watermark", "updated", ("source.watermark", "updated")),
        ("source.watermark", "status", ("source.watermark", "status", "text")),
        ("source.embed", {"l": {"table": "lost", "on": {"order_id": "id"}}}, ("source.embed.l", "lost")),
        ("source.embed", {"l": {"table": "order_lines", "on": {"oid": "id"}}}, ("source.embed.l", "oid")),
        ("items.0.key", {"PK": "USER#{usr_id}", "SK": "x"}, ("items[0].key.PK", "usr_id", "user_id")),
        ("items.0.attributes", {"T": "{totl}"}, ("items[0].attributes.T", "totl", "total")),
        ("items.0.attributes", {"T": {"sql": "lower(statsu)"}}, ("items[0].attributes.T", "statsu")),
        ("items.0.attributes", {"T": {"sql": "lower(status"}}, ("items[0].attributes.T",)),
        ("items.0.attributes", {"T": "{at:%Q}"}, ("%Q",)),
        ("items.0.attributes", {"T": "x{lines}"}, ("items[0].attributes.T", "lines")),
        ("items.0.when", "nothing > 1", ("items[0].when", "nothing")),
        ("items.0.for_each", "liens", ("items[0].for_each", "liens", "lines")),
        ("items.0.include", ["stauts"], ("items[0].include", "stauts", "status")),
        ("transform", "no_such_module:f", ("transform", "no_such_module")),
        # against the target
        ("target.table", "absent", ("target.table", "absent", "backfill table create")),
        ("items.0.key", {"PK": "USER#{user_id}"}, ("items[0].key", "SK")),
        ("items.0.key", {"pk": "USER#{user_id}", "sk": "x"}, ("items[0].key", "PK", "SK")),
        ("items.0.key", {"PK": "{id}", "SK": "x"}, ("items[0]: PK", "type N")),
    ],
)  # fmt: skip
def test_a_job_that_doesnt_fit_is_refused(rig: Rig, path: str, value: Any, said: tuple[str, ...]) -> None:
    rig.merge(path, value)
    rig.refused(2, *said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [unclosed", "job.yaml"),
        ("", "job.yaml"),
        ("- a list", "job.yaml"),
        ("name: a\nname: b\n", "name"),
        ("name: \x00", "job.yaml"),
    ],
)
def test_a_file_that_is_no_job_is_refused(tmp_path: Path, text: str, said: str) -> None:
    command = Command(tmp_path, {})
    path = command.write_job()
    path.write_text(text)

    class Written(Command):
        def write_job(self) -> Path:
            return path

    Rig.judge(Written(tmp_path, {}).here("run"), 2, (said,))


def test_a_job_file_that_isnt_there(tmp_path: Path) -> None:
    class Absent(Command):
        def write_job(self) -> Path:
            return self.folder / "absent.yaml"

    Rig.judge(Absent(tmp_path, {}).here("run"), 2, ("absent.yaml",))


@pytest.mark.parametrize(
    "arguments", [("--wrokers", "2"), ("--workers", "0"), ("--set", "nonsense"), ("--only", "other")]
)
def test_a_command_line_that_doesnt_fit(rig: Rig, arguments: tuple[str, ...]) -> None:
    rig.refused(2, arguments=arguments)


@pytest.fixture(scope="module")
def guarded() -> Iterator[OwnPostgres]:
    with own_postgres(embedded_binaries(), "pgserver") as server:
        asyncio.run(execute(server.url(), *TABLE, "CREATE ROLE poor LOGIN PASSWORD 'poor1234'",
                            "CREATE DATABASE other"))  # fmt: skip
        yield server


def test_a_wrong_password_or_user_or_database(rig: Rig, guarded: OwnPostgres) -> None:
    rig.merge("source.url", guarded.url(password="wr0ng/w0rd"))
    rig.refused(2, "source.url", "password", unsaid=("wr0ng", PASSWORD))
    rig.merge(
        "source.url", guarded.url().replace("postgres:", "nobody:", 1).replace("nobody://", "postgres://")
    )
    rig.refused(2, "source.url", unsaid=(PASSWORD,))
    rig.merge("source.url", guarded.url(database="nothing"))
    rig.refused(2, "source.url", "nothing", unsaid=(PASSWORD,))
    rig.merge("source.url", guarded.url() + "?sslmode=require")
    rig.refused(2, "source.url", "SSL", unsaid=(PASSWORD,))


def test_passwords_of_the_password_file(
    guarded: OwnPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passwords"
    monkeypatch.setenv("PGPASSFILE", str(file))
    asyncio.run(execute(guarded.url(), r"ALTER ROLE poor PASSWORD 'a:b\c '"))
    url = f"postgresql://poor@127.0.0.1:{guarded.port}/postgres"
    file.write_text("short:line\n127.0.0.1:*:postgres:poor:a\\:b\\\\c \n")
    file.chmod(0o600)

    async def log_in() -> None:
        await abandon(await connect(url))

    asyncio.run(log_in())
    file.chmod(0o644)
    with pytest.raises(JobError, match="chmod 600"):
        asyncio.run(log_in())
    asyncio.run(execute(guarded.url(), "ALTER ROLE poor PASSWORD 'poor1234'"))


def test_a_role_without_rights(rig: Rig, guarded: OwnPostgres) -> None:
    rig.merge("source.url", f"postgresql://poor:poor1234@127.0.0.1:{guarded.port}/postgres")
    rig.refused(2, "source.table", "permission denied", unsaid=("poor1234",))


def test_nobody_at_the_sources_address(rig: Rig) -> None:
    rig.merge("source.url", f"postgresql://u:hidden99@127.0.0.1:{free_port()}/db")
    rig.refused(1, "source.url", "127.0.0.1", unsaid=("hidden99",))
    rig.merge("source.url", "postgresql://u:hidden99@no-such-host.invalid/db")
    rig.refused(1, "source.url", "no-such-host.invalid", unsaid=("hidden99",))


def test_nobody_at_the_targets_address(rig: Rig) -> None:
    rig.merge("target.table", "gone")
    rig.merge("target.endpoint_url", f"http://127.0.0.1:{free_port()}")
    rig.refused(1, "127.0.0.1")
    rig.merge("target.endpoint_url", "http://no-such-host.invalid:8000")
    rig.refused(1, "no-such-host.invalid")


@pytest.fixture
def bare(rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rig:
    """The real endpoint, and nothing of AWS in the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    rig.merge("target.endpoint_url", None)
    return rig


def test_no_credentials(bare: Rig) -> None:
    bare.refused(2, "credentials")


def test_no_region(bare: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x" * 40)
    bare.merge("target.region", None)
    bare.refused(2, "target.region")


def test_no_such_profile(bare: Rig) -> None:
    bare.merge("target.profile", "nobody")
    bare.refused(2, "target.profile", "nobody")


def test_a_state_directory_that_cant_be(rig: Rig) -> None:
    (rig.command.folder / ".backfill").write_text("a file")
    rig.refused(2, ".backfill", "--state")


def test_of_several_jobs_the_one_that_doesnt_fit_is_named(rig: Rig) -> None:
    whole = dict(rig.command.job)
    entry = {key: whole.pop(key) for key in ("name", "source", "items")}
    bad = [{**entry["items"][0], "when": "nothing > 1"}]
    jobs = [{**entry, "name": "first", "items": bad}, {**entry, "name": "second"}]
    rig.command.job.clear()
    rig.command.job.update(whole, jobs=jobs)
    rig.refused(2, "first: items[0].when", "nothing")
