"""Logs reach whoever holds stderr, and no library's debug lines (signed headers) come along."""

import io
import logging
from collections.abc import Iterator

import pytest

from engine.show import logs


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    for package in logs.OWN:
        logging.getLogger(package).setLevel(logging.NOTSET)


@pytest.mark.parametrize(("verbose", "lines"), [(False, 2), (True, 3)])
def test_verbose_shows_our_own_debug_messages_only(
    monkeypatch: pytest.MonkeyPatch, verbose: bool, lines: int
) -> None:
    logs.setup(verbose=verbose)
    later = io.StringIO()
    monkeypatch.setattr("sys.stderr", later)  # as a live display does
    for name in ("engine.run.worker", "botocore.auth"):
        logging.getLogger(name).warning("warned")
        logging.getLogger(name).debug("CanonicalRequest …")
    assert len(later.getvalue().splitlines()) == lines
    assert "botocore.auth: CanonicalRequest" not in later.getvalue()


def test_setting_up_twice_says_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.setup(verbose=False)
    logs.setup(verbose=True)
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    logging.getLogger("engine").warning("once")
    assert stderr.getvalue().count("once") == 1


class Closed(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_a_closed_stderr_is_put_up_with(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.setup(verbose=False)
    monkeypatch.setattr("sys.stderr", Closed())
    logging.getLogger("engine").warning("nobody reads this")
