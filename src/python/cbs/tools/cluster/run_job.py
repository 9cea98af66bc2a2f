"""One job of the bank: what it is told, and to run now what else runs every night."""

from typing import Annotated

import typer

from cbs.bank import SERVICES
from cbs.tools.cluster import laptop, periodic
from cbs.tools.cluster.commands import (
    Artifacts,
    Data,
    Environment,
    cluster_apply_of,
    said_plainly,
)
from cbs.tools.cluster.jobs import FOLDER
from cbs.tools.cluster.laptop import default_folder
from cbs.tools.cluster.periodic import NotStarted, Upkeep
from cbs.tools.cluster.rules import ROOT
from cbs.tools.local import command_line
from cbs.tools.local.command_line import NO, ends_with

RUN_SECONDS_MAX, LINES_SHOWN = 12 * 3600, 100


def run(name: Annotated[Upkeep, typer.Argument()], data: Data = None) -> None:
    """Run now what else runs every night, and show what it wrote; exit 1 if it failed.

    On the cluster that NOMAD_ADDR names, or on the `cluster dev` of the data folder.
    """
    with said_plainly(), ends_with(NO, NotStarted):
        jobs = laptop.jobs_of(default_folder(data, ROOT))
        run_id = periodic.force(jobs.nomad, f"cbs-{name}")
        typer.echo(f"{run_id} is under way", err=True)
        try:
            jobs.finish(run_id, RUN_SECONDS_MAX)
        finally:
            for line in jobs.last_lines(run_id, LINES_SHOWN):
                typer.echo(line)


def values(
    name: Annotated[str, typer.Argument(help="A service, or another job of nomad/jobs.")],
    environment: Environment,
    data: Data = None,
    place: Artifacts = None,
) -> None:
    """Write the values that a job's file declares, for Nomad's own command: job plan -var-file."""
    files = {each.name.removesuffix(".nomad.hcl") for each in FOLDER.glob("*.nomad.hcl")}
    known = sorted({*SERVICES, *files} - {"service"})
    if name not in known:
        raise typer.BadParameter(f"no such job: {name} (there is: {', '.join(known)})")
    console = command_line.console(as_json=True)
    with said_plainly():
        typer.echo(cluster_apply_of(environment, data, place, console).variables_of(name), nl=False)
