"""The payments service, put together."""

from cbs.payments.api.http import ROUTES, body_of
from cbs.payments.application.payments import Payments
from cbs.payments.connections import CONNECTIONS
from cbs.payments.infrastructure.ledger_client import LedgerClient, digest
from cbs.payments.infrastructure.requests import RequestsAtLedger
from cbs.payments.infrastructure.store import PostgresTransfers
from cbs.payments.infrastructure.tables import TransferRow
from cbs.platform.process import run
from cbs.platform.service import Parts, Plumbing
from cbs.platform.settings import Settings


def build(plumbing: Plumbing[Settings]) -> Parts:
    ledger = LedgerClient(bus=plumbing.bus)
    transfers = PostgresTransfers(database=plumbing.database)
    return Parts(
        routes=ROUTES,
        provide={"payments": Payments(ledger=ledger, transfers=transfers)},
        facts=(),
        tables=(TransferRow,),
        digests={"ledger": digest(transfers)},
        requests=RequestsAtLedger(ledger=ledger, own=plumbing.requests, shown=body_of),
    )


def main() -> None:
    run(CONNECTIONS, Settings, build)


if __name__ == "__main__":
    main()
