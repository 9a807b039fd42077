"""A source's URL: what the driver gets of it, and what messages say, which is no piece of the password."""

import pytest

from connectors.mongodb import session as mongodb
from connectors.postgres import address as postgres
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
