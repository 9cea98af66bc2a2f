"""What the supervisor tells others: one small file, replaced whole at every change."""

import time
from pathlib import Path

import msgspec

from cbs.tools.local.folder import DamagedFile, write_whole
from cbs.tools.local.process import started


class ProgramState(msgspec.Struct, kw_only=True):
    name: str
    phase: str
    pid: int
    port: int
    started_at: float
    restarts: int
    last_exit: int | None = None


class BankState(msgspec.Struct, kw_only=True):
    """`phase` is starting, ready or stopping; `identity` tells the supervisor from a namesake.

    The URLs carry no password; the files in `secrets/` and `tokens/` do the rest.
    """

    pid: int
    identity: str
    phase: str
    since: float
    edge_url: str = ""
    postgres_url: str = ""
    nats_url: str = ""
    from_pex: str = ""
    sha: str = ""
    external: list[str] = []
    programs: list[ProgramState] = []


def write(path: Path, state: BankState) -> None:
    write_whole(path, msgspec.json.format(msgspec.json.encode(state), indent=1).decode() + "\n")


def read(path: Path) -> BankState | None:
    """What the running supervisor wrote; None when none runs, whatever an old file may say.

    Raises DamagedFile when nobody can tell.
    """
    try:
        state = msgspec.json.decode(path.read_bytes(), type=BankState)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedFile(
            f"{path} is damaged ({error})\nnext: if no bank is up there, ./cbs up makes it anew;"
            f" one that is up is ended by its pid, which is in {path.with_name('lock')}"
        ) from None
    return state if started(state.pid) == state.identity else None


def ready(path: Path) -> BankState | None:
    """As `read`, of a bank whose every part was ready."""
    state = read(path)
    return state if state is not None and state.phase == "ready" else None


def uptime_seconds(program: ProgramState) -> int:
    return int(time.time() - program.started_at) if program.pid else 0
