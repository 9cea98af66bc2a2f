"""What is measured: a bank of its own, so that no figure depends on what another one holds."""

import itertools
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from rich.console import Console

from cbs.tools.lab.bench import load
from cbs.tools.lab.demo.onboarding import account_of
from cbs.tools.lab.demo.people import people
from cbs.tools.lab.demo.trade import registration
from cbs.tools.lab.demo.workers import each
from cbs.tools.local.bank import clear_up
from cbs.tools.local.folder import Folder
from cbs.tools.local.process import output_of
from cbs.tools.local.public_api import PublicApi
from cbs.tools.local.scratch_bank import bank_up, erase, scratch_folder

ACCOUNTS, OPENERS_AT_ONCE = 256, 16
DEPOSIT_MINOR, PRODUCT = 10_000_000, "CURRENT-INR"
LOAD_SECONDS_MORE = 60.0
EXTERNAL = ("CBS_POSTGRES_URL", "CBS_NATS_URL")
USER = "teller"


@contextmanager
def bank(data: Path | None, console: Console) -> Iterator[Folder]:
    """The bank in `data`, which is up, or one that lives as long as the measurement."""
    if data is not None:
        yield Folder.at(data)
        return
    place = scratch_folder("bench")
    folder = Folder.at(place / "bank")
    console.print(f"starting a bank in {folder.root}")
    up = [sys.executable, "-P", "-m", "cbs.tools.local", "up", "--data", str(folder.root)]
    own = [f"--unset={name}" for name in EXTERNAL]
    try:
        with bank_up(folder, ["env", *own, *up]):
            yield folder
    finally:
        clear_up(folder)
        erase(place)


async def accounts(folder: Folder, name: str) -> list[str]:
    """New customers' accounts, with money in them."""
    api = PublicApi.of(folder, USER)
    numbers: list[str] = []

    async def opened(number: int) -> None:
        key = f"{name}-{number}"
        account = await account_of(api, registration(population[number]), product=PRODUCT, key=key)
        deposit = {"account": account, "amount_minor": DEPOSIT_MINOR, "currency": "INR"}
        await api.post("/v1/payments/deposits", deposit, msgspec.Raw, key=f"{key}-d")
        numbers.append(account)

    population = list(itertools.islice(people(name), ACCOUNTS))
    with closing(api):
        await each(range(ACCOUNTS), opened, at_once=OPENERS_AT_ONCE)
    return sorted(numbers)


def run_load(job: load.Job) -> load.Measured:
    """Raises OSError when the load's process fails."""
    said = output_of(
        [sys.executable, "-P", "-m", "cbs.tools.lab.bench.load"],
        stdin=msgspec.json.encode(job).decode(),
        seconds_max=job.seconds + LOAD_SECONDS_MORE,
    )
    return msgspec.json.decode(said, type=load.Measured)
