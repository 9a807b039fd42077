"""Dead letters whose cause was mended are written; the others stay, with the reason that holds now."""

from contextlib import asynccontextmanager

import pytest

from bench import servers
from engine.commands.ends import Ends
from engine.commands.redrive.redriving import RedriveOptions, redrive
from engine.errors import PermanentError
from engine.job.model import Job
from tests.support import loads
from tests.support.command import Command

ROWS = """
CREATE TABLE people (id bigint PRIMARY KEY, email text, age numeric);
INSERT INTO people
SELECT g, CASE WHEN g % 10 = 0 THEN NULL ELSE 'u' || g END, g FROM generate_series(1, 100) g;
"""


def job(url: str, endpoint: str, table: str, state: dict) -> dict:
    return {
        "name": "people",
        "source": {"type": "postgres", "url": url, "table": "people"},
        "target": {
            "type": "dynamodb",
            "table": table,
            "endpoint_url": endpoint,
            "region": "us-east-1",
            "create": {"partition_key": "PK", "sort_key": None},
        },
        "items": [{"name": "Person", "key": {"PK": "{email}#{id}"}, "attributes": {"age": "{age}"}}],
        "state": state,
    }


@pytest.fixture(params=["sqlite", "dynamodb"])
def loaded(request, tmp_path, postgres_url, dynoxide, table_name):
    """A load that has left ten dead letters."""
    state = {"type": "sqlite"}
    if request.param == "dynamodb":
        state = {"type": "dynamodb", "table": f"{table_name}-state", "endpoint_url": dynoxide}
        state["region"] = "us-east-1"
    servers.execute(postgres_url, ROWS)
    command = Command(tmp_path, job(postgres_url, dynoxide, table_name, state))
    assert command.here("table create").code == 0
    assert command.here("run", "--workers", "1").code == 3
    assert len(command.dead_letters()) == 10
    return command, postgres_url


def test_letters_whose_rows_were_mended_leave_the_file(loaded):
    command, url = loaded
    servers.execute(url, "UPDATE people SET email = 'mended' || id WHERE id <= 50 AND email IS NULL")
    servers.execute(url, "DELETE FROM people WHERE id = 100")
    ended = command.here("redrive", "--json")
    assert ended.code == 3, ended.stderr
    report = ended.report
    assert (report["tried"], report["settled"], report["left"], report["gone"]) == (10, 5, 5, 1)
    assert report["items_written"] == 5
    assert {letter["source_key"]["id"] for letter in command.dead_letters()} == {
        "60",
        "70",
        "80",
        "90",
        "100",
    }
    servers.execute(url, "UPDATE people SET email = 'x', age = 'NaN' WHERE id = 60")
    assert command.here("redrive", "--drop-gone").code == 3
    left = {letter["source_key"]["id"]: letter["reason"] for letter in command.dead_letters()}
    assert left == {"60": "number_not_finite", "70": "key_null", "80": "key_null", "90": "key_null"}
    verified = command.here("verify", "--full", "--json")
    assert verified.code == 0, verified.stdout
    assert (verified.report["matched"], verified.report["dead_lettered"]) == (95, 4)


def test_a_changed_mapping_settles_letters_and_the_file_goes(loaded):
    command, _ = loaded
    command.job["items"][0]["key"]["PK"] = "#{id}"
    ended = command.here("redrive", "--json")
    assert ended.code == 0, ended.stderr
    assert (ended.report["settled"], ended.report["left"]) == (10, 0)
    assert command.dead_letters() == []
    assert command.here("redrive", "--json").report["tried"] == 0


def test_another_table_is_refused_and_the_letters_stay(loaded):
    command, _ = loaded
    command.job["target"]["table"] += "-other"
    assert command.here("table create").code == 0
    ended = command.here("redrive")
    assert ended.code == 2
    assert "target changed" in ended.stderr
    assert len(command.dead_letters()) == 10


def test_keys_of_any_time_lead_back_and_one_that_is_none_stops_no_other(
    tmp_path, postgres_url, dynoxide, table_name
):
    servers.execute(
        postgres_url,
        "CREATE TABLE people (day date PRIMARY KEY, email text, age int);"
        "INSERT INTO people VALUES ('0044-03-15 BC'), ('0001-12-31 BC'), ('2024-01-01'), ('infinity')",
    )
    document = job(postgres_url, dynoxide, table_name, {"type": "sqlite"})
    document["items"][0]["key"]["PK"] = "{email}#{day}"
    command = Command(tmp_path, document)
    assert command.here("table create").code == 0
    assert command.here("run", "--workers", "1").code == 3
    path = next(tmp_path.rglob("dead-letters.jsonl"))
    lines = path.read_text().splitlines(keepends=True)
    assert {line.partition('"day":"')[2].partition('"')[0] for line in lines} == {
        "-0043-03-15",
        "0000-12-31",
        "2024-01-01",
        "infinity",
    }
    # As where the key had another type when the letter was written.
    path.write_text("".join([lines[0].replace('"day":"', '"day":"no date '), *lines]))
    servers.execute(postgres_url, "UPDATE people SET email = 'mended'")
    ended = command.here("redrive", "--json")
    assert ended.code == 3, ended.stderr
    report = ended.report
    assert (report["tried"], report["settled"], report["left"], report["gone"]) == (5, 4, 1, 0)
    (notice,) = report["notices"]
    assert "1 of 5 keys can't be values of day date, such as no date" in notice
    (left,) = command.dead_letters()
    assert left["source_key"]["day"].startswith("no date ")


def test_letters_stay_when_the_table_was_replaced_meanwhile(loaded, monkeypatch):
    command, url = loaded
    servers.execute(url, "UPDATE people SET email = 'mended' || id WHERE email IS NULL")
    target = command.job["target"]
    really = Ends.watch

    @asynccontextmanager
    async def replaced_at_the_last(ends):
        async with really(ends) as look:

            async def late():
                loads.client(target["endpoint_url"]).delete_table(TableName=target["table"])
                loads.create_table(target["endpoint_url"], target["table"], sort_key=None)
                return await look()

            yield late

    monkeypatch.setattr(Ends, "watch", replaced_at_the_last)
    before = command.dead_letters()
    ended = command.here("redrive", "--json")
    assert ended.code == 1, ended.stderr
    assert "was replaced" in ended.stderr
    assert command.dead_letters() == before


async def test_refusals_do_not_end_a_redrive(monkeypatch, tmp_path, table_name):
    """Good letters may lie behind a thousand bad ones."""
    asked = []

    async def open_store(job, state_dir, tell):
        asked.append(job.target.stop_after_refusals)
        raise PermanentError("that is all")

    monkeypatch.setattr("engine.commands.redrive.redriving.open_store", open_store)
    made = Job.model_validate(
        job("postgres://127.0.0.1/x", "http://127.0.0.1:1", table_name, {"type": "sqlite"})
    )
    assert made.target.stop_after_refusals == 1_000
    with pytest.raises(PermanentError, match="that is all"):
        await redrive([made], RedriveOptions(tmp_path), print)
    assert asked == [None]


def test_letters_stay_in_sight_until_they_are_settled(tmp_path, postgres_url, dynoxide, table_name):
    servers.execute(postgres_url, ROWS)
    servers.execute(postgres_url, "ALTER TABLE people ADD updated_at timestamptz NOT NULL DEFAULT now()")
    state = {"type": "dynamodb", "table": f"{table_name}-state", "endpoint_url": dynoxide}
    document = job(postgres_url, dynoxide, table_name, {**state, "region": "us-east-1"})
    document["source"]["watermark"] = {"column": "updated_at", "overlap": "0s"}
    command = Command(tmp_path, document)
    assert command.here("table create").code == 0
    assert command.here("run", "--workers", "1").code == 3
    servers.execute(postgres_url, "SELECT pg_sleep(0.01)")
    caught_up = command.here("run", "--workers", "1", "--json")
    told = caught_up.report
    assert (caught_up.code, told["kind"], told["items_dead_lettered"]) == (3, "catch_up", 0)
    assert told["dead_letters_open"] == 10
    for where in (["--state", str(tmp_path / "elsewhere")], []):
        status = command.here("status", *where)
        assert status.code == 3
        assert "10 dead letters of earlier runs are still open" in status.stdout
        assert "Nothing is left" not in status.stdout
    servers.execute(postgres_url, "UPDATE people SET email = 'mended' || id WHERE email IS NULL")
    assert command.here("redrive").code == 0
    status = command.here("status", "--json")
    assert (status.code, status.report["dead_letters_open"]) == (0, 0)


def with_letters(command, key, *statements):
    """Load people by a key that several of them make; those whose age is no number become letters."""
    servers.execute(command.job["source"]["url"], ";".join(statements))
    command.job["items"] = [{"name": "Person", "key": {"PK": key}}]
    command.job["items"][0]["attributes"] = {"of": "{id}", "age": {"value": "{age}", "as": "N"}}
    assert command.here("table create").code == 0
    assert command.here("run", "--workers", "1").code == 3
    letters = {letter["source_key"]["id"] for letter in command.dead_letters()}
    servers.execute(command.job["source"]["url"], "UPDATE people SET age = '9' WHERE age = 'none'")
    return letters


def test_of_rows_that_make_one_key_the_one_that_wins_is_written(postgres_url, dynoxide, table_name, tmp_path):
    """Rows 2n - 1 and 2n make one key: a mended one takes it from a row before it, from no row behind it."""
    command = Command(tmp_path, job(postgres_url, dynoxide, table_name, {"type": "sqlite"}))
    letters = with_letters(
        command,
        "{email}",
        "CREATE TABLE people (id int PRIMARY KEY, email text, age text)",
        "INSERT INTO people SELECT g, 'x' || (g + 1) / 2, CASE WHEN g % 7 = 0 THEN 'none' ELSE '7' END"
        " FROM generate_series(1, 60) g",
    )
    assert letters == {str(n) for n in range(7, 61, 7)}
    ended = command.here("redrive", "--json")
    assert ended.code == 0, ended.stderr
    assert (ended.report["settled"], ended.report["left"]) == (8, 0)
    items = loads.items(dynoxide, table_name)
    assert {int(item["of"]["N"]) for item in items.values()} == set(range(2, 61, 2))
    verified = command.here("verify", "--full", "--json")
    assert (verified.code, verified.report["consistency_percent"]) == (0, 100)


def test_where_a_keys_rows_cannot_be_found_no_item_is_written_over(
    postgres_url, dynoxide, table_name, tmp_path
):
    command = Command(tmp_path, job(postgres_url, dynoxide, table_name, {"type": "sqlite"}))
    with_letters(
        command,
        "{day:%Y-%m}",
        "CREATE TABLE people (id int PRIMARY KEY, day date, age text)",
        "INSERT INTO people VALUES (1, '2024-01-01', '1'), (2, '2024-01-01', 'none'),"
        " (3, '2024-02-01', 'none')",
    )
    ended = command.here("redrive", "--json")
    assert (ended.code, ended.report["settled"], ended.report["left"]) == (3, 1, 1)
    (left,) = command.dead_letters()
    assert (left["source_key"], "its key is taken" in left["detail"]) == ({"id": "2"}, True)
