"""Fixtures of the unit tests."""

from tests.support.tls import certificates
from tests.support.transport import run

__all__ = ["certificates", "run"]
