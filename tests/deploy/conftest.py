"""The bank of tests/verify, and the small repository of tests/release."""

from tests.release.conftest import base, place
from tests.verify.conftest import bank, specimen

__all__ = ["bank", "base", "place", "specimen"]
