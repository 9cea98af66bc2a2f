"""What is measured: a bank of its own, so that no figure depends on what another one holds."""

import itertools
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console

from cbs.tools.lab.bench import load
from cbs.tools.lab.demo.onboarding import account_of
from cbs.tools.lab.demo.people import people
from cbs.tools.lab.demo.trade import registration
from cbs.tools.lab.demo.workers import each
from cbs.tools.local import state
from cbs.tools.local.folder import Folder, cache_folder
from cbs.tools.local.process import mortal
from cbs.tools.local.process import running as running_program
from cbs.tools.local.public_api import PublicApi

ACCOUNTS, OPENERS_AT_ONCE = 256, 16
DEPOSIT_MINOR, PRODUCT = 10_000_000, "CURRENT-INR"
LOAD_SECONDS_MORE, UP_SECONDS_MAX = 60.0, 300
EXTERNAL = ("CBS_POSTGRES_URL", "CBS_NATS_URL")
USER = "teller"


@contextmanager
def bank(data: Path | None, console: Console) -> Iterator[Folder]:
    """The bank in `data`, which is up, or one that lives as long as the measurement."""
    if data is not None:
        yield Folder.at(data)
        return
    # On the disk that a bank would have, not in a temporary folder that may be in memory.
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="bench-", dir=cache))
    folder = Folder.at(place / "bank")
    console.print(f"starting a bank in {folder.root}")
    up = [sys.executable, "-P", "-m", "cbs.tools.local", "up", "--data", str(folder.root)]
    own = [f"--unset={name}" for name in EXTERNAL]

    def is_ready() -> bool:
        running = state.read(folder.state)
        return running is not None and running.phase == "ready"

    try:
        # Ends with this process, however that ends.
        with running_program(
            mortal(["env", *own, *up], death=signal.SIGTERM),
            log=place / "log",
            is_ready=is_ready,
            seconds=UP_SECONDS_MAX,
        ):
            yield folder
    finally:
        shutil.rmtree(place)


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
    try:
        await each(range(ACCOUNTS), opened, at_once=OPENERS_AT_ONCE)
    finally:
        api.close()
    return sorted(numbers)


def loaded(job: load.Job) -> load.Measured:
    """Raises subprocess.SubprocessError when the load's process fails."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cbs.tools.lab.bench.load"],
        input=msgspec.json.encode(job),
        capture_output=True,
        check=True,
        timeout=job.seconds + LOAD_SECONDS_MORE,
    )
    return msgspec.json.decode(done.stdout, type=load.Measured)
