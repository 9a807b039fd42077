"""A target that begins to refuse everything: the run ends early, and once it is mended nothing is missing."""

import pytest

from tests.support import loads
from tests.support.paced_load import GOES_ON_WCU, Load

pytestmark = pytest.mark.fault


def test_an_index_of_another_type_that_comes_in_meanwhile(load: Load) -> None:
    target = load.command.job["target"]
    target |= {"stop_after_refusals": 200, "max_wcu": GOES_ON_WCU}
    client = loads.client(target["endpoint_url"])
    process = load.begin("--workers", "2")
    index = {
        "IndexName": "by-v",
        "KeySchema": [{"AttributeName": "v", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    client.update_table(
        TableName=target["table"],
        AttributeDefinitions=[{"AttributeName": "v", "AttributeType": "N"}],
        GlobalSecondaryIndexUpdates=[{"Create": index}],
    )
    ended = load.end(process)
    assert ended.code == 1, ended.stderr
    assert "target.stop_after_refusals is 200" in ended.stderr.splitlines()[-1]
    loads.assert_balanced(ended.report)
    assert "rejected_by_target" not in ended.report["dead_letters_by_reason"]
    client.update_table(
        TableName=target["table"], GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-v"}}]
    )
    load.assert_whole(load.resume(), resumed=True)
