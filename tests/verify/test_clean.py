"""A bank in order passes, at rest and at work."""

import asyncio
import os
import sys

from cbs.platform.process import ended
from tests.verify.bank import ANN, BOB, broken, verified, working


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
