"""`cbs images`: a service's image is its PEX on a small base, the same bytes at any time."""

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from cbs.bank import SERVICES
from cbs.platform.http import VERSION
from cbs.tools.images import contents, debian
from cbs.tools.images.contents import NoPex
from cbs.tools.images.debian import NoBase
from cbs.tools.images.engine import CannotBuild, Engine, containerfile, digest_of, is_oci
from cbs.tools.local import command_line, progress
from cbs.tools.local.command_line import CANNOT_SAY, NO, AsJson, ends_with, print_json
from cbs.tools.local.folder import cache_folder
from cbs.tools.local.plan import version_of

# What has an image: one word more is one image more.
IMAGES = (*SERVICES, "gateway")
ROOT = Path(__file__).parents[5]
UNBUILT = (NoBase, CannotBuild, OSError, tarfile.TarError, subprocess.TimeoutExpired)
LABEL = "org.opencontainers.image."

app = typer.Typer(help="OCI images of the services, from their PEXes.", no_args_is_help=True)
Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where they go.", show_default="dist/images")
]
Dist = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where cbs/<service>.pex lie.", show_default="dist"),
]


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image as it is written; `digest` is its manifest's, by which a registry knows it."""

    service: str
    file: str
    digest: str


@app.command()
def build(
    services: Annotated[
        list[str] | None, typer.Argument(metavar="[SERVICE]...", help="All by default.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="NAME-OR-FILE",
            help="A base of your own with /usr/bin/python3.11: an image's name, an OCI archive or"
            " a root file system as a tar.",
            show_default="a small Debian, made once and kept",
        ),
    ] = None,
    fresh_base: Annotated[
        bool, typer.Option("--fresh-base", help="Make the base again, of today's packages.")
    ] = False,
    out: Out = None,
    dist: Dist = None,
    as_json: AsJson = False,
) -> None:
    """Build images with buildah, podman or docker. Exit 1: no PEX. 3: it cannot be done."""
    wanted = list(dict.fromkeys(services or IMAGES))
    if unknown := sorted(set(wanted) - set(IMAGES)):
        raise typer.BadParameter(f"no image: {', '.join(unknown)} (there is: {', '.join(IMAGES)})")
    console = command_line.console(as_json=True)
    with ends_with(NO, NoPex), ends_with(CANNOT_SAY, *UNBUILT):
        pexes = {name: contents.pex_of(name, dist or ROOT / "dist") for name in wanted}
        made = _made(pexes, base, fresh_base, (out or ROOT / "dist" / "images").resolve(), console)
    _show(made, as_json)


def _made(
    pexes: Mapping[str, Path], base: str | None, fresh: bool, out: Path, console: Console
) -> list[Image]:
    with tempfile.TemporaryDirectory(prefix="cbs-images-") as name:
        work = Path(name)
        engine, when, made = Engine.found(work / "store"), epoch(), []
        console.print(f"base: {base or 'Debian, from the cache or made now (a minute or so)'}")
        under = Base.of(base, engine, work, fresh=fresh)
        out.mkdir(parents=True, exist_ok=True)
        with progress.counted(console, f"images, by {engine.name}", len(pexes)) as advance:
            for service, pex in pexes.items():
                context = work / service
                context.mkdir()
                contents.lay_out(pex, context / "pex.tar", wheels=work / "wheels")
                text = containerfile(under.reference, "pex.tar", labels(service, pex, when))
                (context / "Containerfile").write_text(text)
                part = out / f".{service}.{os.getpid()}.part"
                try:
                    digest = engine.build(context, part, epoch=when, base=under.layout)
                    file = part.rename(out / f"{service}.oci.tar")
                finally:
                    part.unlink(missing_ok=True)
                shutil.rmtree(context)
                made.append(Image(service=service, file=str(file), digest=digest))
                advance()
    return made


@dataclass(frozen=True, slots=True)
class Base:
    """What a Containerfile says after FROM; `layout` is a folder of it for docker, if it is one."""

    reference: str
    layout: Path | None = None

    @classmethod
    def of(cls, named: str | None, engine: Engine, work: Path, *, fresh: bool) -> "Base":
        if named is not None and not Path(named).is_file():
            return cls(named)
        tar = Path(named).resolve() if named else debian.base_archive(cache_folder(), fresh=fresh)
        archive = tar
        if not is_oci(tar):
            context, archive = work / "base", work / "base.oci.tar"
            context.mkdir()
            shutil.copyfile(tar, context / "rootfs.tar")
            (context / "Containerfile").write_text(containerfile("scratch", "rootfs.tar"))
            engine.build(context, archive, epoch=0)
        if engine.name != "docker":
            return cls(f"oci-archive:{archive}")
        layout = work / "layout"
        with tarfile.open(archive) as opened:
            opened.extractall(layout, filter="data")
        return cls("base", layout)


def revision() -> str:
    """The commit; of what a PEX was made its file does not tell, so CBS_SHA may."""
    return os.environ.get("CBS_SHA") or version_of(ROOT) or "unknown"


def epoch() -> int:
    """SOURCE_DATE_EPOCH, or when the commit was made; what is no clone is dated as a PEX is."""
    if (named := os.environ.get("SOURCE_DATE_EPOCH", "")).isdigit():
        return int(named)
    words = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return 315_532_800
    return int(said)


def labels(service: str, pex: Path, when: int) -> dict[str, str]:
    return {
        f"{LABEL}title": f"cbs-{service}",
        f"{LABEL}version": VERSION,
        f"{LABEL}revision": revision(),
        f"{LABEL}licenses": "Apache-2.0",
        "cbs.source-date": str(when),
        "cbs.pex-sha256": contents.sha256_of(pex),
    }


@app.command("list")
def list_images(out: Out = None, as_json: AsJson = False) -> None:
    """Show the images that were built, with their digests. Exit 1: there is none."""
    folder = (out or ROOT / "dist" / "images").resolve()
    files = {name: folder / f"{name}.oci.tar" for name in IMAGES}
    found = [
        Image(service=name, file=str(file), digest=digest_of(file))
        for name, file in files.items()
        if file.is_file()
    ]
    _show(found, as_json)
    if not found:
        typer.echo(f"no image in {folder}: build them with ./cbs images build", err=True)
        raise typer.Exit(NO)


def _show(images: list[Image], as_json: bool) -> None:
    if as_json:
        print_json(images)
        return
    for image in images:
        typer.echo(f"{image.service:10} {image.digest} {image.file}")
