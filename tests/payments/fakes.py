from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from cbs.payments.domain.transfer import Kind, Transfer


@dataclass
class NotedLedger:
    """Posts whatever it is asked for, and notes it."""

    posted: list[tuple[Kind, str, str, int]] = field(default_factory=list)

    async def post(self, *, key: str, **wanted: Any) -> Transfer:
        self.posted.append(
            (
                wanted["kind"],
                wanted["remitter_account"],
                wanted["beneficiary_account"],
                wanted["amount_minor"],
            )
        )
        day = date(2026, 4, 1)
        return Transfer(
            id=UUID(int=len(self.posted)),
            **wanted,
            booked_on=day,
            value_on=day,
            booked_at=datetime(2026, 4, 1, tzinfo=UTC),
        )

    async def transfer(self, id: UUID) -> Transfer | None:
        return None
