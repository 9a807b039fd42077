"""verify finds what was damaged and nothing else; what it repairs stays repaired."""

import asyncio

import boto3
import pytest

from bench import servers
from engine.commands.verify import recheck, verification
from engine.run.worker import Usage
from tests.support.command import Command

ROWS = """
CREATE TABLE orders (id bigint PRIMARY KEY, email text, total numeric, tags text[], gone boolean, v int);
INSERT INTO orders
SELECT g, 'u' || g || '@example.com', g / 4.0, ARRAY['a', 'b' || g], g % 50 = 0, 1
FROM generate_series(1, 2000) g;
"""


def job(url: str, endpoint: str, table: str, **target) -> dict:
    return {
        "name": "orders",
        "source": {"type": "postgres", "url": url, "table": "orders"},
        "target": {
            "type": "dynamodb",
            "table": table,
            "endpoint_url": endpoint,
            "region": "us-east-1",
            "create": {"partition_key": "PK", "sort_key": "SK"},
            **target,
        },
        "items": [
            {
                "name": "Order",
                "key": {"PK": "ORDER#{id}", "SK": "#"},
                "attributes": {
                    "email": "{email}",
                    "total": "{total}",
                    "tags": {"value": "{tags}", "as": "SS"},
                    "v": "{v}",
                },
                "delete_when": "gone",
            }
        ],
    }


class Loaded:
    """A loaded table, and a way to damage it."""

    def __init__(self, folder, url, endpoint, table, **target):
        self.url, self.name = url, table
        self.command = Command(folder, job(url, endpoint, table, **target))
        self.client = boto3.client("dynamodb", endpoint_url=endpoint, region_name="us-east-1")
        assert self.command.here("table create").code == 0

    def run(self):
        ended = self.command.here("run", "--workers", "1", "--fresh")
        assert ended.code == 0, ended.stderr
        return self

    def verify(self, *arguments, code=0):
        ended = self.command.here("verify", "--json", *arguments)
        assert ended.code == code, (ended.stdout, ended.stderr)
        return ended.report

    def sql(self, statement):
        servers.execute(self.url, statement)

    def key(self, number):
        return {"PK": {"S": f"ORDER#{number}"}, "SK": {"S": "#"}}

    def set(self, number, **attributes):
        key = self.key(number)
        item = self.client.get_item(TableName=self.name, Key=key).get("Item", key)
        self.client.put_item(TableName=self.name, Item={**item, **attributes})

    def delete(self, number):
        self.client.delete_item(TableName=self.name, Key=self.key(number))

    def put(self, pk, **attributes):
        item = {"PK": {"S": pk}, "SK": {"S": "#"}, **attributes}
        self.client.put_item(TableName=self.name, Item=item)

    def damage(self):
        """Change three items, take three away; put in a deleted row's, no row's and a stranger's."""
        for number in (7, 501, 1501):
            self.set(number, email={"S": "changed"})
        for number in (9, 999, 1999):
            self.delete(number)
        self.put("ORDER#100", email={"S": "its row says that it is deleted"})
        self.put("ORDER#9999999", email={"S": "no row"})
        self.put("CONFIG#1", email={"S": "not of this job"})


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(recheck, "PAUSES_S", (0.0, 0.0, 0.0))


@pytest.fixture
def loaded(tmp_path, postgres_url, dynoxide, table_name) -> Loaded:
    servers.execute(postgres_url, ROWS)
    return Loaded(tmp_path, postgres_url, dynoxide, table_name).run()


def counts(report):
    return tuple(report[name] for name in ("matched", "mismatched", "missing", "extra"))


@pytest.mark.parametrize("read", ["scan", "get"])
def test_planted_damage_is_found_and_nothing_else(loaded, read):
    assert counts(loaded.verify("--full", "--read", read)) == (2000, 0, 0, 0)
    loaded.set(7, email={"S": "u7@example.con"})
    loaded.set(8, total={"N": "2.00"}, tags={"SS": ["b8", "a"]})
    loaded.delete(9)
    loaded.put("ORDER#100", email={"S": "its row says that it is deleted"})
    loaded.put("CONFIG#1", email={"S": "not of this job"})
    report = loaded.verify("--full", "--read", read, code=4)
    assert counts(report) == (1997, 1, 1, 1)
    assert report["consistency_percent"] == 99.85
    by_kind = {each["kind"]: each for each in report["differences"]}
    assert by_kind["mismatched"]["key"] == loaded.key(7)
    assert by_kind["mismatched"]["attributes"] == {
        "email": {"source": {"S": "u7@example.com"}, "target": {"S": "u7@example.con"}}
    }
    assert by_kind["missing"]["key"] == loaded.key(9)
    assert by_kind["extra"]["key"] == loaded.key(100)


def test_repair_leaves_nothing_and_deletes_only_when_told(loaded):
    loaded.set(7, email={"S": "changed"})
    loaded.delete(9)
    loaded.put("ORDER#9999999", email={"S": "no row"})
    loaded.put("ORDER#not-a-number", email={"S": "a key that no row can have"})
    loaded.put("CONFIG#1", email={"S": "not of this job"})
    repaired = loaded.verify("--full", "--repair", code=4)
    assert (repaired["repaired"], repaired["deleted"], repaired["left"]) == (2, 0, 1)
    assert counts(loaded.verify("--full", code=4)) == (2000, 0, 0, 1)
    deleted = loaded.verify("--full", "--repair", "--delete-extra")
    assert (deleted["deleted"], deleted["left"]) == (1, 0)
    report = loaded.verify("--full")
    assert counts(report) == (2000, 0, 0, 0)
    assert report["not_ours"] == 2


def test_nothing_is_deleted_when_the_source_gives_no_rows(loaded):
    loaded.sql("DELETE FROM orders")
    report = loaded.verify("--full", "--repair", "--delete-extra", code=4)
    assert (report["extra"], report["deleted"]) == (1960, 0)
    assert any("gave no rows" in notice for notice in report["notices"])
    assert "Count" in loaded.client.scan(TableName=loaded.name, Select="COUNT")


def test_memory_is_told_in_units_of_the_report(loaded, monkeypatch):
    monkeypatch.setattr(verification, "usage", lambda: Usage(1.0, 250_000_000))
    assert loaded.verify()["peak_rss_mb"] == 250.0


def test_a_sample_looks_in_both_directions(loaded):
    assert loaded.verify("--sample", "300", "--seed", "7")["checked"] >= 300
    for number in range(1, 1001):
        loaded.delete(number)
    report = loaded.verify("--sample", "300", code=4)
    assert report["missing"] > 100
    loaded.run()
    loaded.sql("DELETE FROM orders WHERE id > 200")
    report = loaded.verify("--sample", "300", code=4)
    assert report["missing"] == report["mismatched"] == 0
    assert report["extra"] > 0
    with_repair = loaded.verify("--sample", "50", "--repair", code=4)
    assert with_repair["deleted"] == 0


def test_what_the_mode_explains_is_no_difference(tmp_path, postgres_url, dynoxide, table_name):
    servers.execute(postgres_url, ROWS)
    newer = Loaded(tmp_path, postgres_url, dynoxide, table_name, mode="newer", version="v").run()
    newer.set(7, v={"N": "2"}, email={"S": "newer"})
    newer.set(8, email={"S": "the same version"})
    report = newer.verify("--full", code=4)
    assert (counts(report), report["newer_in_target"]) == ((1999, 1, 0, 0), 1)
    newer.command.job["target"] |= {"mode": "insert"}
    newer.command.job["target"].pop("version")
    newer.delete(9)
    report = newer.verify("--full", "--repair")
    assert (counts(report), report["kept"], report["repaired"]) == ((1959, 0, 1, 0), 2, 1)
    kept = newer.client.get_item(TableName=table_name, Key=newer.key(8))["Item"]
    assert kept["email"] == {"S": "the same version"}


def test_rows_that_change_while_it_looks_are_looked_at_again(loaded, monkeypatch):
    """The row and its item change between the two looks, and agree in the second."""

    async def both_change(_):
        if not changed:
            changed.append(True)
            await servers.admin_execute(loaded.url, "UPDATE orders SET email = 'new' WHERE id = 7")
            row = "INSERT INTO orders VALUES (5000, 'x', 1, ARRAY['a'], false, 1)"
            await servers.admin_execute(loaded.url, row)
            await asyncio.to_thread(loaded.set, 7, email={"S": "new"})

    changed: list[bool] = []
    loaded.set(7, email={"S": "ahead of its row"})
    loaded.put("ORDER#5000", email={"S": "x"}, total={"N": "1"}, tags={"SS": ["a"]}, v={"N": "1"})
    monkeypatch.setattr(recheck, "pause", both_change)
    report = loaded.verify("--full")
    assert counts(report) == (2001, 0, 0, 0)
    assert report["looked_again"] == 2


def test_where_keys_repeat_the_last_row_is_what_counts(tmp_path, postgres_url, dynoxide, table_name):
    servers.execute(postgres_url, ROWS)
    loaded = Loaded(tmp_path, postgres_url, dynoxide, table_name)
    rule = loaded.command.job["items"][0]
    rule["key"]["PK"] = "TENTH#{email}"
    del rule["delete_when"]
    loaded.sql("UPDATE orders SET email = 'm' || id % 10")
    loaded.run()
    assert counts(loaded.verify("--full")) == (10, 0, 0, 0)
    key = {"PK": {"S": "TENTH#m3"}, "SK": {"S": "#"}}
    item = loaded.client.get_item(TableName=table_name, Key=key)["Item"]
    loaded.client.put_item(TableName=table_name, Item={**item, "total": {"N": "0.75"}})  # the first row's
    report = loaded.verify("--full", "--repair")
    assert (counts(report), report["repaired"]) == ((9, 1, 0, 0), 1)
    assert loaded.client.get_item(TableName=table_name, Key=key)["Item"]["total"] == item["total"]


def test_jobs_of_one_table_are_held_against_it_together(tmp_path, postgres_url, dynoxide, table_name):
    servers.execute(postgres_url, ROWS)
    loaded = Loaded(tmp_path, postgres_url, dynoxide, table_name)
    one = loaded.command.job
    halves = []
    for name, where in (("low", "id <= 1000"), ("high", "id > 1000")):
        source = {**one["source"], "where": where}
        halves.append({"name": name, "source": source, "items": one["items"]})
    target = one["target"]
    one.clear()
    one |= {"target": target, "jobs": halves}
    ended = loaded.command.here("run", "--workers", "1")
    assert ended.code == 0, ended.stderr
    report = loaded.verify("--full")
    assert (report["jobs"], counts(report)) == (["low", "high"], (2000, 0, 0, 0))


def test_extra_items_are_found_where_reading_by_key_would_cost_less(
    tmp_path, postgres_url, simulator, table_name
):
    servers.execute(postgres_url, f"{ROWS}; DELETE FROM orders WHERE id > 20; ANALYZE orders")
    loaded = Loaded(tmp_path, postgres_url, simulator, table_name).run()
    for number in range(30):
        loaded.put(f"CONFIG#{number}", filling={"S": "x" * 8_000})
    for number in range(100, 112):
        loaded.put(f"ORDER#{number}")
    assert loaded.verify("--full", code=4)["extra"] == 12
    assert loaded.verify("--full", "--repair", "--delete-extra")["deleted"] == 12
    ended = loaded.command.here("verify", "--full")
    assert "--read get reads only what rows give" in ended.stderr
    assert "NOT" not in ended.stdout
    by_key = loaded.command.here("verify", "--full", "--read", "get")
    assert by_key.code == 0
    assert "items that no row gives were NOT looked for" in by_key.stdout.splitlines()[0]
