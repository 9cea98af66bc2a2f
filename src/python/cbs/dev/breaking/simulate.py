"""`cbs simulate`: the whole bank in one process, from seeds, until one of them breaks it."""

import importlib
from typing import Annotated

import typer


def simulate(
    seeds: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    minutes: Annotated[float, typer.Option(min=0, help="Stop then; 0 is never.")] = 0,
) -> None:
    """Crash, cut and confuse a simulated bank; exit 1 with the shortest history that breaks it."""
    # All services' code is slow to import, and no other word of `cbs` needs it.
    campaign = importlib.import_module("cbs.simulation.campaign")
    held = campaign.run(first=seed, seeds=seeds, seconds=60 * minutes or None, say=typer.echo)
    raise typer.Exit(0 if held else 1)
