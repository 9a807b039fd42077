"""Credentials that aren't there, and those that a person has to help with."""

import asyncio
import os
import pty
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

pytestmark = pytest.mark.fault

CODE = "123456"
ROWS = 3_000
ANSWER = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>hidden</SecretAccessKey><SessionToken>token</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::1:x/y/z</Arn>
<AssumedRoleId>A:z</AssumedRoleId></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>"""


@pytest.fixture
def command(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    fill = f"INSERT INTO t SELECT n FROM generate_series(1, {ROWS}) n"
    asyncio.run(execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY)", fill))
    loads.create_table(dynoxide, table_name)
    return Command(tmp_path, loads.job(postgres_url, dynoxide, table_name, source={"segments": 4}))


@pytest.fixture
def profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Write the AWS configuration's one profile, and use it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))

    def write(text: str) -> None:
        (tmp_path / "config").write_text(text)

    return write


@pytest.fixture
def token_service() -> Iterator[tuple[str, list[str]]]:
    """A stand-in for STS, and the codes that it was given."""
    codes: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            codes.append(asked["TokenCode"][0])
            body = ANSWER.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", codes
        server.shutdown()
        thread.join()


def test_two_workers_ask_for_one_mfa_code_once(
    command: Command, profile: Any, token_service: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, codes = token_service
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
    profile(
        "[profile mfa]\nregion = us-east-1\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = base\n"
        "mfa_serial = arn:aws:iam::1:mfa/me\n"
        "[profile base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = hidden\n"
    )
    command.job["target"]["profile"] = "mfa"
    path = command.write_job()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(command.folder)
        arguments = [sys.executable, "-m", "engine", "run", path.name, "--workers", "2"]
        os.execvpe(arguments[0], arguments, {**os.environ, "PYTHONWARNINGS": "ignore", "TERM": "dumb"})
    said = b""
    answered = 0
    while True:
        try:
            heard = os.read(terminal, 65_536)
        except OSError:  # the other end is closed: the command has ended
            break
        if not heard:
            break
        said += heard
        if len(re.findall(rb"MFA code", said)) > answered:
            answered += 1
            os.write(terminal, f"{CODE}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, said.decode()
    assert b"workers 2" in said
    assert (answered, codes) == (1, [CODE]), said.decode()
    assert len(loads.items(command.job["target"]["endpoint_url"], command.job["target"]["table"])) == ROWS


@pytest.mark.parametrize("verb", ["run", "plan", "verify"])
def test_a_profile_that_isnt_there_is_named(command: Command, profile: Any, verb: str) -> None:
    profile("")
    command.job["target"]["profile"] = "nobody"
    ended = command.here(verb)
    assert ended.code == 2, ended.stderr
    assert "target.profile" in ended.stderr
    assert "nobody" in ended.stderr
    assert "internal error" not in ended.stderr


@pytest.mark.parametrize("program", ["/no/such/program", "/bin/false", "/etc/hostname", "/bin/echo {}"])
def test_a_credential_program_that_doesnt_work_is_named(command: Command, profile: Any, program: str) -> None:
    profile(f"[profile p]\nregion = us-east-1\ncredential_process = {program}\n")
    command.job["target"]["profile"] = "p"
    ended = command.here("run", "--workers", "1")
    assert ended.code == 2, ended.stderr
    assert "internal error" not in ended.stderr
    assert "redentials" in ended.stderr
    assert "profile p" in ended.stderr or "target.profile" in ended.stderr, ended.stderr
