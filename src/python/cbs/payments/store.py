from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cbs.kernel.money import Currency
from cbs.payments.application.payments import Listed
from cbs.payments.domain.transfer import Kind, Transfer
from cbs.payments.tables import TransferRow
from cbs.platform.database import Database

ADD = """
    INSERT INTO transfer (position, id, kind, remitter_account, beneficiary_account, amount_minor,
        currency, narrative, booked_on, value_on, booked_at)
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::text[],
        $6::bigint[], $7::text[], $8::text[], $9::date[], $10::date[], $11::timestamptz[])
    ON CONFLICT (id) DO NOTHING"""
# Each side by its own index: an OR over both would read all of a busy account's payments.
OF_ACCOUNT = """
    (SELECT * FROM transfer WHERE remitter_account = $1 AND position < $2
    ORDER BY position DESC LIMIT $3)
    UNION ALL
    (SELECT * FROM transfer WHERE beneficiary_account = $1 AND position < $2
    ORDER BY position DESC LIMIT $3)
    ORDER BY position DESC LIMIT $3"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresTransfers:
    database: Database

    async def add(self, heard: Sequence[Listed]) -> None:
        transfers = [listed.transfer for listed in heard]
        await self.database.execute(
            ADD,
            [listed.position for listed in heard],
            [each.id for each in transfers],
            [each.kind for each in transfers],
            [each.remitter_account for each in transfers],
            [each.beneficiary_account for each in transfers],
            [each.amount_minor for each in transfers],
            [each.currency for each in transfers],
            [each.narrative for each in transfers],
            [each.booked_on for each in transfers],
            [each.value_on for each in transfers],
            [each.booked_at for each in transfers],
        )

    async def find(self, id: UUID) -> Transfer | None:
        row = await TransferRow.select().where(TransferRow.id == id).first()
        return _to_transfer(row) if row else None

    async def before(self, position: int, *, account: str | None, limit: int) -> list[Listed]:
        rows: Sequence[Mapping[str, Any]]
        if account is not None:
            rows = await self.database.fetch(OF_ACCOUNT, account, position, limit)
        else:
            rows = await (
                TransferRow.select()
                .where(TransferRow.position < position)
                .order_by(TransferRow.position, ascending=False)
                .limit(limit)
            )
        return [Listed(position=row["position"], transfer=_to_transfer(row)) for row in rows]


def _to_transfer(row: Mapping[str, Any]) -> Transfer:
    return Transfer(
        id=row["id"],
        kind=Kind(row["kind"]),
        remitter_account=row["remitter_account"],
        beneficiary_account=row["beneficiary_account"],
        amount_minor=row["amount_minor"],
        currency=Currency(row["currency"]),
        narrative=row["narrative"],
        booked_on=row["booked_on"],
        value_on=row["value_on"],
        booked_at=row["booked_at"],
    )
