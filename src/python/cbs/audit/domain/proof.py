"""A proof lets an outsider check the log against a head they were given, without trusting us."""

from dataclasses import dataclass
from datetime import datetime

from cbs.kernel.refusal import Refusal, RefusalKind


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeHead:
    """The log as it was after `tree_size` entries; `at` is when the last of them was kept."""

    tree_size: int
    root_hash: bytes
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """That an entry is in the tree; `path` as in RFC 9162 §2.1.3."""

    index: int
    leaf_hash: bytes
    tree_size: int
    root_hash: bytes
    path: list[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    """That the second tree is the first with entries added; `path` as in RFC 9162 §2.1.4."""

    first: int
    first_root_hash: bytes
    second: int
    second_root_hash: bytes
    path: list[bytes]


class NoSuchEntry(Refusal):
    """The audit log has no entry with this index, or the tree asked about ends before it."""

    code = "no-such-entry"
    kind = RefusalKind.NOT_FOUND


class NoSuchTree(Refusal):
    """The audit log has not grown to this size yet."""

    code = "no-such-tree"
    kind = RefusalKind.NOT_FOUND


class TreesNotInOrder(Refusal):
    """Only a smaller tree, or the same, can be the beginning of the second one."""

    code = "trees-not-in-order"
