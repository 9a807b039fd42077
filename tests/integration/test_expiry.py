"""A table with time to live: what DynamoDB deletes by itself is no difference, and stays deleted."""

import time

import pytest

from tests.integration.test_verify import Loaded

NOW = int(time.time())
PAST, FUTURE, LONG_AGO = NOW - 1_000, NOW + 100_000, 1_000_000
ROWS = f"""
CREATE TABLE orders (id bigint PRIMARY KEY, email text, v bigint);
INSERT INTO orders
SELECT g, 'u' || g, CASE WHEN g <= 10 THEN {PAST} WHEN g = 11 THEN {LONG_AGO} ELSE {FUTURE} END
FROM generate_series(1, 20) g;
"""


@pytest.fixture
def table(tmp_path, postgres_url, dynoxide, table_name):
    loaded = Loaded(tmp_path, postgres_url, dynoxide, table_name)
    loaded.command.job["items"][0] |= {
        "delete_when": "id < 0",
        "attributes": {"email": "{email}", "v": "{v}"},
    }
    loaded.sql(ROWS)
    loaded.client.update_time_to_live(
        TableName=table_name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "v"}
    )
    return loaded


@pytest.mark.parametrize("way", [("--full",), ("--full", "--read", "get")])
def test_what_has_expired_may_be_missing_and_stays_so(table, way):
    table.run()
    for number in range(1, 9):
        table.delete(number)
    found = table.verify(*way)
    assert (found["expired"], found["missing"], found["matched"]) == (8, 0, 12)
    table.delete(11)  # expired so long ago that DynamoDB never deletes it
    table.delete(12)
    table.set(9, email={"S": "damaged"})
    found = table.verify(*way, code=4)
    assert (found["expired"], found["missing"], found["mismatched"], found["matched"]) == (8, 2, 1, 9)
    if way == ("--full",):
        found = table.verify(*way, "--repair")
        assert (found["repaired"], found["expired"], found["left"]) == (3, 8, 0)
        assert not table.client.get_item(TableName=table.name, Key=table.key(1)).get("Item")


def test_a_plan_knows_by_what_items_expire(table):
    assert table.command.here("plan", "--json").report["table"]["ttl"] == "v"
    assert "items expire by v" in (said := table.command.here("plan").stdout)
    assert "10 items whose v lies in the past: DynamoDB deletes what was paid for" in said
    table.command.job["target"]["expired"] = "skip"
    plan = table.command.here("plan", "--json").report
    assert (plan["expired"], plan["write_units"]["table"]) == (10, 10)


def test_expired_rows_are_loaded_or_left_out_as_the_job_says(table):
    assert table.run().client.scan(TableName=table.name)["Count"] == 20
    for number in range(2, 21):
        table.delete(number)
    table.set(1, email={"S": "of another load"})
    table.command.job["target"]["expired"] = "skip"
    ended = table.command.here("run", "--fresh", "--json")
    assert ended.code == 0, ended.stderr
    report = ended.report
    assert (report["items_written"], report["items_skipped"], report["items_emitted"]) == (10, 10, 20)
    found = table.verify("--full", code=4)
    assert (found["matched"], found["expired"], found["mismatched"]) == (10, 9, 1), (
        "what is there must be equal"
    )
    assert table.verify("--full", "--repair")["repaired"] == 1


def test_nothing_is_left_out_of_a_table_of_which_nothing_expires(table):
    table.command.job["target"]["expired"] = "skip"
    off = {"Enabled": False, "AttributeName": "v"}
    table.client.update_time_to_live(TableName=table.name, TimeToLiveSpecification=off)
    ended = table.command.here("run")
    assert ended.code == 2
    assert "target.expired: skip leaves out what the time to live" in ended.stderr
