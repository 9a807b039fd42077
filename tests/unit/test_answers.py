"""What DynamoDB's answers mean. The bodies are what AWS, Dynoxide and DynamoDB Local send."""

import json

import pytest

from connectors.dynamodb.http.connection import Answer
from connectors.dynamodb.modes import INSERT, NEWER, PUT
from connectors.dynamodb.writing import answers
from connectors.dynamodb.writing.answers import (
    Conflict,
    Done,
    Each,
    Expired,
    Fatal,
    Fate,
    Refusal,
    Refused,
    Throttled,
    Unavailable,
    Unprocessed,
    judge,
    match_unprocessed,
)


def answer(body, status: int = 200) -> Answer:
    return Answer(status, body if isinstance(body, bytes) else json.dumps(body).encode(), "id", 0.01)


def fault(code: str, message: str = "", status: int = 400, **more) -> Answer:
    return answer({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **more}, status)


def test_all_items_are_applied_when_nothing_is_unprocessed():
    body = {
        "UnprocessedItems": {},
        "ConsumedCapacity": [
            {
                "TableName": "t",
                "CapacityUnits": 60.0,
                "Table": {"CapacityUnits": 25.0},
                "GlobalSecondaryIndexes": {"GSI1": {"CapacityUnits": 20.0}},
                "LocalSecondaryIndexes": {"LSI1": {"CapacityUnits": 15.0}},
            }
        ],
    }
    verdict = judge(PUT.read, answer(body), 25)
    assert isinstance(verdict, Done)
    assert verdict.consumed.units == {"": 25.0, "GSI1": 20.0, "LSI1": 15.0}
    assert verdict.consumed.drawn == 40.0, "local indexes draw on the table's capacity, global ones don't"


def test_a_server_that_does_not_say_what_was_consumed():
    verdict = judge(PUT.read, answer({"UnprocessedItems": {}}), 25)
    assert isinstance(verdict, Done)
    assert verdict.consumed.drawn is None


def test_unprocessed_items_are_handed_on():
    entry = {"PutRequest": {"Item": {"PK": {"S": "a"}}}}
    verdict = judge(PUT.read, answer({"UnprocessedItems": {"t": [entry]}}), 25)
    assert isinstance(verdict, Unprocessed)
    assert verdict.entries == [entry]


@pytest.mark.parametrize(
    ("reason", "resource", "cause", "index"),
    [
        ("TableWriteProvisionedThroughputExceeded", "table/t", "table", None),
        ("TableWriteKeyRangeThroughputExceeded", "table/t", "partition", None),
        ("TableWriteAccountLimitExceeded", "table/t", "account", None),
        ("TableWriteMaxOnDemandThroughputExceeded", "table/t", "table", None),
        ("IndexWriteProvisionedThroughputExceeded", "table/t/index/GSI1", "index", "GSI1"),
        ("IndexWriteKeyRangeThroughputExceeded", "table/t/index/GSI1", "index", "GSI1"),
        ("IndexWriteAccountLimitExceeded", "table/t/index/GSI1", "account", "GSI1"),
    ],
)
@pytest.mark.parametrize(
    ("code", "field"),
    [
        ("ProvisionedThroughputExceededException", "ThrottlingReasons"),
        ("ThrottlingException", "throttlingReasons"),
        ("RequestLimitExceeded", "ThrottlingReasons"),
    ],
)
def test_throttling_reasons_name_the_cause(code, field, reason, resource, cause, index):
    reasons = [{"reason": reason, "resource": f"arn:aws:dynamodb:us-east-1:123456789012:{resource}"}]
    assert judge(PUT.read, fault(code, "slow", **{field: reasons}), 25) == Throttled(cause, index)


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        (fault("ProvisionedThroughputExceededException", "The level of configured provisioned throughput for "
               "the table was exceeded."), "table"),
        (fault("ProvisionedThroughputExceededException", "The level of configured provisioned throughput for "
               "one or more global secondary indexes of the table was exceeded."), "index"),
        (fault("RequestLimitExceeded", "Throughput exceeds the limit for your account"), "account"),
        (fault("ThrottlingException", "Rate exceeded"), "unknown"),
        (fault("ThrottlingException", "Rate exceeded", 503), "unknown"),
        (answer({"message": "slow down"}, 429), "unknown"),
    ],
)  # fmt: skip
def test_throttling_without_reasons(given, cause):
    assert judge(PUT.read, given, 25) == Throttled(cause)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (fault("InternalServerError", "oops", 500), Unavailable),
        (fault("ServiceUnavailable", "", 503), Unavailable),
        (answer(b"<html>Bad Gateway</html>", 502), Unavailable),
        (answer(b"", 500), Unavailable),
        (answer(b'{"Unproc', 200), Unavailable),
        (answer(b"[]", 200), Unavailable),
        (answer(b"", 200), Unavailable),
        (answer({}, 408), Unavailable),
        (answer({"__type": "com.amazon.coral.validate#ValidationException", "Message": "bad"}, 400), Refused),
        (fault("ItemCollectionSizeLimitExceededException", "10 GB"), Refused),
        (fault("SerializationException"), Refused),
        (answer({}, 413), Refused),
        (answer(b"<html>Request Entity Too Large</html>", 413), Refused),
        (fault("ExpiredTokenException", "The security token included in the request is expired"), Expired),
        (
            fault("InvalidSignatureException", "Signature expired: 20240101T000000Z is now earlier than"),
            Expired,
        ),
        (fault("InvalidSignatureException", "Signature not yet current: "), Expired),
        (fault("InvalidSignatureException", "The request signature we calculated does not match"), Fatal),
        (fault("TransactionConflictException", "Transaction is ongoing for the item"), Conflict),
        (fault("ReplicatedWriteConflictException"), Conflict),
        (fault("AccessDeniedException", "User: x is not authorized"), Fatal),
        (fault("ResourceNotFoundException", "Requested resource not found"), Fatal),
        (
            fault("UnrecognizedClientException", "The security token included in the request is invalid."),
            Fatal,
        ),
        (fault("SomethingNewException", "?"), Fatal),
        (answer(b"not found", 404), Fatal),
        (answer(b"", 301), Fatal),
    ],
)
def test_faults(given, kind):
    for mode in (PUT, INSERT, NEWER):
        assert isinstance(judge(mode.read, given, 1), kind)


@pytest.mark.parametrize("mode", [PUT, INSERT])
def test_an_answer_that_says_nothing_of_the_items_acks_none(mode):
    assert isinstance(judge(mode.read, answer({}), 25), Unavailable)


def test_a_signature_that_does_not_match_never_repeats_what_was_signed():
    message = "The Canonical String for this request should have been\n'POST\n/\nx-amz-security-token:SECRET'"
    verdict = judge(PUT.read, fault("InvalidSignatureException", message), 1)
    assert "SECRET" not in str(verdict)


def test_every_statement_has_its_own_fate():
    responses = [
        {"TableName": "t"},
        {"Error": {"Code": "DuplicateItem", "Message": "Duplicate primary key exists in table"}},
        {"Error": {"Code": "DuplicateItemException", "Message": "the same, by another server"}},
        {"Error": {"Code": "ThrottlingError", "Message": ""}},
        {"Error": {"Code": "ProvisionedThroughputExceeded", "Message": ""}},
        {"Error": {"Code": "TransactionConflict", "Message": ""}},
        {"Error": {"Code": "InternalServerError", "Message": ""}},
        {"Error": {"Code": "ValidationError", "Message": "wrong type"}},
    ]
    verdict = judge(INSERT.read, answer({"Responses": responses}), len(responses))
    assert isinstance(verdict, Each)
    assert verdict.fates == [
        Fate.APPLIED, Fate.SKIPPED, Fate.SKIPPED, Fate.THROTTLED, Fate.THROTTLED, Fate.FAILED, Fate.FAILED,
        Refusal("ValidationError: wrong type"),
    ]  # fmt: skip


def test_statements_that_all_succeeded_are_done():
    assert isinstance(judge(INSERT.read, answer({"Responses": [{"TableName": "t"}] * 3}), 3), Done)


def test_an_answer_with_too_few_statements_proves_nothing():
    assert isinstance(judge(INSERT.read, answer({"Responses": [{}]}), 2), Unavailable)


def test_a_statement_that_finds_no_table_ends_everything():
    responses = [{"Error": {"Code": "ResourceNotFound", "Message": "no table"}}]
    assert isinstance(judge(INSERT.read, answer({"Responses": responses}), 1), Fatal)


def test_a_failed_condition_is_a_rightful_skip():
    verdict = judge(NEWER.read, fault("ConditionalCheckFailedException", "The conditional request failed"), 1)
    assert verdict == Each((Fate.SKIPPED,), answers.Consumed())


def test_put_item_tells_its_units_without_a_list():
    body = {"ConsumedCapacity": {"TableName": "t", "CapacityUnits": 2.0, "Table": {"CapacityUnits": 2.0}}}
    verdict = judge(NEWER.read, answer(body), 1)
    assert isinstance(verdict, Done)
    assert verdict.consumed.drawn == 2.0


SENT = [
    b'{"PutRequest":{"Item":{"PK":{"S":"a"},"SK":{"N":"1.0"},"x":{"S":"1"}}}}',
    b'{"PutRequest":{"Item":{"PK":{"S":"a"},"SK":{"N":"2"},"x":{"S":"1"}}}}',
    b'{"DeleteRequest":{"Key":{"PK":{"S":"b"},"SK":{"N":"1e2"}}}}',
]


def test_unprocessed_items_are_found_by_key_however_the_server_prints_them():
    entries = [
        {"DeleteRequest": {"Key": {"SK": {"N": "100"}, "PK": {"S": "b"}}}},
        {"PutRequest": {"Item": {"x": {"S": "1"}, "SK": {"N": "1"}, "PK": {"S": "a"}}}},
    ]
    assert match_unprocessed(SENT, entries, ("PK", "SK")) == (0, 2)


@pytest.mark.parametrize(
    "entries",
    [
        [{"PutRequest": {"Item": {"PK": {"S": "z"}, "SK": {"N": "1"}}}}],
        [{"PutRequest": {"Item": {"PK": {"S": "a"}}}}],
        [{"Unknown": {}}],
        [{"PutRequest": {"Item": {"PK": {"S": "a"}, "SK": {"N": "1"}}}}] * 2,
    ],
)
def test_unprocessed_items_that_cannot_be_told_leave_everything_unknown(entries):
    assert match_unprocessed(SENT, entries, ("PK", "SK")) is None


@pytest.mark.parametrize(
    ("detail", "part"),
    [
        ("AccessDenied: User x", "dynamodb:BatchWriteItem"),
        ("ResourceNotFound: no", "target.table"),
        ("UnrecognizedClient: no", "target.profile"),
        ("KMSDisabled: the key is disabled", "KMSDisabled"),
    ],
)
def test_a_fatal_answer_becomes_one_sentence_with_the_next_step(detail, part):
    sentence = str(answers.explained(Fatal(detail), "BatchWriteItem", "orders"))
    assert part in sentence
    assert "run again" in sentence
    assert "\n" not in sentence


def test_a_right_that_is_missing_for_reading_is_not_called_writing():
    fatal = answers.Fatal("AccessDenied: User: x is not authorized")
    assert "no permission to read table t: allow dynamodb:Scan on it" in str(
        answers.explained(fatal, "Scan", "t")
    )
    assert "no permission to write to table t" in str(answers.explained(fatal, "BatchWriteItem", "t"))
    other = answers.Fatal("SomethingNew: off")
    assert "nothing can read table t" in str(answers.explained(other, "BatchGetItem", "t"))
