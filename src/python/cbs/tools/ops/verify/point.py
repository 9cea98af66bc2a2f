"""How far facts and the audit log were verified, so that the next time can go on from there.

Rows are compared with the facts that made them each time, however old they are.
"""

import hashlib
from pathlib import Path

import msgspec

from cbs.kernel.merkle import Tree
from cbs.platform.files import write_whole
from cbs.platform.invariants import CannotSay, SnapshotReader

BODY = "SELECT body FROM outbox WHERE position = $1"
HEAD = "SELECT tree_size, peaks FROM audit_head"
AGAIN = "verify without --from-last, which keeps a new one"


class Point(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Of each service the position of the last fact that was verified, with the SHA-256 of its
    bytes; of the audit log the tree over all that was verified. Hashes are hexadecimal digits."""

    positions: dict[str, int] = {}
    facts: dict[str, str] = {}
    tree_size: int = 0
    peaks: list[str] = []

    @property
    def tree(self) -> Tree:
        return Tree(self.tree_size, tuple(bytes.fromhex(peak) for peak in self.peaks))


def read(file: Path) -> Point:
    """Raises CannotSay."""
    try:
        point = msgspec.json.decode(file.read_bytes(), type=Point)
        assert point.tree.size == point.tree_size
    except (OSError, ValueError, AssertionError) as error:  # msgspec's are ValueErrors, too
        raise CannotSay(f"{file} tells no last verified point ({error}): {AGAIN}") from error
    return point


def keep(file: Path, point: Point) -> None:
    write_whole(file, msgspec.json.encode(point).decode())


async def reached(snapshots: SnapshotReader, heads: dict[str, int]) -> Point:
    """The point of these snapshots, in which everything holds."""
    point = Point()
    for service, head in heads.items():
        point.positions[service] = head
        point.facts[service] = await _digest(snapshots, service, head)
    if "audit" in heads:
        row = await snapshots["audit"].fetchrow(HEAD)
        point.tree_size, point.peaks = row["tree_size"], [peak.hex() for peak in row["peaks"]]
    return point


async def must_fit(point: Point, snapshots: SnapshotReader) -> None:
    """Raises CannotSay if it is of other databases, or of a later time than they are."""
    for service in snapshots.services:
        position = point.positions.get(service, 0)
        if await _digest(snapshots, service, position) != point.facts.get(service, ""):
            raise CannotSay(
                f"the last verified point does not fit: fact {position} of {service} is another"
                f" now, or not there (is this bank restored, or edited?): {AGAIN}"
            )
    if "audit" in snapshots.services:
        row = await snapshots["audit"].fetchrow(HEAD)
        if row["tree_size"] < point.tree_size:
            raise CannotSay(f"the audit log is shorter than when it was last verified: {AGAIN}")


async def _digest(snapshots: SnapshotReader, service: str, position: int) -> str:
    body = await snapshots[service].fetchval(BODY, position)
    return "" if body is None else hashlib.sha256(body).hexdigest()
