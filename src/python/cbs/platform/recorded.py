"""A digest of rows tells whoever has the rows that they are the same, and nobody else anything."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

SALT_BYTES = 16


def digest_of_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 in hexadecimal digits of all columns, by name. One of the rows has a random salt.

    What is null, false, nothing or empty does not count: a column that a later release adds leaves
    the digests of earlier rows as they were.
    """
    said = [{name: value for name, value in row.items() if value} for row in rows]
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()
