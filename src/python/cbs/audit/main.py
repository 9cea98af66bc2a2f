"""The audit service, put together."""

from cbs.audit.api.bus import digest
from cbs.audit.api.http import ROUTES
from cbs.audit.api.releases import keep_verdict
from cbs.audit.application.log import AuditLog
from cbs.audit.connections import CONNECTIONS
from cbs.audit.domain.release import ReleaseJudged
from cbs.audit.infrastructure.store import PostgresLog
from cbs.audit.infrastructure.tables import EntryRow, HeadRow
from cbs.platform.context import now
from cbs.platform.process import run
from cbs.platform.service import Parts, Plumbing
from cbs.platform.settings import Settings


def build(plumbing: Plumbing[Settings]) -> Parts:
    log = AuditLog(store=PostgresLog(database=plumbing.database), now=now)
    return Parts(
        routes=[*ROUTES, keep_verdict],
        provide={"log": log, "outbox": plumbing.outbox},
        facts=(ReleaseJudged,),
        tables=(EntryRow, HeadRow),
        digests=dict.fromkeys(CONNECTIONS.hears, digest(log)),
    )


def main() -> None:
    run(CONNECTIONS, Settings, build)


if __name__ == "__main__":
    main()
