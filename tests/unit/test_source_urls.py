"""A source's URL: what the driver gets of it, and what messages say, which is no piece of the password."""

import pytest

from connectors.mongodb import session as mongodb
from connectors.mongodb.section import MongoDBSection
from connectors.postgres import address as postgres
from connectors.postgres.section import PostgresSection
from connectors.postgres.session import connect
from connectors.url import misencoded
from engine.errors import JobError


@pytest.mark.parametrize("where", [postgres.where, mongodb.where])
@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("user:pw@db.example:5432/shop", "db.example:5432"),
        ("db.example/shop", "db.example"),
        ("user:p@w@db.example/shop", "db.example"),
        ("user:12/34@db.example/shop", "the given host"),
        ("user:12#34@db.example/shop", "the given host"),
        ("user:12?34@db.example/shop", "the given host"),
    ],
)
def test_a_password_with_unescaped_signs_is_never_taken_for_the_host(where, rest, said):
    assert where(f"scheme://{rest}") == said


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("", ""),
        ("?sslmode=require", "?sslmode=require"),
        ("?connect_timeout=10", ""),
        ("?keepalives=1&sslmode=require&keepalives_idle=30", "?sslmode=require"),
        ("?sslmode=disable&channel_binding=prefer&gssencmode=disable", "?sslmode=disable"),
        ("?channel_binding=require", "?channel_binding=require"),  # not to be weakened without a word
    ],
)
def test_parameters_of_libpq_that_change_nothing_are_not_sent_to_the_server(query, left):
    url = "postgresql://user:p%3Fw@db.example:5432/shop"
    assert postgres.for_driver(url + query) == url + left


@pytest.mark.parametrize("option", ["tlsCertificateKeyFile", "tlsCAFile", "tlsCRLFile"])
def test_a_file_of_tls_that_isnt_there_is_named(option):
    with pytest.raises(
        JobError, match=r"source.url: the file /nosuch/it.pem, which one .*no such file or directory.*path"
    ):
        mongodb.connect(f"mongodb://user:secret-1@127.0.0.1:1/?tls=true&{option}=/nosuch/it.pem", "pymongo")


ENCODED = [
    "user:p%40w%2F@db.example:5432/shop?sslmode=require#x",
    "user@db.example/shop",
    "/shop?host=/var/run/postgresql",
    "postgres@/shop?host=/tmp/x",
    "a:b@one,two:27018/?replicaSet=rs0",
]
NOT_ENCODED = [
    "user:p@Yy8/x@db.example/shop",
    "user:p@w@db.example/shop",
    "user:Yy8/12@db.example/shop",
    "user:Yy8#12@db.example/shop",
    "user:Yy8?12@db.example/shop",
    "db.example/shop?user=a@b",
]


@pytest.mark.parametrize("rest", ENCODED)
def test_a_url_that_reads_in_one_way_is_taken(rest):
    assert misencoded(f"postgresql://{rest}") is None


@pytest.mark.parametrize("rest", NOT_ENCODED)
async def test_a_url_that_may_hide_a_piece_of_a_password_is_refused_without_a_piece_of_it(rest):
    with pytest.raises(ValueError, match="percent-encode") as told:
        PostgresSection(type="postgres", url=f"postgresql://{rest}", table="t")
    assert "Yy8" not in told.value.errors()[0]["msg"]
    with pytest.raises(ValueError, match="percent-encode"):
        MongoDBSection(type="mongodb", url=f"mongodb://{rest}", database="d", collection="c")
    with pytest.raises(JobError, match="percent-encode") as refused:  # as init is given it
        await connect(f"postgresql://{rest}")
    assert "Yy8" not in str(refused.value)
    with pytest.raises(JobError, match="percent-encode"):
        mongodb.connect(f"mongodb://{rest}", "pymongo")


@pytest.mark.parametrize(
    "query",
    [
        "datetime_conversion=bad",
        "uuidRepresentation=bad",
        "readPreference=bad",
        "authMechanism=bad",
        "tls=maybe",
    ],
)
def test_an_option_that_the_driver_does_not_take_is_the_urls_fault(query):
    with pytest.raises(JobError, match=r"source\.url: ") as told:
        mongodb.connect(f"mongodb://user:hunter2@127.0.0.1:1/?{query}", "pymongo")
    assert "hunter2" not in str(told.value)
