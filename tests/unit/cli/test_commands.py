"""The small commands, the help, the entry point."""

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import engine
from engine import cli
from tests.unit.cli.conftest import Answer


def test_status_of_a_job_that_never_ran(
    backfill: Callable[..., Answer], job_file: Path, tmp_path: Path
) -> None:
    code, out, _ = backfill("status", job_file, "--state", tmp_path)
    assert (code, out) == (0, f"orders: never run with this state ({tmp_path})\n")
    code, out, _ = backfill("status", job_file, "--state", tmp_path, "--json")
    assert (code, json.loads(out)) == (0, {"job": "orders", "outcome": None, "alive": False})


def test_the_schema_knows_the_jobs_keys(backfill: Callable[..., Answer]) -> None:
    code, out, _ = backfill("schema")
    assert code == 0
    assert "delete_when" in json.dumps(json.loads(out))


def test_without_a_command_the_help_is_shown_and_nothing_failed(backfill: Callable[..., Answer]) -> None:
    code, out, err = backfill()
    assert (code, err) == (0, "")
    assert out.startswith("Usage: backfill")


def test_the_version_is_the_packages(backfill: Callable[..., Answer]) -> None:
    assert backfill("--version")[:2] == (0, f"backfill, version {engine.__version__}\n")


def test_the_demo_says_what_it_lacks(
    backfill: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bench.demo", None)
    monkeypatch.delattr("bench.demo", raising=False)
    code, _, err = backfill("demo")
    assert code == 2
    assert "pip install 'backfill[demo]'" in err


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom engine import cli\ntry: cli.main(['run', '--help'])\nfinally: print(*sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(ended.stdout.splitlines()[-1].split())
    heavy = {"polars", "pyarrow", "numpy", "pydantic", "yaml", "botocore", "asyncpg", "rich"}
    heavy |= {"prometheus_client", "uvloop", "sqlite3", "connectors", "bench"}
    assert loaded & heavy == set()
    assert "--fresh" in ended.stdout


def test_a_run_loads_nothing_that_its_job_has_no_use_for(tmp_path: Path) -> None:
    """Each of these takes a tenth of a second of CPU or more."""
    file = tmp_path / "job.yaml"
    file.write_text(
        "name: orders\n"
        "source: {type: postgres, url: postgres://127.0.0.1:1/x, table: t}\n"
        "target: {type: dynamodb, table: orders, endpoint_url: http://127.0.0.1:1}\n"
        "items: [{name: T, key: {PK: '{id}'}}]\n"
    )
    command = ["run", str(file), "--state", str(tmp_path)]
    program = f"import sys\nfrom engine import cli\ntry: cli.main({command})\nfinally: print(*sys.modules)"
    keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    nowhere = {"AWS_CONFIG_FILE": str(tmp_path / "a"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "b")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment | keys | nowhere
    )
    assert "target.region is missing" in ended.stderr
    loaded = set(ended.stdout.splitlines()[-1].split())
    heavy = {"prometheus_client", "rich", "botocore", "urllib3", "pymongo", "motor", "bson"}
    assert loaded & (heavy | {"ray", "cryptography"}) == set()


def test_the_entry_point_is_this_main() -> None:
    assert importlib.metadata.entry_points(group="console_scripts")["backfill"].load() is cli.main


def test_init_takes_the_url_from_where_nobody_else_sees_it(
    backfill: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_URL", "nosuch://user:of-the-variable@host/")
    code, _, stderr = backfill("init", "--table", "t")
    assert code == 2
    assert "it must begin with" in stderr
    monkeypatch.delenv("SOURCE_URL")
    code, _, stderr = backfill("init", "--table", "t")
    assert code == 2
    assert "there is no URL to look at: set SOURCE_URL" in stderr
