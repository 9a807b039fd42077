"""What DynamoDB's time to live deletes: numbers of the last five years at the top level, and nothing else."""

import pytest

from connectors.dynamodb.connector import CONNECTOR
from connectors.dynamodb.expiry import OLDEST_S, TimeToLive, time_to_live
from connectors.dynamodb.table_info import from_text, table_info
from tests.unit.test_table import DESCRIBED

NOW = 1_800_000_000
TTL = TimeToLive("expiresAt", NOW)


@pytest.mark.parametrize(
    ("value", "expired"),
    [
        ({"N": str(NOW - 1)}, True),
        ({"N": "1.7999E+9"}, True),
        ({"N": str(NOW - OLDEST_S)}, True),
        ({"N": str(NOW)}, False),
        ({"N": str(NOW - OLDEST_S - 1)}, False),
        ({"N": "0"}, False),
        ({"N": str(NOW * 1000)}, False),
        ({"S": str(NOW - 1)}, False),
        ({"M": {"expiresAt": {"N": str(NOW - 1)}}}, False),
        ({"NULL": True}, False),
    ],
)
def test_only_a_past_number_expires(value, expired):
    assert TTL.expired({"PK": {"S": "a"}, "expiresAt": value}) is expired
    assert not TTL.expired({"PK": {"S": "a"}, "other": value})


@pytest.mark.parametrize(
    ("said", "ttl"),
    [
        ({"TimeToLiveStatus": "ENABLED", "AttributeName": "expiresAt"}, TTL),
        ({"TimeToLiveStatus": "ENABLING", "AttributeName": "expiresAt"}, None),
        ({"TimeToLiveStatus": "DISABLED"}, None),
        (None, None),
    ],
)
def test_only_what_is_switched_on_counts(said, ttl):
    assert time_to_live({"TimeToLiveDescription": said}, NOW) == ttl


def test_another_process_gets_the_same_moment():
    info = table_info(DESCRIBED, ttl=TTL)
    assert from_text(info.as_text()) == info
    assert CONNECTOR.codec(info).expired({"expiresAt": {"N": str(NOW - 1)}})
    assert not CONNECTOR.codec(table_info(DESCRIBED)).expired({"expiresAt": {"N": str(NOW - 1)}})
