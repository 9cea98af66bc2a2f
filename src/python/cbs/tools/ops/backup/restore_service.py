"""One service comes back alone only if no other knows more of it than it then knows itself.

What it has heard less of the others, it hears again. What the others have heard and it no longer
has, it would say anew under the same positions, and nobody would listen: that is refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from cbs.bank import SERVICES
from cbs.platform.declaration import declaration_of
from cbs.tools.local import databases, postgres
from cbs.tools.local.databases import connected, number
from cbs.tools.local.postgres import with_database
from cbs.tools.local.process import output_of
from cbs.tools.ops.verify.snapshots import DatabasePlace
from cbs.tools.ops.verify.verify import Finding, findings, line

LOST_SHOWN_MAX = 20
INCOMING = "_incoming"
DROPPED = "had no database any more by then: name a moment before it was lost with --at"
# What others say of a service, beside the checks of its own.
BETWEEN = ("inbox-behind", "terms-held", "transfers-listed")
# Work that was under way then: it goes on afterwards.
UNFINISHED = ("dead-letters", "requests-finished")

WATERMARK = "SELECT position FROM watermark WHERE source = $1"
HEAD = "SELECT position FROM outbox_head"
LOST = """
    SELECT position, fact, subject, at FROM audit_entry
    WHERE source = $1 AND position > $2 ORDER BY position LIMIT $3"""
# Outsiders may hold proofs from the tree as it was.
TREE = "SELECT tree_size FROM audit_head"


class Diverged(RuntimeError):
    """Others know more of the service than the backup; the message lists what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRestore:
    """Moves a service's database from one server to another; the URLs are administrators'."""

    service: str
    source: str
    target: str

    async def reconciled(self, say: Callable[[str], None]) -> dict[str, int]:
        """Source -> how many facts will be heard again; raises Diverged."""
        own = databases.runtime_of(self.service)
        await self._others_are_there()
        try:
            head = await number(with_database(self.source, own), HEAD)
        except asyncpg.InvalidCatalogNameError:
            raise Diverged(f"{self.service} {DROPPED}") from None
        lost = await self._known_elsewhere(head) + await self._known_before(own, head)
        if lost:
            raise Diverged("\n".join([*lost, _way_out(self.service)]))
        found = await findings(
            self._places(),
            say=lambda _: None,
            tell=lambda _: None,
            fence_seconds_max=0,  # nobody listens now: what was not heard yet is no fault
        )
        wrong = [each for each in found if each.outcome == "violated" and self._concerned(each)]
        if wrong:
            shown = [line(finding) for finding in wrong]
            raise Diverged("\n".join(["the others do not agree:", *shown, _way_out(self.service)]))
        again = {}
        for other in declaration_of(self.service).hears:
            heard = await number(with_database(self.source, own), WATERMARK, other)
            url = self.source if other == self.service else self.target
            again[other] = (
                await number(with_database(url, databases.runtime_of(other)), HEAD) - heard
            )
            say(
                f"{self.service} has heard {heard} facts of {other}, and hears {again[other]} again"
            )
        return again

    def made(self, dump: Path) -> None:
        """Bring the database over; what the target had is replaced in one step at the end."""
        own, incoming = databases.runtime_of(self.service), self._incoming
        databases.in_own_loop(lambda: self._before(incoming))
        words = ["--format=custom", "--file", str(dump), with_database(self.source, own)]
        output_of([postgres.program("pg_dump"), *words])
        dump.chmod(0o600)
        there = with_database(self.target, incoming)
        # The schema is there already, empty and handed over.
        words = ["--exit-on-error", "--single-transaction", "--dbname", there, str(dump)]
        output_of([postgres.program("pg_restore"), *words])
        databases.in_own_loop(lambda: self._after(own, incoming))

    @property
    def _incoming(self) -> str:
        return databases.runtime_of(self.service) + INCOMING

    async def _before(self, incoming: str) -> None:
        await databases.drop_database(self.target, incoming)
        await databases.make_database(self.target, self.service, name=incoming)

    async def _after(self, own: str, incoming: str) -> None:
        fingerprint = await databases.program_of(self.source, self.service)
        await databases.drop_database(self.target, own)
        async with connected(self.target) as admin:
            await admin.execute(f"ALTER DATABASE {incoming} RENAME TO {own}")
        if fingerprint.isalnum():
            await databases.note_program(self.target, self.service, fingerprint)

    async def _others_are_there(self) -> None:
        async with connected(self.target) as admin:
            there = {row[0] for row in await admin.fetch("SELECT datname FROM pg_database")}
        for other in SERVICES:
            if other != self.service and databases.runtime_of(other) not in there:
                raise Diverged(
                    f"{other} has no database to compare with: restore it first, or the whole bank"
                )

    async def _known_elsewhere(self, head: int) -> list[str]:
        lost = []
        for other in SERVICES:
            if other != self.service and self.service in declaration_of(other).hears:
                url = with_database(self.target, databases.runtime_of(other))
                heard = await number(url, WATERMARK, self.service)
                if heard > head:
                    lost.append(f"{other} has heard {heard} facts of {self.service}, not {head}")
        if lost:
            lost += await self._recorded(head)
        return lost

    async def _recorded(self, head: int) -> list[str]:
        """The facts that would be lost, as the audit log has them."""
        url = with_database(self.target, databases.runtime_of("audit"))
        async with connected(url) as audit:
            rows = await audit.fetch(LOST, self.service, head, LOST_SHOWN_MAX + 1)
        shown = [
            f"    {row['position']} {row['fact']} of {row['subject']}, {row['at'].isoformat()}"
            for row in rows[:LOST_SHOWN_MAX]
        ]
        return shown + (["    and more"] if len(rows) > LOST_SHOWN_MAX else [])

    async def _known_before(self, own: str, head: int) -> list[str]:
        """What the database that is to be replaced has more, if it can be read at all."""
        try:
            there = with_database(self.target, own)
            had = await number(there, HEAD)
            lost = [f"{self.service} itself has said {had} facts, not {head}"] * (had > head)
            if self.service == "audit":
                tree = await number(there, TREE)
                back = await number(with_database(self.source, own), TREE)
                if tree > back:
                    lost.append(
                        f"the audit log has {tree} entries, not {back}: grown again it could have"
                        " another order, and proofs that were given would not hold"
                    )
        except (asyncpg.PostgresError, OSError):
            return []  # it is lost: the others are asked all the same
        return lost

    def _places(self) -> Mapping[str, DatabasePlace]:
        return {
            service: DatabasePlace(
                url=with_database(
                    self.source if service == self.service else self.target,
                    databases.runtime_of(service),
                    databases.VERIFY,
                )
            )
            for service in SERVICES
        }

    def _concerned(self, finding: Finding) -> bool:
        if finding.service == self.service:
            return finding.check not in UNFINISHED
        return finding.check in (*BETWEEN, f"audited-{self.service}")


def _way_out(service: str) -> str:
    return (
        f"so {service} does not come back alone to this moment. Name a later one with --at, or none"
        " for all that was archived; or restore the whole bank: the same without --service"
    )
