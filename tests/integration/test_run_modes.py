"""Sources and modes of every kind through the whole command: what the table then holds, and the counts."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support import loads
from tests.support.command import Command, Ended
from tests.support.pg import execute
from tests.support.plain_values import plain

ROWS = 3_000


@pytest.fixture
def load(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Any:
    """Make tables with these statements and a job with these changes; give the command."""
    loads.create_table(dynoxide, table_name)

    def make(*statements: str, **changes: Any) -> Command:
        asyncio.run(execute(postgres_url, *statements))
        return Command(tmp_path, loads.job(postgres_url, dynoxide, table_name, **changes))

    return make


def run(command: Command, *arguments: str, code: int = 0) -> Ended:
    ended = command.here("run", "--json", "--workers", "1", *arguments)
    assert ended.code == code, ended.stderr
    return ended


def table(command: Command) -> dict[str, dict[str, Any]]:
    target = command.job["target"]
    return loads.items(target["endpoint_url"], target["table"])


def texts(command: Command, name: str = "v") -> dict[str, Any]:
    """Return one attribute of every item, without its type."""
    return {place: next(iter(item[name].values())) for place, item in table(command).items()}


def put(command: Command, **attributes: Any) -> None:
    target = command.job["target"]
    item = {
        name: {"S": value} if isinstance(value, str) else {"N": str(value)}
        for name, value in attributes.items()
    }
    loads.client(target["endpoint_url"]).put_item(TableName=target["table"], Item=item)


def test_insert_keeps_what_is_there_and_deletes_nothing(load: Any) -> None:
    command = load(
        "CREATE TABLE t (id int PRIMARY KEY, v text, gone bool)",
        "INSERT INTO t SELECT n, 'source', n = 4 FROM generate_series(1, 60) n",
        target={"mode": "insert"},
        items=[
            {
                "name": "Row",
                "key": {"PK": "ROW#{id}", "SK": "ROW"},
                "attributes": {"v": "{v}"},
                "delete_when": "gone",
            }
        ],
    )
    for number in (3, 4, 59):
        put(command, PK=f"ROW#{number}", SK="ROW", v="kept")
    report = run(command).report
    kept = {f"ROW#{n}|ROW": "kept" if n in (3, 4, 59) else "source" for n in range(1, 61)}
    assert texts(command) == kept
    assert (report["items_written"], report["items_skipped"], report["items_deleted"]) == (57, 3, 0)
    loads.assert_balanced(report)


def test_newer_writes_only_what_is_newer(load: Any) -> None:
    command = load(
        "CREATE TABLE t (id int PRIMARY KEY, v text, version int, gone bool NOT NULL DEFAULT false)",
        "INSERT INTO t SELECT n, 'new', CASE WHEN n < 7 THEN 5 END, n IN (5, 6) FROM generate_series(1, 7) n",
        target={"mode": "newer", "version": "version"},
        items=[
            {
                "name": "Row",
                "key": {"PK": "ROW#{id}", "SK": "ROW"},
                "include": ["v", "version"],
                "delete_when": "gone",
            }
        ],
    )
    there = {2: 4, 3: 5, 4: 6, 5: 4, 6: 9}
    for number, version in there.items():
        put(command, PK=f"ROW#{number}", SK="ROW", v="old", version=version)
    report = run(command, code=3).report
    assert texts(command) == {
        "ROW#1|ROW": "new", "ROW#2|ROW": "new", "ROW#3|ROW": "old", "ROW#4|ROW": "old", "ROW#6|ROW": "old",
    }  # fmt: skip
    assert (report["items_written"], report["items_deleted"], report["items_skipped"]) == (2, 1, 3)
    assert [letter["source_key"] for letter in command.dead_letters()] == [{"id": "7"}]
    loads.assert_balanced(report)


def test_of_rows_with_one_item_key_the_newest_wins(load: Any) -> None:
    command = load(
        "CREATE TABLE t (id int PRIMARY KEY, account int NOT NULL, v text)",
        f"INSERT INTO t SELECT n, n * 7919 % 500, 'v' || n FROM generate_series(1, {ROWS}) n",
        source={"batch_rows": 200, "segments": 6},
        items=[{"name": "Last", "key": {"PK": "A#{account}", "SK": "LAST"}, "attributes": {"v": "{v}"}}],
    )
    ended = run(command)
    last = {f"A#{n * 7919 % 500}|LAST": f"v{n}" for n in range(1, ROWS + 1)}
    assert texts(command) == last
    report = ended.report
    assert report["items_emitted"] == ROWS
    assert report["items_coalesced"] == 0  # 500 accounts come round once in 500 rows, batches have 200
    assert report["items_written"] == ROWS
    assert "one ordered segment" in ended.stderr
    assert report["segments"]["total"] == 1


def test_equal_keys_in_one_batch_are_sent_once(load: Any) -> None:
    command = load(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 1000) n",
        items=[
            {"name": "One", "key": {"PK": "ONE", "SK": "x"}, "attributes": {"v": "{v}"}},
            {
                "name": "Few",
                "key": {"PK": "FEW#{id:02d}", "SK": "x"},
                "attributes": {"v": "{v}"},
                "when": "id < 3",
            },
            {
                "name": "Same",
                "key": {"PK": "ONE", "SK": "x"},
                "when": "id = 1000",
                "attributes": {"v": "last rule"},
            },
        ],
    )
    report = run(command).report
    assert texts(command) == {"ONE|x": "last rule", "FEW#01|x": "v1", "FEW#02|x": "v2"}
    assert (report["items_emitted"], report["items_coalesced"], report["items_written"]) == (1003, 1000, 3)


def test_a_run_does_not_go_on_under_another_primary_key(load: Any, postgres_url: str) -> None:
    command = load(
        "CREATE TABLE t (id int PRIMARY KEY, other int NOT NULL, v text)",
        "INSERT INTO t SELECT n, 301 - n, nullif(n, 150)::text FROM generate_series(1, 300) n",
        source={"batch_rows": 10},
        options={"on_invalid": "fail"},
        items=[{"name": "Row", "key": {"PK": "ROW#{id}", "SK": "{v}"}}],
    )
    run(command, code=1)
    asyncio.run(
        execute(
            postgres_url,
            "UPDATE t SET v = '150' WHERE id = 150",
            "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (other)",
        )
    )
    ended = run(command, code=2)  # behind other = 140 are the rows that are written already
    assert "key was id integer, is other integer" in ended.stderr
    run(command, "--fresh")
    assert len(table(command)) == 300


def test_jobs_run_in_order_and_only_runs_one(load: Any) -> None:
    command = load(
        "CREATE TABLE a (id int PRIMARY KEY, v text)",
        "CREATE TABLE b (id int PRIMARY KEY, v text)",
        "INSERT INTO a VALUES (1, 'a')",
        "INSERT INTO b VALUES (1, 'b')",
    )
    whole = dict(command.job)
    rule = [{"name": "Row", "key": {"PK": "ROW#{id}", "SK": "same"}, "attributes": {"v": "{v}"}}]
    command.job.clear()
    jobs = [
        {"name": name, "source": {**whole["source"], "table": name}, "items": rule} for name in ("b", "a")
    ]
    command.job.update({"target": whole["target"], "jobs": jobs})
    report = run(command, "--only", "b").report
    assert (report["job"], texts(command)) == ("b", {"ROW#1|same": "b"})
    reports = run(command, "--fresh").report["jobs"]
    assert [report["job"] for report in reports] == ["b", "a"]
    assert texts(command) == {"ROW#1|same": "a"}
    ended = command.here("run", "--only", "c")
    assert ended.code == 2
    assert "c" in ended.stderr


def test_a_failed_job_ends_the_sequence(load: Any) -> None:
    command = load("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'x')")
    whole = dict(command.job)
    entries = [
        {"name": "bad", "source": {**whole["source"], "where": "1 / (id - 1) > 0"}, "items": whole["items"]},
        {"name": "good", "source": whole["source"], "items": whole["items"]},
    ]
    command.job.clear()
    command.job.update({"target": whole["target"], "jobs": entries})
    ended = command.here("run", "--json", "--workers", "1")
    assert ended.code == 1
    assert "division by zero" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert table(command) == {}


def test_a_query_is_a_source(load: Any) -> None:
    command = load(
        "CREATE TABLE a (id int PRIMARY KEY, v text)",
        f"INSERT INTO a SELECT n, 'a;' || n FROM generate_series(1, {ROWS}) n",
        source={
            "query": "SELECT id, upper(v) AS v, -- a comment; and a semicolon\n"
            " count(*) OVER () AS n FROM a WHERE v <> 'a;7' ;",
            "key": ["id"],
            "batch_rows": 300,
        },
    )
    report = run(command).report
    items = table(command)
    assert items["ROW#8|ROW"] == {
        "PK": plain("ROW#8"), "SK": plain("ROW"), "id": plain(8), "v": plain("A;8"), "n": plain(ROWS - 1),
    }  # fmt: skip
    assert len(items) == report["items_written"] == ROWS - 1


def test_a_table_without_a_key_is_read_whole_and_says_so(load: Any) -> None:
    command = load(
        "CREATE TABLE t (id int, v text)",
        f"INSERT INTO t SELECT n, 'x' FROM generate_series(1, {ROWS}) n",
        "INSERT INTO t VALUES (NULL, 'no id')",
    )
    ended = run(command, code=3)
    assert "t has no key to resume from" in ended.stderr
    assert len(table(command)) == ended.report["items_written"] == ROWS
    (letter,) = command.dead_letters()
    assert (letter["reason"], letter["item"]["v"]) == ("key_null", {"S": "no id"})


def test_no_rows_are_a_complete_run(load: Any) -> None:
    command = load("CREATE TABLE t (id int PRIMARY KEY, v text)")
    report = run(command, "--workers", "2").report
    assert (report["outcome"], report["rows_read"], report["items_emitted"]) == ("complete", 0, 0)
    assert report["cpu_us_per_item"] is None
    assert report["segments"]["total"] == report["segments"]["complete"]


def test_partitions_views_and_generated_columns_arrive_whole(load: Any) -> None:
    command = load(
        "CREATE TABLE p (id int, day date NOT NULL, v text, twice int GENERATED ALWAYS AS (id * 2) STORED,"
        " PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2024-01-01') TO ('2024-07-01')",
        "CREATE TABLE p2 PARTITION OF p DEFAULT",
        f"INSERT INTO p SELECT n, date '2024-01-01' + n % 365, 'x' FROM generate_series(1, {ROWS}) n",
        "ANALYZE p",
        "CREATE VIEW big AS SELECT * FROM p WHERE id > 2990",
        source={"table": "p", "batch_rows": 250, "segments": 5},
    )
    report = run(command).report
    items = table(command)
    assert len(items) == report["items_written"] == report["rows_read"] == ROWS
    assert items["ROW#7|ROW"]["twice"] == plain(14)
    command.job["source"] = {**command.job["source"], "table": "big", "key": ["id"]}
    assert run(command, "--fresh").report["rows_read"] == 10


def test_a_composite_text_key_in_a_language_order_reads_every_row_once(load: Any) -> None:
    command = load(
        "CREATE COLLATION de (provider = libc, locale = 'C.UTF-8')",
        'CREATE TABLE t ("a b" text COLLATE de, "Größe" uuid, v text, PRIMARY KEY ("a b", "Größe"))',
        f"INSERT INTO t SELECT chr(65 + n % 50) || ' \\ '' \" é' || n / 50, gen_random_uuid(), n::text"
        f" FROM generate_series(1, {ROWS}) n",
        "ANALYZE t",
        source={"batch_rows": 100, "segments": 7},
        items=[
            {
                "name": "Row",
                "key": {"PK": '{"a b"}', "SK": '{"Größe"}'},
                "attributes": {"v": "{v}"},
            }
        ],
    )
    report = run(command, "--workers", "2").report
    assert sorted(texts(command).values(), key=int) == [str(n) for n in range(1, ROWS + 1)]
    assert report["rows_read"] == report["items_written"] == ROWS
    assert report["segments"]["total"] > 1
