"""What moved between two runs of a collection: refused with exit 2, never "nothing to catch up with"."""

import pytest

from tests.support.mongo_load import Loaded
from tests.support.mongo_moves import MOVES


@pytest.mark.parametrize("move", MOVES)
def test_a_finished_run_of_another_collection_is_refused(
    mongodb_url, database, dynoxide, table_name, tmp_path, move
):
    made = Loaded(mongodb_url, database, dynoxide, table_name, tmp_path, "_id")
    made.fill(lambda n: n, 20)
    made.run()
    MOVES[move](made.mongo[database])
    ended = made.command.here("run", "--workers", "1")
    made.mongo.close()
    assert ended.code == 2, ended.stderr
    assert "source" in ended.stderr
    assert "--fresh" in ended.stderr or "has no collection 'c'" in ended.stderr
