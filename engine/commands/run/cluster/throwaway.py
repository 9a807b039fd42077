"""A certificate for one run, for whoever listens beyond this machine and has named none.

Invariant: it vouches for nothing by itself, the token does (greeting.py); so nobody need keep it.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

VALID = timedelta(days=30)
"""Nobody looks at that but who asks with `--ca`."""


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate and its key, in PEM, in a directory that is ours alone; return their paths."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "backfill")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALID)
        .sign(key, SHA256())
    )
    shown, secret = folder / "cert.pem", folder / "key.pem"
    shown.write_bytes(made.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return shown, secret
