"""TLS: only to servers that somebody vouches for."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from connectors.dynamodb.http.endpoint import parse_endpoint
from connectors.dynamodb.http.transport import Transport
from engine.errors import PermanentError
from tests.support.stub_server import stub_server
from tests.support.transport import LONG, Run, Signers, failure, send


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a CA and a certificate for localhost."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("tls")
    (folder / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for command in (
        ["req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA", "-days", "2"],
        ["req", *curve, "-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=localhost"],
        ["x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
         "-out", "cert.pem", "-days", "2", "-extfile", "san"],
    ):  # fmt: skip
        subprocess.run([openssl, *command], cwd=folder, check=True, capture_output=True)
    return folder


def tls_server(certificates: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    return context


def test_tls_goes_to_the_server_whose_ca_is_trusted(run: Run, certificates: Path) -> None:
    async def main() -> None:
        async with stub_server(tls=tls_server(certificates)) as stub:
            endpoint = parse_endpoint(f"https://localhost:{stub.port}", "us-east-1")
            trusted = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
            transport = Transport(endpoint, Signers(endpoint), connections_max=2, tls=trusted)
            body = bytes(LONG // 4)
            assert await send(transport, body) == b"{}"
            assert await send(transport) == b"{}"
            assert stub.bodies == [body, b"{}"]
            assert stub.connections == 1
            await transport.close()

    run(main())


def test_tls_refuses_a_server_that_nobody_vouches_for(run: Run, certificates: Path) -> None:
    async def main() -> None:
        async with stub_server(tls=tls_server(certificates)) as stub:
            endpoint = parse_endpoint(f"https://localhost:{stub.port}", "us-east-1")
            transport = Transport(
                endpoint, Signers(endpoint), connections_max=2, tls=ssl.create_default_context()
            )
            with pytest.raises(PermanentError, match=r"isn't trusted .*AWS_CA_BUNDLE"):
                await transport.send("BatchWriteItem", [b"{}"])
            assert stub.exchanges == []
            await transport.close()

    run(main())


def test_a_server_that_accepts_but_never_shakes_hands_is_given_up(run: Run) -> None:
    async def main() -> None:
        async with stub_server() as stub:
            endpoint = parse_endpoint(f"https://127.0.0.1:{stub.port}", "us-east-1")
            transport = Transport(endpoint, Signers(endpoint), connections_max=1, connect_timeout_s=0.02)
            error = await failure(transport)
            assert not error.sent
            assert "no connection" in str(error)
            await transport.close()

    run(main())
