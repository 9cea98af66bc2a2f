"""`cbs cluster`: the bank on Nomad and Consul, on this machine or on any that the user names."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cbs.tools.cluster import artifacts, environments, laptop
from cbs.tools.cluster.api import Api, Declined, NoCluster
from cbs.tools.cluster.apply import (
    UNREACHED,
    ClusterApply,
    NotApplied,
    admin_url_of,
)
from cbs.tools.cluster.binaries import NoBinary
from cbs.tools.cluster.dev_cluster import CannotHere, DevCluster
from cbs.tools.cluster.jobs import NotConverged
from cbs.tools.cluster.laptop import default_folder
from cbs.tools.cluster.rules import ROOT
from cbs.tools.local import command_line, state
from cbs.tools.local.command_line import CANNOT_SAY, DONE, NO, AsJson, ends_with, print_json
from cbs.tools.local.commands import detached, summary
from cbs.tools.local.databases import AnothersBank, NotDurable
from cbs.tools.local.folder import InUse, NotABank
from cbs.tools.local.orphans import sweep
from cbs.tools.local.plan import SOURCE, version_of
from cbs.tools.local.process import CannotStart
from cbs.tools.local.supervisor import Supervisor

STOP_SECONDS_MAX = 120
SAY_NO = (CannotStart, NotConverged, Declined, AnothersBank, NotDurable, InUse, NotABank)
CANNOT = (NoBinary, NoCluster, CannotHere, NotApplied, artifacts.NoArtifacts, *UNREACHED)

app = typer.Typer(help="The bank on Nomad and Consul.", no_args_is_help=True)

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The folder with the bank's secrets; by default .cbs-cluster in the clone.",
        show_default=False,
    ),
]
Environment = Annotated[
    str, typer.Option("--env", metavar="NAME", help="Which of nomad/env/NAME.hcl.")
]
Artifacts = Annotated[
    Path | None,
    typer.Option(
        "--artifacts",
        metavar="DIR",
        help="What `cluster artifacts` gathered; by default artifacts/ in the data folder.",
        show_default=False,
    ),
]
Dist = Annotated[Path, typer.Option("--dist", metavar="DIR", help="What ./pants package :: made.")]
Clients = Annotated[
    int, typer.Option("--clients", min=1, max=9, help="How many nodes to run, each with agents.")
]
Mesh = Annotated[
    bool, typer.Option("--mesh", help="Ask services through sidecars of Consul's mesh alone.")
]


@contextmanager
def said_plainly() -> Iterator[None]:
    """What the user can act on is said without a traceback: no (1), or cannot say (3)."""
    with ends_with(CANNOT_SAY, *CANNOT), ends_with(NO, *SAY_NO):
        yield


def own_path(path: Path) -> Path:
    return path if path.is_absolute() or path.exists() else ROOT / path


@app.command("dev")
def dev(
    data: Data = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave it running and return.")
    ] = False,
    dist: Dist = Path("dist"),
    values: Annotated[
        Path | None,
        typer.Option(
            "--values",
            metavar="FILE",
            help="Values in HCL over those of nomad/env/laptop.hcl, such as"
            " nomad/env/three-natses.hcl; kept until others are named.",
            show_default=False,
        ),
    ] = None,
    clients: Clients = 1,
    mesh: Mesh = False,
    as_json: AsJson = False,
) -> None:
    """Consul, Nomad, PostgreSQL, NATS and the whole bank on this machine; Ctrl-C ends all of it.

    The jobs are those of production. `./cbs status`, `demo`, `verify` and `down` take its --data.
    Exit 3: a program, an artifact or a right is missing, and what to do about it is said.
    """
    folder = default_folder(data, ROOT)
    console = command_line.console(as_json=as_json)
    with said_plainly():
        if state.read(folder.state) is None:
            folder.found()
            if values is not None:
                environments.keep(folder, own_path(values))
            place = own_path(dist).resolve()
            if detach:
                words = ["--dist", str(place), "--clients", str(clients)]
                words += ["--mesh"] if mesh else []
                detached(folder, console, ["cluster", "dev", *words])
            else:
                supervisor = Supervisor.of(folder, console)
                cluster = DevCluster(folder=folder, dist=place, supervisor=supervisor)
                cluster.clients, cluster.mesh = clients, mesh
                _in_foreground(cluster)
        elif not as_json and (now := state.read(folder.state)):
            console.print(summary(folder, now))
        if as_json and (now := state.read(folder.state)):
            print_json({"data": folder.root, "edge_url": now.edge_url})


def _in_foreground(cluster: DevCluster) -> None:
    folder, supervisor = cluster.folder, cluster.supervisor
    with folder.lock():
        supervisor.say(f"starting a cluster in {folder.root}")
        sweep(folder)
        try:
            found = cluster.prepare()

            async def bring_up(_: Supervisor) -> None:
                await cluster.bring_up(found)
                supervisor.say(summary(folder, supervisor.state))

            asyncio.run(supervisor.run(bring_up))
        except (*SAY_NO, *CANNOT) as error:
            supervisor.say(f"the cluster cannot start: {error}")
            raise typer.Exit(NO if isinstance(error, SAY_NO) else CANNOT_SAY) from None
        finally:
            cluster.release_ports()
            sweep(folder)


def cluster_apply_of(
    environment: str, data: Path | None, place: Path | None, console: Console
) -> ClusterApply:
    folder = default_folder(data, ROOT)
    if ports := laptop.ports_unless_named(folder):
        supervisor = Supervisor.of(folder, console)
        cluster = DevCluster(folder=folder, dist=folder.root, supervisor=supervisor, ports=ports)
        return cluster.cluster_apply(console.print)
    folder.found()
    return ClusterApply(
        consul=Api.of("consul"),
        nomad=Api.of("nomad"),
        environment=environment,
        folder=folder,
        artifacts=artifacts.read(place or folder["artifacts"]),
        admin_url=admin_url_of(folder, os.environ),
        sha=os.environ.get("CBS_SHA") or version_of(SOURCE),
        say=console.print,
    )


def _told(rows: list[tuple[str, str]], as_json: bool, nothing: str) -> None:
    if as_json:
        print_json([{"what": what, "how": how} for what, how in rows])
    else:
        for what, how in rows:
            typer.echo(f"{what}: {how}")
        if not rows:
            typer.echo(nothing)


@app.command("plan")
def plan(
    environment: Environment,
    data: Data = None,
    place: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Show what `up` would change, a line each; it changes nothing.

    NOMAD_ADDR, CONSUL_HTTP_ADDR, NOMAD_TOKEN_FILE and CONSUL_HTTP_TOKEN_FILE name the cluster;
    CBS_POSTGRES_URL an administrator of its PostgreSQL; VAULT_ADDR and VAULT_TOKEN_FILE the Vault
    of an environment that says `vault`. Without them it is the `cluster dev` of the data folder.
    """
    console = command_line.console(as_json=True)
    with said_plainly():
        found = cluster_apply_of(environment, data, place, console)
        rows = list(found.plan())
        _told(rows, as_json, "nothing differs")
        _hold_back(found)


@app.command("up")
def up(
    environment: Environment,
    data: Data = None,
    place: Artifacts = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a cluster to what consul/ and nomad/ say, the plan shown first; again changes nothing.

    A service that runs is replaced by other bytes only on `cluster dev`: else a release does it.
    Exit 1: a job did not converge, and what is wrong with it is said.
    """
    console = command_line.console(as_json=True)
    with said_plainly():
        cluster_apply = cluster_apply_of(environment, data, place, console)
        rows = list(cluster_apply.plan())
        for what, how in rows:
            console.print(f"{what}: {how}")
        if rows and not yes and not typer.confirm(f"Make these {len(rows)} changes?", err=True):
            raise typer.Exit(NO)
        _told(cluster_apply.run(), as_json, "nothing differs")
        _hold_back(cluster_apply)


def _hold_back(found: ClusterApply) -> None:
    """Tell of what does not go out this way."""
    for name, sha in found.held_back().items():
        typer.echo(
            f"{name} stays at {sha[:10]}: what runs is replaced by a release, which the gate lets:"
            f" ./cbs release deploy {name} --to …",
            err=True,
        )


@app.command("status")
def status(data: Data = None, as_json: AsJson = False) -> None:
    """Show how each job of the bank is; exit 1 if one is not well, 3 if no Nomad answers.

    Of the cluster that NOMAD_ADDR and CONSUL_HTTP_ADDR name, or of `cluster dev` in the data
    folder. Without a Consul it is Nomad's word alone, from when each version came.
    """
    with said_plainly():
        jobs = laptop.jobs_of(default_folder(data, ROOT))
        rows = [jobs.state(job_id) for job_id in jobs.ours()]
        if as_json:
            print_json(rows)
        else:
            for row in rows:
                typer.echo(f"{row['job']:15} {row['said']}")
                if row["failed"]:
                    typer.echo(f"{'':15} {jobs.wrong_with(row.get('run') or row['job'])}")
        raise typer.Exit(DONE if rows and all(_well(row) for row in rows) else NO)


def _well(row: dict[str, Any]) -> bool:
    return bool(row["well"])


@app.command("down")
def down(
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop every job of the bank in Nomad, the gateway first; data, secrets and rules stay."""
    with said_plainly():
        jobs = laptop.jobs_of(default_folder(data, ROOT))
        ours = [job_id for job_id in jobs.ours() if jobs.state(job_id)["said"] != "not running"]
        if ours and not yes and not typer.confirm(f"Stop {', '.join(ours)}?", err=True):
            raise typer.Exit(NO)
        jobs.stop_in_order(ours, STOP_SECONDS_MAX)
        _told([(f"job {job_id}", "stopped") for job_id in ours], as_json, "nothing runs")
