"""Password and service files are read as PostgreSQL's own programs read them."""

from pathlib import Path

import pytest

from connectors.postgres.files import password, with_service
from engine.errors import JobError

URL = "postgresql://ann@db.example:5433/shop"


def written(folder: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    """Write a password file and return the environment that names it."""
    file = folder / "passwords"
    file.write_text(text)
    file.chmod(mode)
    return {"PGPASSFILE": str(file)}


@pytest.mark.parametrize(
    ("line", "url", "found"),
    [
        ("db.example:5433:shop:ann:secret", URL, "secret"),
        (r"db.example:5433:shop:ann:a\:b\\c\d", URL, r"a:b\cd"),
        ("db.example:5433:shop:ann:a:b c ", URL, "a:b c "),
        ("*:*:*:*:x", URL, "x"),
        ("*:5432:*:*:x", URL, None),
        ("db.example:5433:shop", URL, None),
        ("#db.example:5433:shop:ann:secret", URL, None),
        ("\n\n*:*:other:*:y\r\n*:*:shop:*:x\r\n", URL, "x"),
        (r"*:*:my\:db:a\\nn:x", "postgresql://a%5Cnn@h/my%3Adb", "x"),
        (r"\*:*:*:*:x", URL, None),
        (r"\:\:1:5432:*:*:x", "postgresql://ann@[::1]/shop", "x"),
        ("localhost:5432:ann:ann:x", "postgresql://ann@", "x"),
        ("localhost:5432:shop:ann:x", "postgresql://ann@/shop?host=/var/run/postgresql", "x"),
        ("/srv/pg:5432:shop:ann:x", "postgresql://ann@/shop?host=/srv/pg", "x"),
        ("two:2:*:*:x", "postgresql://ann@one:1,two:2/shop", "x"),
        ("two:1:*:*:x", "postgresql:///shop?host=one,two&port=1&user=ann", "x"),
        ("*:*:*:*:x", "postgresql://ann:own@db/shop", None),
        ("*:*:*:*:x", "postgresql://ann@db/shop?password=own", None),
        ("*:*:*:*:", URL, None),
    ],
)
def test_a_password_is_found_as_libpq_finds_it(
    tmp_path: Path, line: str, url: str, found: str | None
) -> None:
    assert password(url, written(tmp_path, line), tmp_path).value == found


def test_the_file_is_where_url_environment_or_home_say(tmp_path: Path) -> None:
    (tmp_path / ".pgpass").write_text("*:*:*:*:home")
    (tmp_path / ".pgpass").chmod(0o600)
    environ = written(tmp_path, "*:*:*:*:environment")
    assert password(URL, {}, tmp_path).value == "home"
    assert password(URL, environ, tmp_path).value == "environment"
    other = tmp_path / "other"
    other.write_text("*:*:*:bob:url")
    other.chmod(0o600)
    url = f"postgresql:///shop?passfile={other}"
    assert password(url, {**environ, "PGUSER": "bob"}, tmp_path).value == "url"
    assert password(URL, {**environ, "PGPASSWORD": "own"}, tmp_path).value is None


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_file_that_others_may_read_is_not_used_and_that_is_said(tmp_path: Path, mode: int) -> None:
    told = password(URL, written(tmp_path, "*:*:*:*:secret", mode), tmp_path)
    assert told.value is None
    assert told.fault is not None
    assert "chmod 600" in told.fault
    assert "secret" not in told.fault


def test_a_file_that_is_none_gives_nothing(tmp_path: Path) -> None:
    assert password(URL, {}, tmp_path).value is None
    assert "plain file" in str(password(URL, {"PGPASSFILE": str(tmp_path)}, tmp_path).fault)


def test_a_service_says_what_the_url_does_not(tmp_path: Path) -> None:
    file = tmp_path / "services"
    file.write_text(
        "# ours\n[other]\nhost=no\n[shop]\nhost=db\nport=6000\nuser=ann\ndbname=a b\npassword=5%&x\n"
    )
    environ = {"PGSERVICEFILE": str(file)}
    assert with_service("postgresql:///?service=shop&sslmode=disable", environ, tmp_path) == (
        "postgresql:///?sslmode=disable&host=db&port=6000&user=ann&dbname=a%20b&password=5%25%26x"
    )
    url = with_service("postgresql://bob@/mine", {**environ, "PGSERVICE": "shop"}, tmp_path)
    assert url == "postgresql://bob@/mine?host=db&port=6000&password=5%25%26x"
    assert with_service(URL, environ, tmp_path) == URL
    with pytest.raises(JobError, match=r"no service nothing in .*services"):
        with_service("postgresql:///?service=nothing", environ, tmp_path)
    (tmp_path / "pg_service.conf").write_text("[wide]\nhost=far\n")
    wide = with_service("postgresql:///?service=wide", {**environ, "PGSYSCONFDIR": str(tmp_path)}, tmp_path)
    assert wide == "postgresql:///?host=far"
