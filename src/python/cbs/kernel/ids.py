"""Internal ids are UUIDv7 (RFC 9562): unique without asking anyone, and in order of making."""

from uuid import UUID

RANDOM_BITS = 74


def uuid7(*, at_ms: int, random: int) -> UUID:
    """The id made at `at_ms` (Unix milliseconds) from RANDOM_BITS random bits."""
    assert 0 <= at_ms < 1 << 48, at_ms
    assert 0 <= random < 1 << RANDOM_BITS, random
    high, low = divmod(random, 1 << 62)
    return UUID(int=at_ms << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)
