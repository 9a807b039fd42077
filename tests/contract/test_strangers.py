"""A stranger's source and target go through every command, added by one registration each."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from engine.contracts.target import TargetAbilities
from engine.registry import SOURCES, TARGETS
from tests.support import toy_source, toy_target
from tests.support.toy_source import DRAWERS
from tests.support.toy_target import SHELVES
from tests.unit.cli.conftest import backfill, logging_and_signals_as_they_were

__all__ = ["backfill", "logging_and_signals_as_they_were"]

ROWS = 1_000
LONG = "1234567890123456789012345678901234567890"
"""40 digits: more than DynamoDB takes."""
RULE = {
    "name": "R",
    "key": {"tenant": "T#{tenant}", "kind": "NOTE", "id": "{id}"},
    "attributes": {"amount": "{amount}", "note": "{note}", "of": "{tenant}"},
}


@pytest.fixture
def registered() -> Iterator[None]:
    SOURCES.add("toy", toy_source.CONNECTOR)
    TARGETS.add("toy", toy_target.CONNECTOR)
    yield
    SOURCES.remove("toy")
    TARGETS.remove("toy")


@pytest.fixture
def job(registered: None, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    name = request.node.name
    DRAWERS[name] = [
        {"id": str(n), "tenant": f"t{n % 7}", "amount": f"{n}.50" if n else LONG, "note": f"note {n}"}
        for n in range(ROWS)
    ]
    SHELVES.pop(name, None)
    described = {
        "name": "toys",
        "source": {"type": "toy", "drawer": name},
        "target": {"type": "toy", "shelf": name},
        "items": [RULE],
    }
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(described))
    return path


def job_shelf(job: Path) -> str:
    return yaml.safe_load(job.read_text())["target"]["shelf"]


@pytest.fixture
def command(backfill, job, tmp_path):
    def run(*arguments: str):
        name, *rest = arguments
        state = [] if name == "table" else ["--state", str(tmp_path / "state")]
        code, out, err = backfill(
            *([name] if name != "table" else ["table", "create"]), str(job), *rest, *state
        )
        return code, out, err

    return run


def test_they_go_through_every_command(command, job):
    shelf_name = yaml.safe_load(job.read_text())["target"]["shelf"]
    assert command("run", "--workers", "1")[0] == 2, "there is nothing to write to yet"
    code, _, said = command("table")
    assert code == 0, said
    shelf = SHELVES[shelf_name]

    shelf.refused.add(("T#t3", "NOTE", "3"))
    code, out, said = command("run", "--json", "--workers", "1")
    assert code == 3, said
    report = json.loads(out)
    assert (report["rows_read"], report["items_written"], report["items_dead_lettered"]) == (
        ROWS,
        ROWS - 1,
        1,
    )
    assert len(shelf.items) == ROWS - 1
    assert shelf.items["T#t0", "NOTE", "0"]["amount"] == {"number": LONG}

    code, out, said = command("status", "--json")
    assert code == 3, said  # a letter is open
    assert json.loads(out)["outcome"] == "complete_with_dead_letters"

    code, out, said = command("verify", "--json", "--full")
    assert code == 0, said
    found = json.loads(out)
    assert (found["matched"], found["dead_lettered"], found["missing"]) == (ROWS - 1, 1, 0)

    shelf.refused.clear()
    code, out, said = command("redrive", "--json")
    assert code == 0, said
    assert json.loads(out)["items_written"] == 1

    shelf.items["T#t1", "NOTE", "1"] = {**shelf.items["T#t1", "NOTE", "1"], "note": {"text": "another"}}
    shelf.items["T#t1", "NOTE", "99999"] = {**shelf.items["T#t1", "NOTE", "1"], "id": {"text": "99999"}}
    code, out, said = command("verify", "--json", "--full", "--repair", "--delete-extra")
    assert code == 0, said
    assert command("verify", "--json", "--full")[0] == 0
    assert len(shelf.items) == ROWS
    assert command("verify", "--json", "--sample", "50")[0] == 0
    assert command("verify", "--json", "--full", "--read", "get")[0] == 0


def test_a_plan_counts_what_any_target_has(command, job):
    assert command("plan")[0] == 2, "nobody said what it would be"
    command("table")
    code, out, said = command("plan", "--json")
    assert code == 0, said
    found = json.loads(out)
    assert found["target"] == {"name": job_shelf(job), "exists": True, "items_there": 0}
    assert found["looked_at"] == {"rows": ROWS, "items": ROWS, "whole": True}
    assert found["items"]["by_rule"][0]["items"] == ROWS
    assert "item_bytes" not in found

    described = yaml.safe_load(job.read_text())
    described["items"][0]["key"]["id"] = "{note}"
    job.write_text(yaml.safe_dump(described))
    drawer = DRAWERS[described["source"]["drawer"]]
    drawer[11] = {**drawer[11], "note": "note 4"}
    drawer[5] = {**drawer[5], "tenant": None}
    for arguments in ((), ("--full", "--sample", "100")):
        code, out, said = command("plan", "--json", *arguments)
        assert code == 4, said
        found = json.loads(out)
        assert (found["collisions"]["keys"], found["collisions"]["lost"]) == (1, 1)
        assert found["collisions"]["examples"][0]["key"] == ["T#t4", "NOTE", "note 4"]
        (letter,) = found["dead_letters"]["by_reason"]
        assert (letter["reason"], letter["expected"]) == ("key_null", 1)
    code, out, said = command("plan")
    assert "T#t4 | NOTE | note 4" in out
    assert "1 segment" in out
    assert out.rstrip().endswith("Mend that first; a load now would lose or overwrite items.")


def test_a_run_whose_source_broke_goes_on(command, job):
    command("table")
    described = yaml.safe_load(job.read_text())
    drawer = described["source"]["drawer"]
    shelf = SHELVES[described["target"]["shelf"]]
    toy_source.BROKEN[drawer] = 500, lambda: len(shelf.items) >= 300
    code, _, said = command("run", "--workers", "1")
    assert code == 1, said
    assert "is stuck" in said
    assert 0 < len(shelf.items) < ROWS
    del toy_source.BROKEN[drawer]
    code, out, said = command("run", "--json", "--workers", "1")
    assert code == 0, said
    report = json.loads(out)
    assert report["resumed"]
    assert (report["rows_read"], report["items_written"]) == (ROWS, ROWS)
    assert len(shelf.items) == ROWS


def test_a_target_that_was_replaced_is_noticed(command, job):
    command("table")
    assert command("run", "--workers", "1")[0] == 0
    toy_target.new_shelf(yaml.safe_load(job.read_text())["target"]["shelf"])
    code, _, said = command("run", "--workers", "1")
    assert code == 2
    assert "the target changed (shelf was" in said


def test_what_cannot_be_read_back_is_neither_verified_nor_redriven_on_doubt(command, job, monkeypatch):
    command("table")
    assert command("run", "--workers", "1")[0] == 0
    monkeypatch.setattr(toy_target.ToyConnector, "abilities", TargetAbilities(deletes=True, creates=True))
    code, _, said = command("verify", "--full")
    assert code == 2
    assert "toys can't be verified: what a toy target holds can't be read back" in said
    one_key = {**RULE, "key": {"tenant": "T", "kind": "NOTE", "id": "x{note}"}}
    job.write_text(yaml.safe_dump({**yaml.safe_load(job.read_text()), "items": [one_key]}))
    SHELVES[job_shelf(job)].refused.add(("T", "NOTE", "xnote 3"))
    assert command("run", "--workers", "1", "--fresh")[0] == 3
    code, _, said = command("redrive")
    assert code == 2
    assert "can't be tried again without writing over other items" in said


@pytest.fixture
def unable(job: Path) -> None:
    """The same target, with no ability."""

    class Unable(toy_target.ToyConnector):
        abilities = TargetAbilities()

    TARGETS.remove("toy")
    TARGETS.add("toy", Unable())


def test_a_target_that_creates_nothing_says_so(command, unable):
    code, _, err = command("table")
    assert code == 2, err
    assert "needs no table to be created" in err


def test_a_target_that_cannot_delete_refuses_a_rule_that_does(command, job, unable):
    described = yaml.safe_load(job.read_text())
    toy_target.new_shelf(described["target"]["shelf"])
    described["items"][0]["delete_when"] = "note IS NULL"
    job.write_text(yaml.safe_dump(described))
    code, _, err = command("run", "--workers", "1")
    assert code == 2, err
    assert "items[0].delete_when: a toy target can't delete" in err
    assert not SHELVES[described["target"]["shelf"]].items
