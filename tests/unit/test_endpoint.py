"""Requests go where the user said, or nowhere."""

import pytest

from connectors.dynamodb.http.endpoint import parse_endpoint
from engine.errors import JobError


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "authority", "loopback"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1", 8000, False, "127.0.0.1:8000", True),
        ("http://localhost/", "localhost", 80, False, "localhost", True),
        ("http://[::1]:8000", "::1", 8000, False, "[::1]:8000", True),
        ("https://DynamoDB.us-east-1.amazonaws.com", "dynamodb.us-east-1.amazonaws.com", 443, True,
         "dynamodb.us-east-1.amazonaws.com", False),
        ("https://10.0.0.1:8443", "10.0.0.1", 8443, True, "10.0.0.1:8443", False),
        ("https://localhost.example.com", "localhost.example.com", 443, True, "localhost.example.com", False),
    ],
)  # fmt: skip
def test_an_endpoint_is_taken_apart(
    url: str, host: str, port: int, tls: bool, authority: str, loopback: bool
) -> None:
    endpoint = parse_endpoint(url, "us-east-1")
    assert (endpoint.host, endpoint.port, endpoint.tls) == (host, port, tls)
    assert (endpoint.authority, endpoint.loopback) == (authority, loopback)


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://host", "http://", "http://host:x", "http://host:99999", "http://[::1"],
)
def test_what_is_no_url_is_refused_by_the_name_it_came_from(url: str) -> None:
    with pytest.raises(JobError, match="AWS_ENDPOINT_URL isn't a URL"):
        parse_endpoint(url, "us-east-1", "AWS_ENDPOINT_URL")


@pytest.mark.parametrize(
    "url", ["http://host/path", "http://u:hidden@host", "http://host?x=1", "http://host#x"]
)
def test_more_than_an_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(JobError, match="may hold only scheme, host and port") as caught:
        parse_endpoint(url, "us-east-1")
    assert "hidden" not in str(caught.value)


def test_a_proxy_that_would_be_gone_around_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hidden@proxy:3128")
    with pytest.raises(JobError, match=r"HTTPS_PROXY .* NO_PROXY") as caught:
        parse_endpoint("https://dynamodb.us-east-1.amazonaws.com", "us-east-1")
    assert "hidden" not in str(caught.value)
    assert parse_endpoint("https://localhost:8000", "us-east-1").loopback
    assert parse_endpoint("http://dynamodb.internal", "us-east-1").port == 80
    monkeypatch.setenv("NO_PROXY", "amazonaws.com")
    assert parse_endpoint("https://dynamodb.us-east-1.amazonaws.com", "us-east-1").tls
