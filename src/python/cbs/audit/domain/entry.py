"""An entry of the audit log is a fact of some service, byte for byte, at a place for ever."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cbs.kernel import merkle

Origin = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A fact as heard. `body` is what is hashed; the other fields are in it, and here to be
    searched. A source's positions begin at 1 and are never used twice."""

    source: str
    position: int
    fact: str
    actor: str
    on_behalf_of: str
    subject: str
    at: datetime
    correlation_id: str
    body: bytes

    @property
    def origin(self) -> Origin:
        return self.source, self.position

    @property
    def leaf_hash(self) -> bytes:
        return merkle.leaf_hash(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`index` counts from 0 without gaps, in the order of hearing."""

    index: int
    leaf_hash: bytes
    record: Record


class HistoryRewritten(Exception):
    """A source has said something else under a position that it had used before."""


def not_yet_kept(records: Sequence[Record], kept: Mapping[Origin, bytes]) -> list[Record]:
    """The records to keep, each once, in order; `kept` has the leaf hashes of those that are.

    Raises HistoryRewritten when a record differs from the one kept for its position.
    """
    known, new = dict(kept), []
    for record in records:
        leaf = record.leaf_hash
        if record.origin not in known:
            known[record.origin] = leaf
            new.append(record)
        elif known[record.origin] != leaf:
            raise HistoryRewritten(f"{record.source} at {record.position}")
    return new
