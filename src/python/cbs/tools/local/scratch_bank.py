"""A bank that lives as long as a block, in a folder of its own."""

import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cbs.tools.local import state
from cbs.tools.local.folder import Folder, cache_folder
from cbs.tools.local.process import mortal, running
from cbs.tools.local.waiting import wait_until

UP_SECONDS_MAX, ERASE_SECONDS_MAX = 300, 30


def scratch_folder(name: str) -> Path:
    """On the disk that a bank would have: a temporary folder may be in memory."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache))


def erase(place: Path) -> None:
    """Remove a scratch folder. What is only just ending may still write into it, so it is tried for
    a while; raises OSError."""
    if not wait_until(lambda: _is_removed(place), seconds=ERASE_SECONDS_MAX):
        shutil.rmtree(place)


def _is_removed(place: Path) -> bool:
    shutil.rmtree(place, ignore_errors=True)
    return not place.exists()


@contextmanager
def bank_up(folder: Folder, argv: Sequence[str]) -> Iterator[state.BankState]:
    """The bank that `argv` runs in `folder`, from when it is ready; it ends with this process,
    however that ends. Its own words are in the file `log` beside it. Raises CannotStart."""
    with running(
        mortal([*argv], death=signal.SIGTERM),
        log=folder.root.with_name("log"),
        is_ready=lambda: state.ready(folder.state) is not None,
        seconds=UP_SECONDS_MAX,
    ):
        now = state.ready(folder.state)
        assert now is not None, "it was ready this moment"
        yield now
