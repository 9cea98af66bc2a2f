"""A bank that lives as long as a block, in a folder of its own."""

import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cbs.tools.local import state
from cbs.tools.local.folder import Folder, cache_folder
from cbs.tools.local.process import mortal, running

UP_SECONDS_MAX = 300


def scratch_folder(name: str) -> Path:
    """On the disk that a bank would have: a temporary folder may be in memory."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache))


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
