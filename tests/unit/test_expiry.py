"""What DynamoDB's time to live deletes: numbers of the last five years at the top level, and nothing else."""

import pytest

from connectors.dynamodb.connector import CONNECTOR
from connectors.dynamodb.expiry import OLDEST_S, TimeToLive, time_to_live
from connectors.dynamodb.table_info import from_text, table_info
from engine.contracts.transform import DELETE, ROW
from engine.kinds import Document, Members, Scalar
from tests.support.items import encoded, rule_items
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


def sent(kind, values, name="expiresAt", **changes):
    kinds = {"PK": Scalar.STRING, "SK": Scalar.STRING, name: kind}
    rows = [{"PK": f"k{n}", "SK": "s", name: value, ROW: n, **changes.pop(n, {})} for n, value in values]
    return encoded(rule_items(kinds, rows), skips=TTL)


PAST, AHEAD = str(NOW - 5), str(NOW + 5)


def document(wire):
    return {"wire": wire, "size": 9, "depth": 0, "flaw": None}


@pytest.mark.parametrize(
    ("kind", "name", "past", "others"),
    [
        (Scalar.INT, "expiresAt", PAST, [AHEAD, None, "0"]),
        (Scalar.NUMBER, "expiresAt", f"{PAST}.5", [f"{AHEAD}.5", None]),
        (Scalar.STRING, "other", "x", []),
        (Scalar.STRING, "expiresAt", None, [PAST]),
        (
            Document(),
            "expiresAt",
            document(f'{{"N":"{PAST}"}}'),
            [document(f'{{"S":"{PAST}"}}'), document(f'{{"M":{{"N":{{"N":"{PAST}"}}}}}}')],
        ),
        (
            Members(),
            "\0rest",
            document(f',"a":{{"BOOL":true}},"expiresAt":{{"N":"{PAST}"}}'),
            [document(f',"a":{{"M":{{"b":{{"N":"1"}},"expiresAt":{{"N":"{PAST}"}}}}}}'), document("")],
        ),
    ],
)
def test_expired_items_are_left_out_and_counted(kind, name, past, others):
    found = sent(kind, list(enumerate([past, *others])), name)
    left_out = past is not None and name != "other"
    assert found.skipped_rows.tolist() == ([0] if left_out else [])
    assert len(found) + found.skipped == found.emitted == len(others) + 1


def test_a_delete_is_sent_and_what_has_expired_stands_for_its_key():
    kinds = {"PK": Scalar.STRING, "SK": Scalar.STRING, "expiresAt": Scalar.INT}
    rows = [
        {"PK": "gone", "SK": "s", "expiresAt": PAST, DELETE: True},
        {"PK": "k", "SK": "s", "expiresAt": AHEAD},
        {"PK": "k", "SK": "s", "expiresAt": PAST},
    ]
    found = encoded(rule_items(kinds, rows), skips=TTL)
    assert (len(found), found.deletes.tolist()) == (1, [True])
    assert (found.skipped_rows.tolist(), found.coalesced_rows.tolist()) == ([2], [1])


def test_a_rule_without_the_attribute_loses_nothing_beside_one_that_has_it():
    alone = {"PK": Scalar.STRING, "SK": Scalar.STRING}
    plain = rule_items(alone, [{"PK": f"a{n}", "SK": "s", ROW: n} for n in range(3)])
    dated = rule_items(
        {**alone, "expiresAt": Scalar.INT}, [{"PK": "b", "SK": "s", "expiresAt": PAST, ROW: 3}], rule=1
    )
    for rules in ((plain, dated), (dated, plain)):
        found = encoded(*rules, skips=TTL)
        assert (sorted(found.rows.tolist()), found.skipped_rows.tolist()) == ([0, 1, 2], [3])
