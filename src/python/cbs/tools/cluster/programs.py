"""What a cluster is made of, at hand: Nomad and Consul, and what its nodes fetch."""

from pathlib import Path
from typing import Annotated

import typer

from cbs.tools.cluster import artifacts, binaries
from cbs.tools.cluster.commands import Dist, own_path, said_plainly
from cbs.tools.local.command_line import AsJson, print_json


def tools(as_json: AsJson = False) -> None:
    """Show which nomad and consul are used here; what is missing is built once, where Go is.

    Exit 3: one is missing and cannot be built; where to get it is said.
    """
    with said_plainly():
        found = {
            tool.name: str(binaries.find(tool, say=lambda text: typer.echo(text, err=True)))
            for tool in (binaries.CONSUL, binaries.NOMAD)
        }
    if as_json:
        print_json(found)
    else:
        typer.echo("\n".join(f"{name:7} {path}" for name, path in found.items()))


def gather(
    folder: Annotated[Path, typer.Argument(help="Where to; upload it whole.")],
    dist: Dist = Path("dist"),
) -> None:
    """Gather what the nodes fetch, each file named after its SHA-256, and an index of it."""
    with said_plainly():
        found = artifacts.gather(own_path(dist), folder, servers=True)
        for name, each in sorted(found.items()):
            typer.echo(f"{name:10} {each.file}")
