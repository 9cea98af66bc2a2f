"""A bank in order passes, at rest and at work."""

import asyncio
import os
import sys

from cbs.ledger.domain import transaction
from cbs.ledger.store import write_path
from cbs.platform.process import ended
from tests.bugs.planting import Edit
from tests.verify.bank import ANN, BOB, OPERATOR, broken, verified, working


async def test_a_bank_in_order_passes(bank):
    found = await verified(bank)

    assert len(found) > 20
    assert broken(found) == {}


async def test_a_bank_at_work_passes(bank, nats_url, tmp_path):
    posted = 0

    async def transfers(served):
        nonlocal posted
        while True:
            answers = await asyncio.gather(
                *(served.post("transfer", *pair, 1) for pair in [(ANN, BOB), (BOB, ANN)] * 5)
            )
            posted += sum(answer.status_code == 201 for answer in answers)

    async with working(bank, nats_url=nats_url, folder=tmp_path) as served:
        customers = asyncio.create_task(transfers(served))
        try:
            for _ in range(3):
                before = posted
                assert broken(await verified(bank)) == {}
                assert posted > before
        finally:
            await ended({customers})


async def test_without_a_bank_it_cannot_be_said(tmp_path):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cbs.tools.cli", "verify", "--data", str(tmp_path)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()

    assert process.returncode == 3
    assert b"no bank is up" in said


ROUNDED = Edit(
    transaction,
    "decide",
    "wanted = order.wanted\n",
    "wanted = order.wanted\n    for leg in wanted.legs:\n"
    "        leg.amount_minor = round(leg.amount_minor / 5) * 5\n",
)


async def test_a_ledger_that_rounds_is_believed_by_nobody(bank, nats_url, tmp_path, monkeypatch):
    """It books, tells and answers with one amount throughout, which nobody had asked for."""
    wanted = {
        "remitter_account": ANN,
        "beneficiary_account": BOB,
        "amount_minor": 1_003,
        "currency": "INR",
    }
    ROUNDED.make(monkeypatch)
    # Whoever had imported it before it was changed has the sound one.
    monkeypatch.setattr(write_path, "decide", transaction.decide)

    async with working(bank, nats_url=nats_url, folder=tmp_path) as served:
        async with served.served["payments"].client("olga", *OPERATOR) as olga:
            answer = await olga.post("/v1/payments/transfers", json=wanted)
        await served.caught_up()

    assert answer.status_code == 500
    seen = broken(await verified(bank))
    assert set(seen) == {"ledger/booked-as-asked"}
    assert len(seen["ledger/booked-as-asked"].rows) == 1
