"""Every error that DynamoDB, the services behind credentials, and AWS's library know becomes one sentence."""

import asyncio
import inspect
import socket
import ssl
from collections.abc import Iterator
from string import Formatter
from typing import Any

import botocore.exceptions
import botocore.session
import orjson
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from connectors.dynamodb.errors import Subject, credentials_failed
from connectors.dynamodb.http.calls import CallRefused, told
from connectors.dynamodb.http.connection import Answer, TransportError
from connectors.dynamodb.http.endpoint import parse_endpoint
from connectors.dynamodb.http.sigv4 import Keys, Signer
from connectors.dynamodb.http.transport import Transport
from connectors.dynamodb.writing import answers
from engine.errors import BackfillError, JobError, PermanentError, TransientError

TABLE = Subject("target.table", "table orders", "dynamodb.us-east-1.amazonaws.com")
STATE = Subject("state.table", "the state table states")

CONTROL = (
    *("DescribeTable", "CreateTable", "UpdateContinuousBackups", "DescribeContinuousBackups"),
    "DescribeTimeToLive",
)
OF_STATE = ("GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems")
OF_ITEMS = (
    "BatchWriteItem",
    "BatchExecuteStatement",
    "PutItem",
    "DeleteItem",
    "Scan",
    "BatchGetItem",
    "Query",
)

COMMON = (
    *("AccessDeniedException", "ExpiredTokenException", "IncompleteSignature", "InternalFailure"),
    *("MalformedHttpRequestException", "NotAuthorized", "OptInRequired", "RequestAbortedException"),
    *("RequestEntityTooLargeException", "RequestExpired", "RequestTimeoutException", "ServiceUnavailable"),
    *("ThrottlingException", "UnrecognizedClientException", "UnknownOperationException", "ValidationError"),
    *("InvalidAction", "InvalidClientTokenId", "InvalidParameterCombination", "InvalidParameterValue"),
    *("InvalidQueryParameter", "MalformedQueryString", "MissingAction", "MissingAuthenticationToken"),
    *("MissingParameter", "InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed"),
    *("KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException"),
    *(
        "SerializationException",
        "MissingAuthenticationTokenException",
        "SomethingNewException",
        "",
        "Unknown",
    ),
)
"""Source: API references, "Common error types", the common parameters' own, and one that nobody knows yet."""

TOKEN = "FwoGZXIvYXdzEBYaDHh5c2VjcmV0"
WORDS = (
    "User: arn:aws:iam::1:user/me is not authorized to perform: dynamodb:Scan on resource: x\nand more",
    f"The Canonical String should have been\n'POST\n/\n\nx-amz-security-token:{TOKEN}\n'",
    "",
    "x" * 5_000,
)


def documented(service: str, operation: str) -> set[str]:
    model = botocore.session.get_session().get_service_model(service).operation_model(operation)
    return {shape.metadata.get("error", {}).get("code") or shape.name for shape in model.error_shapes}


def refusal(code: str, message: str, operation: str) -> CallRefused:
    return CallRefused(operation, 400, {"__type": f"com.amazon.coral.service#{code}", "message": message})


def explained(error: Exception, of: Subject = TABLE) -> BackfillError:
    with pytest.raises(BackfillError) as caught, told(of):
        raise error
    return caught.value


def library_errors() -> Iterator[Exception]:
    """One of each class, its fields filled with text that has line ends."""
    for _, kind in inspect.getmembers(botocore.exceptions, inspect.isclass):
        if not issubclass(kind, BotoCoreError):
            continue
        names = {name for _, name, _, _ in Formatter().parse(kind.fmt) if name}
        needed = {
            name
            for name, one in inspect.signature(kind.__init__).parameters.items()
            if name != "self" and one.kind is one.POSITIONAL_OR_KEYWORD and one.default is one.empty
        }
        yield kind(**dict.fromkeys(names | needed, "something\nthat isn't so"))


def assert_one_sentence(error: BackfillError, *named: str) -> None:
    sentence = str(error)
    assert "\n" not in sentence, sentence
    assert len(sentence) < 900, sentence
    assert TOKEN not in sentence
    assert "run again" in sentence or "then this again" in sentence, sentence
    assert ": )" not in sentence
    assert "()" not in sentence
    for name in named:
        assert name in sentence, (name, sentence)


@pytest.mark.parametrize(
    ("of", "operations"), [(TABLE, CONTROL), (STATE, OF_STATE)], ids=["control plane", "state table"]
)
def test_every_code_of_every_operation_is_one_sentence(of: Subject, operations: tuple[str, ...]) -> None:
    for operation in operations:
        for code in {*COMMON, *documented("dynamodb", operation)}:
            for words in WORDS:
                error = explained(refusal(code, words, operation), of)
                assert_one_sentence(error)
                about = (of.name, f"{of.section}.", "AWS credentials", "clock")
                assert any(part in str(error) for part in about)


@pytest.mark.parametrize("operation", OF_ITEMS)
def test_every_code_that_ends_the_data_path_is_one_sentence(operation: str) -> None:
    for code in {*COMMON, *documented("dynamodb", operation)}:
        for words in WORDS:
            body = orjson.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": words})
            verdict = answers.judge(answers.read_single, Answer(400, body, None, 0.1), 1)
            if isinstance(verdict, answers.Fatal):
                error = answers.explained(verdict, operation, "orders")
                assert_one_sentence(error)
                assert not isinstance(error, JobError), "something may have been written"


@pytest.mark.parametrize("status", [301, 400, 403, 404, 407])
def test_what_isnt_dynamodb_is_called_that(status: int) -> None:
    verdict = answers.judge(answers.read_single, Answer(status, b"<html>", None, 0.1), 1)
    assert isinstance(verdict, answers.Fatal)
    error = answers.explained(verdict, "Scan", "orders")
    assert_one_sentence(error, "target.endpoint_url", "seem to be DynamoDB", f"HTTP {status}")


def test_a_table_that_nobody_answers_for_may_come_back() -> None:
    error = explained(TransportError("can't connect to h: refused", sent=False))
    assert_one_sentence(error, "table orders", "target.endpoint_url")
    assert isinstance(error, TransientError)
    assert isinstance(explained(CallRefused("DescribeTable", 503, {})), TransientError)


@pytest.mark.parametrize(
    ("code", "operation", "kind", "words"),
    [
        ("AccessDeniedException", "DescribeTable", JobError, "allow dynamodb:DescribeTable on it"),
        ("AccessDeniedException", "PutItem", PermanentError, "write to table orders: allow dynamodb:PutItem"),
        ("AccessDeniedException", "Scan", PermanentError, "no permission to read table orders"),
        ("AccessDeniedException", "BatchExecuteStatement", PermanentError, "allow dynamodb:PartiQLInsert"),
        ("ThrottlingException", "DescribeTable", TransientError, "can't be served now"),
        ("LimitExceededException", "CreateTable", TransientError, "can't be served now"),
        ("ValidationException", "CreateTable", JobError, "CreateTable is refused for table orders"),
        ("ResourceNotFoundException", "GetItem", PermanentError, "create it or correct target.table"),
        ("OptInRequired", "DescribeTable", JobError, "target.region"),
        ("ExpiredTokenException", "DescribeTable", JobError, "sign in again"),
        ("InvalidSignatureException", "DescribeTable", JobError, "credentials aren't accepted"),
    ],
)
def test_whose_fault_it_is(code: str, operation: str, kind: type[BackfillError], words: str) -> None:
    error = explained(refusal(code, "no reason", operation))
    assert type(error) is kind
    assert words in str(error)


def test_the_right_that_the_server_names_is_the_one_to_be_given() -> None:
    for named, step in (
        ("kms:Decrypt on resource: k", "allow kms:Decrypt on its key"),
        ("dynamodb:PartiQLInsert on resource: t", "allow dynamodb:PartiQLInsert on it"),
        (
            "dynamodb:Scan on resource: t with an explicit deny in a policy",
            "lift the explicit deny of dynamodb:Scan",
        ),
    ):
        words = f"User: me is not authorized to perform: {named}"
        assert step in str(explained(refusal("AccessDeniedException", words, "BatchWriteItem")))


def test_a_clock_that_is_off_is_the_clocks_fault() -> None:
    words = "Signature expired: 20240101T000000Z is now earlier than 20240101T001500Z"
    for code in ("InvalidSignatureException", "RequestExpired", "RequestTimeTooSkewed"):
        assert "set this machine's clock" in str(explained(refusal(code, words, "DescribeTable")))


@pytest.mark.parametrize("error", list(library_errors()), ids=lambda error: type(error).__name__)
def test_every_error_of_the_library_is_one_sentence(error: Exception) -> None:
    assert_one_sentence(credentials_failed(error, "profile p"))


def test_what_may_pass_is_no_fault_of_the_job() -> None:
    for error in library_errors():
        name = type(error).__name__
        passing = any(part in name for part in ("Connect", "HTTP", "Timeout", "Streaming", "IncompleteRead"))
        assert isinstance(credentials_failed(error, "p"), TransientError) == passing, name


@pytest.mark.parametrize(
    ("service", "operation", "step"),
    [
        ("sts", "AssumeRole", "MFA code"),
        ("sts", "AssumeRoleWithWebIdentity", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ("sts", "AssumeRoleWithSAML", "sign in again"),
        ("sso", "GetRoleCredentials", "aws sso login"),
        ("sso-oidc", "CreateToken", "aws sso login"),
    ],
)
def test_every_refusal_on_the_way_to_credentials_is_one_sentence(
    service: str, operation: str, step: str
) -> None:
    for code in {*COMMON, *documented(service, operation)}:
        for words in WORDS:
            refused = ClientError({"Error": {"Code": code, "Message": words}}, operation)
            error = credentials_failed(refused, "profile p")
            assert_one_sentence(error, "profile p", operation)
            assert isinstance(error, TransientError) or step in str(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(2, "No such file or directory", "/no/program"),
        ValueError("Expecting value: line 1"),
        RuntimeError(""),
        PermissionError(13, "Permission denied"),
        KeyError("AccessKeyId"),
        PermanentError("the session that an MFA code opened has ended; run the same command again"),
    ],
)
def test_what_a_provider_may_raise_besides(error: Exception) -> None:
    told = credentials_failed(error, "profile p")
    assert isinstance(told, JobError)
    assert "profile p" in str(told)
    assert "\n" not in str(told)


class _Signers:
    async def signer(self) -> Signer:
        return Signer(Keys("a", "b"), "us-east-1", "h")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError(111, "Connection refused"), TransportError),
        (socket.gaierror(-2, "Name or service not known"), TransportError),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"), TransportError),
        (ssl.SSLCertVerificationError("certificate verify failed"), PermanentError),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed"), TransportError),
        (ConnectionResetError(), TransportError),
        (TimeoutError(), TransportError),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_connection_that_fails_is_told_with_its_address(
    error: Exception, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise error

    if isinstance(error, ssl.SSLCertVerificationError):
        error.verify_message = "unable to get local issuer certificate"
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refuse)
    transport = Transport(parse_endpoint("https://db.example", "us-east-1"), _Signers(), connections_max=1)
    with pytest.raises(kind, match=r"db\.example") as caught:
        await transport.send("DescribeTable", [b"{}"])
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(": ")
    await transport.close()
