"""Fixtures of the unit tests."""

from tests.support.transport import run

__all__ = ["run"]
