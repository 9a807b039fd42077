"""Logs reach whoever holds stderr, and no library's debug lines (signed headers) come along."""

import asyncio
import io
import logging
import os
import re
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


def test_a_line_says_when_and_of_which_job_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.setup(verbose=True)
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)

    async def work(job: str) -> None:
        logs.of_job(job)
        await asyncio.sleep(0)
        logging.getLogger("engine.run").debug("of %s", job)

    async def both() -> None:
        await asyncio.gather(work("users"), work("orders"))

    asyncio.run(both())
    logging.getLogger("engine").warning("of none")
    lines = stderr.getvalue().splitlines()
    when = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
    for line, rest in zip(lines, ["DEBUG users", "DEBUG orders", "WARNING -"], strict=True):
        assert re.match(when + re.escape(f"{rest}[{os.getpid()}] engine"), line), line
    assert lines[1].endswith("engine.run: of orders")


def _expired() -> None:
    raise RuntimeError("the session has expired")


def test_a_librarys_traceback_is_for_those_who_ask_for_it(capsys):
    for asked in (False, True):
        logs.setup(verbose=asked)
        with pytest.raises(RuntimeError) as raised:
            _expired()
        logging.getLogger("botocore.credentials").warning("Refreshing failed", exc_info=raised.value)
        shown = capsys.readouterr().err
        assert "Refreshing failed" in shown
        assert "the session has expired" in shown
        assert ("Traceback" in shown) == asked
