"""What services promise, as files in `contracts/`: written from the code, never by hand."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cbs.dev.folder import SERVICES

ROOT = Path(__file__).parents[4]


def described(service: str) -> dict[str, Any]:
    """Both documents of a service, as its own process prints them."""
    command = [sys.executable, "-m", f"cbs.{service}.main", "schema"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src" / "python")}
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout
    documents: dict[str, Any] = json.loads(printed)
    return documents


def files_of(service: str, documents: dict[str, Any]) -> dict[Path, str]:
    """Where each document lies below the root, and its bytes as text."""
    return {
        Path("contracts") / kind / f"{service}.json": json.dumps(document, indent=2, sort_keys=True)
        + "\n"
        for kind, document in documents.items()
    }


def contracts(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if a file is not as the code.")
    ] = False,
) -> None:
    """Write OpenAPI and AsyncAPI of every service to contracts/."""
    stale = []
    for service in SERVICES:
        typer.echo(f"{service} …", err=True)
        for place, text in files_of(service, described(service)).items():
            file = ROOT / place
            if not file.exists() or file.read_text() != text:
                stale.append(str(place))
                if not check:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text)
    for each in stale:
        typer.echo(f"{'not as the code' if check else 'written'}: {each}")
    raise typer.Exit(1 if check and stale else 0)
