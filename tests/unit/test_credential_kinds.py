"""Every kind of AWS credentials is found, and renewed before it ends."""

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest
from botocore.credentials import SSOProvider

from connectors.dynamodb.http import session as session_module
from connectors.dynamodb.http.session import open_session
from connectors.dynamodb.section import DynamoDBSection
from tests.unit.test_session import nothing_configured

__all__ = ["nothing_configured"]

START = "https://example.awsapps.com/start"
ROLE = "arn:aws:iam::123456789012:role/loader"
STS = """<R xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials><AccessKeyId>{key}</AccessKeyId>
<SecretAccessKey>hidden</SecretAccessKey><SessionToken>token</SessionToken><Expiration>{until}</Expiration></Credentials>
<AssumedRoleUser><Arn>arn:aws:sts::1:x/y/z</Arn><AssumedRoleId>A:z</AssumedRoleId></AssumedRoleUser></{action}Result></R>"""


@pytest.fixture
def service() -> Iterator[str]:
    """A container's agent, an instance's metadata and STS in one; keys end in a minute."""
    numbers = count(1)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            key = f"AKID{next(numbers)}"
            until = (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
            keys = {"AccessKeyId": key, "SecretAccessKey": "hidden", "Token": "token", "Expiration": until}
            match self.path:
                case "/latest/api/token":
                    body = "token"
                case "/latest/meta-data/iam/security-credentials/":
                    body = "role"
                case path if path.startswith("/federation/credentials?"):
                    assert self.headers["x-amz-sso_bearer_token"] == "signed in"
                    ends = int(datetime.now(UTC).timestamp() + 60) * 1000
                    role = {"accessKeyId": key, "secretAccessKey": "hidden", "sessionToken": "token"}
                    body = json.dumps({"roleCredentials": {**role, "expiration": ends}})
                case "/":
                    action = asked.partition("Action=")[2].partition("&")[0]
                    body = STS.format(action=action, key=key, until=until)
                case _:
                    body = json.dumps({"Code": "Success", **keys})
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_PUT = do_POST = answer  # noqa: N815 - as http.server calls them

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def configure(kind: str, service: str, folder: Path) -> dict[str, str]:
    """Return the environment of one kind; what it needs besides is written."""
    config = "[default]\nregion = us-east-1\n"
    environment = {}
    match kind:
        case "container":
            environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{service}/container"
        case "instance":
            environment |= {
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": service,
                "AWS_EC2_METADATA_DISABLED": "false",
            }
        case "web identity":
            (folder / "token").write_text("token")
            environment |= {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "token")}
        case "role":
            config += f"role_arn = {ROLE}\nsource_profile = base\n"
            config += "[profile base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = hidden\n"
        case "program":
            program = folder / "program.py"
            program.write_text(
                "import json, sys, urllib.request\n"
                f"said = json.load(urllib.request.urlopen('{service}/program'))\n"
                "said['SessionToken'] = said.pop('Token')\nprint(json.dumps({'Version': 1, **said}))\n"
            )
            config += f"credential_process = {sys.executable} {program}\n"
        case "sso":
            config += f"sso_start_url = {START}\nsso_region = us-east-1\n"
            config += "sso_account_id = 123456789012\nsso_role_name = loader\n"
            token = {"startUrl": START, "accessToken": "signed in", "expiresAt": "2099-01-01T00:00:00Z"}
            # As `aws sso login` leaves it behind.
            named = hashlib.sha1(START.encode(), usedforsecurity=False).hexdigest()
            (folder / f"{named}.json").write_text(json.dumps(token))
    (folder / "config").write_text(config)
    return {**environment, "AWS_ENDPOINT_URL_STS": service, "AWS_ENDPOINT_URL_SSO": service}


@pytest.mark.parametrize("kind", ["container", "instance", "web identity", "role", "program", "sso"])
async def test_they_are_found_and_renewed(
    kind: str, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in configure(kind, service, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(session_module, "CHECK_EVERY_S", 0.0)
    session = await open_session(DynamoDBSection(type="dynamodb", table="app-data", region="us-east-1"))
    first = (await session.signer()).keys
    assert first.access_key.startswith("AKID")
    assert (first.secret_key, first.token) == ("hidden", "token")
    if kind != "instance":  # botocore goes on with an instance's, whose service may be away
        assert (await session.signer()).keys.access_key != first.access_key
    assert await session.refresh()
    assert (await session.signer()).keys.access_key != first.access_key
