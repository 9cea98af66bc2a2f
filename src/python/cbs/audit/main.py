"""The audit service, put together."""

from collections.abc import Callable

from cbs.audit.application.log import AuditLog, LogStore
from cbs.audit.consumer import handler_of
from cbs.audit.domain.release import ReleaseJudged
from cbs.audit.http.entries import ROUTES
from cbs.audit.http.releases import keep_verdict
from cbs.audit.service import DECLARATION
from cbs.audit.store import PostgresLog
from cbs.audit.tables import EntryRow, HeadRow
from cbs.platform.context import now
from cbs.platform.process import run
from cbs.platform.service import Runtime, ServiceSpec
from cbs.platform.settings import Settings


def in_postgres(runtime: Runtime[Settings]) -> LogStore:
    return PostgresLog(database=runtime.postgres_with(EntryRow, HeadRow))


def build(
    runtime: Runtime[Settings], stores: Callable[[Runtime[Settings]], LogStore] = in_postgres
) -> ServiceSpec:
    log = AuditLog(store=stores(runtime), now=now)
    return ServiceSpec(
        routes=[*ROUTES, keep_verdict],
        provide={"log": log, "outbox": runtime.outbox},
        facts=(ReleaseJudged,),
        handlers=dict.fromkeys(DECLARATION.hears, handler_of(log)),
    )


def main() -> None:
    run(DECLARATION, Settings, build)


if __name__ == "__main__":
    main()
