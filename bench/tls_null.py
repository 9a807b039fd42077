"""The null target behind TLS, in a process of its own, and the certificate that it shows.

Invariant: the certificate is good for 127.0.0.1 alone, made anew for each use, and trusted by nobody else.
"""

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from bench.servers import free_port, running
from bench.simulator.null import NullCounts, NullProtocol
from engine.environment import module_command
from engine.errors import JobError


@contextmanager
def tls_null_target() -> Iterator[str]:
    """Run it in a process of its own, give its URL, and have this process's clients trust it meanwhile.

    Raises: JobError where there is no openssl.
    """
    with TemporaryDirectory(prefix="backfill-tls-") as folder:
        certificate, key = self_signed(Path(folder))
        port = free_port()
        before = os.environ.get("AWS_CA_BUNDLE")
        os.environ["AWS_CA_BUNDLE"] = str(certificate)
        try:
            command = module_command("bench.tls_null", str(port), str(certificate), str(key))
            with running(command, port=port):
                yield f"https://127.0.0.1:{port}"
        finally:
            if before is None:
                del os.environ["AWS_CA_BUNDLE"]
            else:
                os.environ["AWS_CA_BUNDLE"] = before


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 and its key. Raises: JobError where there is no openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise JobError("openssl isn't installed, and the certificate for a figure with TLS is made with it")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    request = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    request += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    request += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(request, check=True, capture_output=True)  # noqa: S603 - a fixed command line
    return certificate, key


async def serve(port: int, certificate: str, key: str) -> None:
    """Serve on 127.0.0.1 until ended."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    counts = NullCounts()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: NullProtocol(counts), "127.0.0.1", port, backlog=1024, ssl=context
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
