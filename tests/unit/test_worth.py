"""A second process starts where rows, target, source and cores have a use for it."""

import pytest

from connectors.dynamodb.connector import DynamoDBConnector
from connectors.dynamodb.table_info import table_info
from engine.run.worth import ROWS_EACH, worth
from tests.support.rules import job

FREE = {"cores": 8, "target_max": None, "cursors_max": None}


@pytest.mark.parametrize(
    ("rows", "processes"),
    [
        (0, 1),
        (ROWS_EACH, 1),
        (2 * ROWS_EACH - 1, 1),
        (2 * ROWS_EACH, 2),
        (3 * ROWS_EACH, 3),
        (100 * ROWS_EACH, 8),
        (None, 8),
    ],
)
def test_a_process_joins_for_so_many_rows(rows: int | None, processes: int) -> None:
    assert worth(rows, **FREE).workers == processes


@pytest.mark.parametrize(
    ("bound", "processes", "why"),
    [
        ({"cores": 1}, 1, "this machine lends one core"),
        ({"cores": 4}, 4, "this machine lends 4 cores"),
        ({"target_max": 2}, 2, "so many fill what the target is set to take"),
        ({"cursors_max": 3}, 3, "the source lends connections for 3 cursors"),
        ({}, 8, "this machine lends 8 cores"),
    ],
)
def test_the_closest_bound_counts_and_is_named(bound: dict[str, int], processes: int, why: str) -> None:
    found = worth(100 * ROWS_EACH, **{**FREE, **bound})
    assert (found.workers, found.why) == (processes, why)


def test_few_rows_are_named_with_what_another_process_needs() -> None:
    assert worth(20_000, **FREE).why == (
        "20,000 rows are expected, and one process takes 500,000 before another pays"
    )


@pytest.mark.parametrize(
    ("cap", "provisioned", "processes"),
    [(None, None, None), (4_000, None, 1), (None, 4_000, 1), (None, 100_000, 3), (50_000, 100_000, 2)],
)
def test_a_tables_capacity_or_the_jobs_cap_says_how_many_fill_it(
    cap: int | None, provisioned: int | None, processes: int | None
) -> None:
    made = job({"key": {"PK": "{id}"}})
    made = made.model_copy(update={"target": made.target.model_copy(update={"max_wcu": cap})})
    billing = "PAY_PER_REQUEST" if provisioned is None else "PROVISIONED"
    table = table_info(
        {
            "TableName": "items",
            "TableStatus": "ACTIVE",
            "KeySchema": [{"AttributeName": "PK", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "PK", "AttributeType": "S"}],
            "BillingModeSummary": {"BillingMode": billing},
            "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": provisioned or 0},
        }
    )
    assert DynamoDBConnector().workers_max(made, table) == processes
