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


AWS = "https://dynamodb.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://user:hid%2Fden@proxy:3128", "proxy", 3128),
        ("proxy:3128", "proxy", 3128),
        ("http://proxy", "proxy", 80),
        ("http://[::1]:3128", "::1", 3128),
    ],
)
def test_the_environments_proxy_is_the_way(
    monkeypatch: pytest.MonkeyPatch, url: str, host: str, port: int
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    proxy = parse_endpoint(AWS, "us-east-1").proxy
    assert proxy is not None
    assert (proxy.host, proxy.port) == (host, port)
    assert "Basic" not in repr(proxy), "what holds a password isn't shown"
    assert ("Basic dXNlcjpoaWQvZGVu\r\n" in proxy.headers) == ("user" in url)
    assert parse_endpoint("https://localhost:8000", "us-east-1").proxy is None
    assert parse_endpoint("http://dynamodb.internal", "us-east-1").proxy is None


@pytest.mark.parametrize(
    ("excepted", "goes_around"),
    [
        ("amazonaws.com", True),
        (".amazonaws.com", True),
        ("other.com, dynamodb.us-east-1.amazonaws.com", True),
        ("dynamodb.us-east-1.amazonaws.com:443", True),
        ("*", True),
        ("dynamodb.us-east-1.amazonaws.com:8443", False),
        ("azonaws.com", False),
        ("", False),
    ],
)
def test_what_no_proxy_names_is_gone_to_straight(
    monkeypatch: pytest.MonkeyPatch, excepted: str, goes_around: bool
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", excepted)
    assert (parse_endpoint(AWS, "us-east-1").proxy is None) == goes_around


@pytest.mark.parametrize(
    ("name", "proxy", "url"),
    [
        ("HTTPS_PROXY", "https://user:hidden@proxy:3128", AWS),
        ("HTTPS_PROXY", "socks5://user:hidden@proxy:1080", AWS),
        ("HTTPS_PROXY", "http://user:hidden@proxy:x", AWS),
        ("HTTP_PROXY", "http://user:hidden@proxy:3128", "http://dynamodb.internal"),
    ],
)
def test_a_proxy_that_cant_be_gone_through_is_refused_not_gone_around(
    monkeypatch: pytest.MonkeyPatch, name: str, proxy: str, url: str
) -> None:
    monkeypatch.setenv(name, proxy)
    with pytest.raises(JobError, match=name) as caught:
        parse_endpoint(url, "us-east-1")
    assert "hidden" not in str(caught.value)
