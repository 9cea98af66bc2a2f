"""The small repository of tests/release."""

from tests.release.conftest import base, place

__all__ = ["base", "place"]
