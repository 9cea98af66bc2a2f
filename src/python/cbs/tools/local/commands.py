"""Bringing a bank up and down, and erasing it."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cbs.tools.local import command_line, state
from cbs.tools.local.bank import LocalBank, clear_up, erase_external
from cbs.tools.local.command_line import NO, Data, ends_with
from cbs.tools.local.databases import AnothersBank, NotDurable
from cbs.tools.local.explained import explained
from cbs.tools.local.folder import DamagedFile, Folder, InUse, NotABank
from cbs.tools.local.parts import Parts
from cbs.tools.local.plan import StartPlan
from cbs.tools.local.postgres import without_user
from cbs.tools.local.process import CannotStart, started
from cbs.tools.local.state import BankState
from cbs.tools.local.supervisor import Supervisor

POLL_SECONDS = 0.1
TRACEBACK = "Traceback (most recent call last)"
DOWN_SECONDS_MAX = 150
ERRORS = (CannotStart, NotABank, InUse, NotDurable, AnothersBank, OSError)


def up(
    data: Data = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave it running and return.")
    ] = False,
    from_pex: Annotated[
        Path | None,
        typer.Option(
            "--from-pex", metavar="DIST", help="Run the PEXes that ./pants package :: made."
        ),
    ] = None,
) -> None:
    """Start the bank and wait until every part of it is ready; Ctrl-C stops it.

    CBS_POSTGRES_URL (an administrator's) and CBS_NATS_URL name servers of your own to use.
    """
    folder, console = Folder.at(data), command_line.console()
    with ends_with(NO, *ERRORS):
        if running := _running(folder):
            console.print(f"the bank in {folder.root} is already up ({running.phase})")
            console.print(summary(folder, running))
            return
        plan = StartPlan.of(os.environ, from_pex)
        folder.found()
        if detach:
            words = ["--from-pex", str(from_pex.resolve())] if from_pex else []
            detached(folder, console, ["up", *words])
        else:
            _in_foreground(folder, console, plan)


def _running(folder: Folder) -> BankState | None:
    """As `state.read`; where its file is damaged nobody runs, unless somebody has the lock."""
    try:
        return state.read(folder.state)
    except DamagedFile:
        with folder.lock():
            folder.state.unlink()
        return None


def _in_foreground(folder: Folder, console: Console, plan: StartPlan) -> None:
    with folder.lock():
        supervisor = Supervisor.of(folder, console)
        supervisor.say(f"starting the bank in {folder.root}")
        try:
            clear_up(folder)
            bank = LocalBank(parts=Parts.of(folder, plan), supervisor=supervisor)

            async def bring_up(_: Supervisor) -> None:
                await bank.bring_up()
                supervisor.say(summary(folder, supervisor.state))

            asyncio.run(supervisor.run(bring_up))
        except ERRORS as error:
            supervisor.say(f"the bank cannot start: {explained(error)}")
            raise typer.Exit(NO) from None
        finally:
            folder.release_ports()


def detached(folder: Folder, console: Console, words: list[str]) -> None:
    """Start a supervisor that outlives this process, and show what it says until it is ready."""
    argv = [sys.executable, "-P", "-m", "cbs.tools.cli", *words, "--data", str(folder.root)]
    show = _follower(folder.log("supervisor"), console)
    errors = folder.log("supervisor.errors")
    with errors.open("ab") as file:
        before = file.tell()
        supervisor = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
            cwd="/",
        )
    try:
        while supervisor.poll() is None:
            show()
            if state.ready(folder.state):
                break
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait()
    show()
    if supervisor.poll() is not None:
        if said := _last_words(folder, before, supervisor.returncode):
            console.print(said)
        raise typer.Exit(NO)


def _last_words(folder: Folder, before: int, code: int) -> str:
    """What a supervisor said that did not come as far as its log; of a bug, the end."""
    errors = folder.log("supervisor.errors")
    said = errors.read_bytes()[before:].decode(errors="replace").strip()
    if TRACEBACK in said:
        return f"the bank cannot start: {said.splitlines()[-1]}\nnext: report this, with {errors}"
    if said or code == NO:
        return said
    if first := _running(folder):
        said = f"another ./cbs up was first (pid {first.pid}): its bank is {first.phase}"
        return f"{said}\nnext: see ./cbs status{folder.option}"
    return f"it was ended (exit {code})\nnext: see {folder.log('supervisor')}"


def _follower(log: Path, console: Console) -> Callable[[], None]:
    """Each call prints what has been added to the log since the last, without the times."""
    log.touch(mode=0o600)
    with log.open("rb") as file:
        shown = file.seek(0, os.SEEK_END)

    def show() -> None:
        nonlocal shown
        with log.open("rb") as file:
            file.seek(shown)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        shown += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            console.print(line.partition(" ")[2])

    return show


def summary(folder: Folder, now: BankState) -> str:
    """Where the bank is, which files let one in, and what to try."""
    header = shlex.quote(str(folder.token("teller.header")))
    data = folder.option
    return "\n".join(
        [
            f"the bank is at     {now.edge_url}/v1/<service>",
            f"tokens (files)     {folder.token('teller')}, operator and importer beside it",
            f"PostgreSQL, NATS   {now.postgres_url}, {now.nats_url}",
            f"logs               {folder['logs']}",
            f"try                curl -H @{header} {now.edge_url}/v1/accounts/products",
            f"then               ./cbs status{data}    ./cbs demo{data}    ./cbs down{data}",
        ]
    )


def down(data: Data = None) -> None:
    """Stop the bank; its data stays."""
    folder, console = Folder.at(data), command_line.console()
    with ends_with(NO, *ERRORS):
        console.print(stop(folder, console))


def stop(folder: Folder, console: Console) -> str:
    """Stop what runs in a folder and say what happened; returns when nothing is left."""
    running = _running(folder)
    if running is None:
        if folder.is_bank:
            with folder.lock():  # or one that is only just starting would be swept away
                clear_up(folder)
        return f"no bank is up in {folder.root}"
    show = _follower(folder.log("supervisor"), console)
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS_MAX
    while started(running.pid) == running.identity:
        show()
        if time.monotonic() > deadline:
            os.kill(running.pid, signal.SIGKILL)  # its children end with it
        time.sleep(POLL_SECONDS)
    show()
    return f"the bank in {folder.root} is down"


def reset(
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase the bank with all its data, after asking."""
    folder, console = Folder.at(data), command_line.console()
    with ends_with(NO, *ERRORS):
        if not folder.is_bank:
            console.print(f"there is no bank in {folder.root}")
            return
        plan = StartPlan.of(os.environ, None)
        places = [str(folder.root), *map(without_user, plan.external.values())]
        if not yes and not typer.confirm(f"Erase the bank in {', '.join(places)}, and its data?"):
            raise typer.Exit(NO)
        stop(folder, console)
        asyncio.run(erase_external(folder, plan))
        folder.erase()
        console.print(f"the bank in {folder.root} is erased")
