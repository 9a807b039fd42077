"""A request that botocore would sign otherwise is one that DynamoDB refuses."""

from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from connectors.dynamodb.http.endpoint import parse_endpoint
from connectors.dynamodb.http.sigv4 import Keys, Signer

SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
TOKENS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=400).filter(
    str.strip
)
HOSTS = st.sampled_from(
    [
        "http://127.0.0.1:8000",
        "https://dynamodb.eu-west-1.amazonaws.com",
        "http://localhost",
        "http://[::1]:8000",
    ]
)
REGIONS = st.sampled_from(["us-east-1", "eu-central-2", "us-gov-west-1", "cn-north-1"])
OPERATIONS = st.sampled_from(["BatchWriteItem", "BatchExecuteStatement", "PutItem", "DeleteItem"])
MOMENTS = st.integers(0, 4_102_444_800) | st.integers(0, 47_000).flatmap(
    lambda day: st.sampled_from([day * 86_400 - 1, day * 86_400]).filter(lambda second: second >= 0)
)


def parsed(head: bytes) -> dict[str, str]:
    """Take a request head apart."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    assert first == "POST / HTTP/1.1"
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines)
    return headers


def botocores(url: str, region: str, keys: Keys, headers: dict[str, str], body: bytes, second: int) -> str:
    """Return the Authorization header that botocore makes for the same request."""
    sent = {name: headers[name] for name in ("host", "content-type", "x-amz-target")}
    request: Any = AWSRequest(method="POST", url=url + "/", headers=sent, data=body)
    credentials = Credentials(keys.access_key, keys.secret_key, keys.token)
    now = datetime.fromtimestamp(second, UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=now):
        SigV4Auth(credentials, "dynamodb", region).add_auth(request)
    assert headers["x-amz-date"] == request.headers["X-Amz-Date"]
    return str(request.headers["Authorization"])


@given(
    url=HOSTS,
    region=REGIONS,
    secret=SECRETS,
    token=st.none() | TOKENS,
    requests=st.lists(
        st.tuples(OPERATIONS, st.lists(st.binary(max_size=200), max_size=4), MOMENTS), min_size=1
    ),
)
def test_every_request_is_signed_as_botocore_signs_it(
    url: str, region: str, secret: str, token: str | None, requests: list[tuple[str, list[bytes], int]]
) -> None:
    keys = Keys("AKIDEXAMPLE", secret, token)
    signer = Signer(keys, region, parse_endpoint(url, region).authority)
    for (
        operation,
        parts,
        second,
    ) in requests:  # one signer, so that what it keeps from one to the next is tried
        body = b"".join(parts)
        head = signer.head(operation, [memoryview(part) for part in parts], len(body), second + 0.9)
        headers = parsed(head)
        assert headers["authorization"] == botocores(url, region, keys, headers, body, second)
        assert headers["content-length"] == str(len(body))
        assert headers["x-amz-target"] == f"DynamoDB_20120810.{operation}"
        assert headers.get("x-amz-security-token", "").split() == (token or "").split()


def test_the_day_key_changes_at_midnight() -> None:
    keys = Keys("AKIDEXAMPLE", "secret")
    signer = Signer(keys, "us-east-1", "localhost")
    for second in (86_399, 86_400, 86_399):
        headers = parsed(signer.head("PutItem", [b"{}"], 2, second))
        assert headers["authorization"] == botocores(
            "http://localhost", "us-east-1", keys, headers, b"{}", second
        )


@pytest.mark.parametrize(
    "printed", [repr(Keys("AKID", "hidden", "token")), str(Keys("AKID", "hidden", "token"))]
)
def test_keys_never_print(printed: str) -> None:
    assert printed == "Keys()"
