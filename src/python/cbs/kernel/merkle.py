"""A log hashed as a Merkle tree (RFC 9162 §2.1) can be shown never to have lost or changed a leaf.

A complete subtree never changes again, so the hash of any older or younger tree, and every proof,
is put together from a few complete subtrees: `subtrees` says which, `joined` puts them together.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Subtree(NamedTuple):
    """Covers the leaves from `number << level` up to, but not with, `number + 1 << level`."""

    level: int
    number: int


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def joined(hashes: Sequence[bytes]) -> bytes:
    """The hash over neighbouring complete subtrees, largest first; of none, an empty tree's."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    *before, whole = hashes
    for left in reversed(before):
        whole = node_hash(left, whole)
    return whole


@dataclass(frozen=True, slots=True)
class Tree:
    """All that appending needs: how many leaves, and the hashes of the largest complete subtrees
    over them, largest first; there are never more than log2(size) + 1."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.peaks) == self.size.bit_count(), (self.size, len(self.peaks))

    @property
    def root(self) -> bytes:
        return joined(self.peaks)

    def appended(self, leaves: Iterable[bytes]) -> tuple["Tree", dict[Subtree, bytes]]:
        """The tree with these leaf hashes at its end, and the subtrees that they completed."""
        size, peaks = self.size, list(self.peaks)
        completed: dict[Subtree, bytes] = {}
        for peak in leaves:
            level = 0
            while size >> level & 1:
                peak = node_hash(peaks.pop(), peak)
                level += 1
                completed[Subtree(level, size >> level)] = peak
            peaks.append(peak)
            size += 1
        return Tree(size, tuple(peaks)), completed


def subtrees(leaves: range) -> list[Subtree]:
    """The complete subtrees whose hashes, joined, are the hash over these leaves."""
    found, start = [], leaves.start
    for level in reversed(range(len(leaves).bit_length())):
        if len(leaves) >> level & 1:
            assert start % (1 << level) == 0, f"{leaves} is no part of a tree"
            found.append(Subtree(level, start >> level))
            start += 1 << level
    return found


def inclusion(index: int, size: int) -> list[range]:
    """What to hash to prove that a leaf is in the tree of `size` leaves, in order (§2.1.3.1)."""
    assert 0 <= index < size, (index, size)
    path, within = [], range(size)
    while len(within) > 1:
        left, right = _halves(within)
        within, sibling = (left, right) if index in left else (right, left)
        path.append(sibling)
    return path[::-1]


def consistency(first: int, second: int) -> list[range]:
    """What to hash to prove that the tree of `first` leaves begins that of `second` (§2.1.4.1)."""
    assert 0 < first <= second, (first, second)
    path, within = [], range(second)
    while within.stop != first:
        left, right = _halves(within)
        within, sibling = (left, right) if first <= left.stop else (right, left)
        path.append(sibling)
    # Who asks knows the hash of the whole first tree already.
    known = within.start == 0
    return ([] if known else [within]) + path[::-1]


def _halves(leaves: range) -> tuple[range, range]:
    """Split at the largest power of two that is less than the whole."""
    middle = leaves.start + (1 << (len(leaves) - 1).bit_length() - 1)
    return range(leaves.start, middle), range(middle, leaves.stop)
