"""Where several rows give one key, verify holds the target to the row that a run leaves there."""

import pytest

from bench import servers
from engine.commands.verify import recheck
from tests.integration.test_verify import Loaded, counts

ROWS = """
CREATE TABLE orders (id bigint PRIMARY KEY, email text, total numeric, v {version} NOT NULL);
INSERT INTO orders
SELECT g, 'u' || (g - 1) % 300, g, {value}
FROM generate_series(1, 900) g;
"""
FIRST, SECOND, THIRD = 7, 307, 607
"""Three rows of one key, in three batches."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(recheck, "PAUSES_S", (0.0, 0.0, 0.0))


@pytest.fixture
def load(tmp_path, postgres_url, dynoxide, table_name):
    def load(kind, value, *, workers=1, **target):
        servers.execute(postgres_url, ROWS.format(version=kind, value=value))
        loaded = Loaded(tmp_path, postgres_url, dynoxide, table_name, **target)
        loaded.command.job["source"]["batch_rows"] = 100
        loaded.command.job["items"] = [
            {
                "name": "Latest",
                "key": {"PK": "USER#{email}", "SK": "#"},
                "attributes": {"total": "{total}", "v": "{v}"},
            }
        ]
        if workers == 1:
            return loaded.run()
        loaded.command.job["source"]["segments"] = 6
        ended = loaded.command.run("run", "--workers", str(workers))
        assert ended.code == 0, ended.stderr
        return loaded

    return load


class Item:
    """What the table has under the key of the three rows."""

    def __init__(self, loaded):
        self.loaded, self.key = loaded, {"PK": {"S": "USER#u6"}, "SK": {"S": "#"}}

    @property
    def total(self):
        return self.whole["total"]["N"]

    @property
    def whole(self):
        return self.loaded.client.get_item(TableName=self.loaded.name, Key=self.key)["Item"]

    def put(self, **attributes):
        item = {**self.whole, **attributes}
        self.loaded.client.put_item(TableName=self.loaded.name, Item=item)

    def delete(self):
        self.loaded.client.delete_item(TableName=self.loaded.name, Key=self.key)


# The highest version is in the second batch, as a number, as a text, and twice.
VERSIONS = {
    "number": ("numeric", "CASE (g - 1) / 300 WHEN 0 THEN 2.5 WHEN 1 THEN 10 ELSE 9.5 END", {"N": "9.9"}),
    "text": ("text", "CASE (g - 1) / 300 WHEN 0 THEN 'b' WHEN 1 THEN 'c' ELSE 'bb' END", {"S": "bc"}),
    "long text": (
        "text",
        "repeat('x', 100) || CASE (g - 1) / 300 WHEN 0 THEN 'b' WHEN 1 THEN 'c' ELSE 'bb' END",
        {"S": "x" * 100 + "bc"},
    ),
    "twice": ("int", "CASE (g - 1) / 300 WHEN 0 THEN 1 ELSE 2 END", {"N": "1.5"}),
}


@pytest.mark.parametrize("case", VERSIONS.values(), ids=VERSIONS.keys())
def test_newer_the_first_of_the_highest_version_counts(load, case):
    kind, value, between = case
    loaded = load(kind, value, mode="newer", version="v")
    item = Item(loaded)
    assert item.total == str(SECOND)
    report = loaded.verify("--full", "--repair")
    assert (counts(report), report["newer_in_target"], report["repaired"]) == ((300, 0, 0, 0), 0, 0)

    item.put(v=between, total={"N": str(THIRD)})  # newer than the last row's, older than what was there
    report = loaded.verify("--full", code=4)
    assert (counts(report), report["newer_in_target"]) == ((299, 1, 0, 0), 0)
    report = loaded.verify("--full", "--repair")
    assert (report["repaired"], item.total) == (1, str(SECOND))

    item.delete()
    report = loaded.verify("--full", "--repair")
    assert (report["missing"], report["repaired"], item.total) == (1, 1, str(SECOND))
    report = loaded.verify("--full")
    assert (counts(report), report["newer_in_target"]) == ((300, 0, 0, 0), 0)


def test_insert_what_is_there_is_kept_and_the_first_row_is_what_is_written(load):
    loaded = load("int", "1", mode="insert")
    item = Item(loaded)
    assert item.total == str(FIRST)
    report = loaded.verify("--full", "--repair")
    assert (counts(report), report["repaired"]) == ((300, 0, 0, 0), 0)
    item.put(total={"N": "0"})
    report = loaded.verify("--full", "--repair")
    assert (counts(report), report["looked_again"], item.total) == ((300, 0, 0, 0), 0, "0")
    item.delete()
    report = loaded.verify("--full", "--repair")
    assert (report["missing"], report["repaired"], report["left"], item.total) == (1, 1, 0, str(FIRST))


def test_put_the_last_row_counts(load):
    loaded = load("int", "1")
    item = Item(loaded)
    assert item.total == str(THIRD)
    assert counts(loaded.verify("--full")) == (300, 0, 0, 0)
    item.put(total={"N": str(FIRST)})
    report = loaded.verify("--full", "--repair")
    assert (report["mismatched"], report["repaired"], item.total) == (1, 1, str(THIRD))


@pytest.mark.parametrize(("mode", "row"), [("put", THIRD), ("insert", FIRST)])
def test_what_several_workers_have_left_is_right_in_each_way_of_reading(load, mode, row):
    loaded = load("int", "1", workers=2, mode=mode)
    assert Item(loaded).total == str(row)
    for way in (["--full"], ["--full", "--read", "get"], ["--sample", "200"]):
        assert loaded.verify(*way)["consistency_percent"] == 100


def test_by_key_each_row_is_compared_and_the_report_says_so(load):
    loaded = load("int", "1")
    report = loaded.verify("--full", "--read", "get")
    assert (counts(report), report["looked_again"]) == ((900, 0, 0, 0), 600)
    assert any("counted once for each" in notice for notice in report["notices"])
    Item(loaded).put(total={"N": str(FIRST)})
    report = loaded.verify("--full", "--read", "get", code=4)
    assert report["mismatched"] >= 1
