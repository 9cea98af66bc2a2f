"""Changes that a release before sagas began and did not finish are carried on as sagas.

Such a release may still run beside this one. A change is taken over only when nobody has its lease,
and marked as done in the same transaction, so that an instance of that release which was merely
slow finds its step taken.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from cbs.accounts.domain.account import Terms
from cbs.accounts.domain.change import Change, Kind
from cbs.kernel.answer import Answer
from cbs.kernel.saga import Requester, Saga
from cbs.platform.database import Database
from cbs.platform.problem import refusal_of
from cbs.platform.saga import SagaStore

ADOPTED_AT_ONCE_MAX = 20
LEFT = """
    UPDATE change SET step = 'done' FROM (
        SELECT id, step FROM change WHERE step <> 'done' AND lease_until < clock_timestamp()
        ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED
    ) AS before
    WHERE change.id = before.id RETURNING change.*, before.step AS step_before"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesBeforeSagas:
    database: Database
    sagas: SagaStore

    async def adopt(self) -> int:
        """Make sagas of those that nobody drives; how many there were."""
        async with self.database.transaction():
            rows = await self.database.fetch(LEFT, ADOPTED_AT_ONCE_MAX)
            for row in rows:
                saga = _saga(row)
                await self.sagas.begin(saga)
                if saga.refusal is not None:
                    await self.sagas.move(saga)
                # Whoever comes first goes on with it, at once.
                await self.sagas.defer(saga, seconds=0, error="begun by the release before")
        return len(rows)


def _saga(row: Any) -> Saga[Change]:
    kind = Kind(row["kind"])
    in_ledger = "open-in-ledger" if kind is Kind.OPEN else "change-terms-in-ledger"
    steps = {"tell-ledger": in_ledger, "withdraw": "restore-terms-in-ledger"}
    refusal = None
    if row["refusal_body"] is not None:
        refusal = Answer(status=row["refusal_status"], body=row["refusal_body"])
    return Saga(
        id=row["id"],
        kind=kind.value,
        step=steps.get(row["step_before"], row["step_before"]),
        data=Change(
            account_id=row["account_id"],
            kind=kind,
            version=row["version"],
            terms=msgspec.json.decode(row["terms"], type=Terms),
            former=msgspec.json.decode(row["former"], type=Terms),
            reason=row["reason"],
        ),
        requester=Requester(
            principal=row["principal"],
            key=row["key"],
            on_behalf_of=row["on_behalf_of"],
            correlation_id=row["correlation_id"],
        ),
        refusal=refusal,
        refusal_code=refusal_of(refusal).code if refusal else "",
    )
