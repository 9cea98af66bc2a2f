"""`cbs simulate`: the whole bank in one process, from seeds, until one of them breaks it."""

import importlib
from functools import partial
from typing import Annotated

import typer

from cbs.tools.local.command_line import CANNOT_SAY, DONE, NO, AsJson, print_json


def simulate(
    seeds: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    minutes: Annotated[float, typer.Option(min=0, help="Stop then; 0 is never.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Crash, cut and confuse a simulated bank; exit 1 with the shortest history that breaks it.

    A seed is a day with 200 requests, ten faults and four crashes, the same each time. Exit 3 if
    it was interrupted, or no seed was lived before the time was over.
    """
    # All services' code is slow to import, and no other word of `cbs` needs it.
    campaign = importlib.import_module("cbs.simulation.campaign")
    say = partial(typer.echo, err=as_json)
    try:
        found = campaign.run(first=seed, seeds=seeds, seconds=60 * minutes or None, say=say)
    except KeyboardInterrupt:
        typer.echo("interrupted: what was not lived says nothing about the bank", err=True)
        raise typer.Exit(CANNOT_SAY) from None
    if as_json:
        shortest = found.broken
        outcome = {
            "held": found.held,
            "first_seed": seed,
            "seeds": found.seeds,
            "requests": found.requests,
            "crashes": found.crashes,
            "faults": found.faults,
            "seconds": found.seconds,
            "broken": shortest
            and {
                "seed": shortest.plan.seed,
                "violation": shortest.violation,
                "timeline": shortest.notes,
            },
        }
        print_json(outcome)
    if not found.held:
        raise typer.Exit(NO)
    raise typer.Exit(DONE if found.seeds else CANNOT_SAY)
