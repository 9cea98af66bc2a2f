"""The payments service, put together."""

from collections.abc import Callable

from cbs.payments.application.payments import Payments, Transfers
from cbs.payments.clients import LedgerClient, RequestsAtLedger
from cbs.payments.consumer import handler_of
from cbs.payments.http import ROUTES, body_of
from cbs.payments.service import DECLARATION
from cbs.payments.store import PostgresTransfers
from cbs.payments.tables import TransferRow
from cbs.platform.process import run
from cbs.platform.service import Runtime, ServiceSpec
from cbs.platform.settings import Settings


def in_postgres(runtime: Runtime[Settings]) -> Transfers:
    return PostgresTransfers(database=runtime.postgres_with(TransferRow))


def build(
    runtime: Runtime[Settings], stores: Callable[[Runtime[Settings]], Transfers] = in_postgres
) -> ServiceSpec:
    ledger = LedgerClient(bus=runtime.bus)
    transfers = stores(runtime)
    return ServiceSpec(
        routes=ROUTES,
        provide={"payments": Payments(ledger=ledger, transfers=transfers)},
        facts=(),
        handlers={"ledger": handler_of(transfers)},
        requests=RequestsAtLedger(ledger=ledger, own=runtime.requests, shown=body_of),
    )


def main() -> None:
    run(DECLARATION, Settings, build)


if __name__ == "__main__":
    main()
