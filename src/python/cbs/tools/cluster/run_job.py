"""What runs every night can be run now: before an upgrade, or to see whether it would."""

from typing import Annotated

import typer

from cbs.tools.cluster import laptop, periodic
from cbs.tools.cluster.apply import default_folder
from cbs.tools.cluster.commands import Data, said_plainly
from cbs.tools.cluster.periodic import NotStarted, Upkeep
from cbs.tools.cluster.rules import ROOT
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
