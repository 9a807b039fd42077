"""MongoDB: keys that no `_id` proves apart are looked at first, at the run's own time."""

from pathlib import Path

from tests.support.mongo_load import Loaded

DOCUMENTS = 1_200


def test_of_documents_that_make_one_item_the_last_wins(
    mongodb_url: str, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    loaded = Loaded(mongodb_url, database, dynoxide, table_name, tmp_path, "account")
    with loaded.mongo:
        loaded.fill(lambda n: n, DOCUMENTS, account=lambda n: n % 400, tags=lambda n: [{"x": n}] * (n % 3))
        loaded.command.job["source"] |= {"segments": 6, "batch_rows": 50}
        ended = loaded.command.run("run", "--json", "--workers", "2")
        assert ended.code == 0, ended.stderr
        assert "keys are made by several rows" in ended.stderr
        last = {n % 400: n for n in range(1, DOCUMENTS + 1)}
        tagged = {(n % 400, at): n for n in range(1, DOCUMENTS + 1) for at in range(n % 3)}
        expected = {f"D#{account}|D": n for account, n in last.items()}
        expected |= {f"D#{account}|T#{at:03d}": n for (account, at), n in tagged.items()}
        assert {
            place: int((item.get("n") or item["x"])["N"]) for place, item in loaded.items().items()
        } == expected
        assert ended.report["items_written"] == len(expected)
        assert ended.report["segments"]["total"] > 1
