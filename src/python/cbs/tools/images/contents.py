"""What an image adds to its base is its PEX, flat and compiled: nothing unpacks at start."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

from cbs.tools.images.debian import file_entry, folder_entry

PLACE = "opt/cbs"
PYTHON = (3, 11)
ENTRYPOINT = ["/usr/bin/python3.11", "-I", "-B", f"/{PLACE}"]
LEFT_OUT = (".bootstrap", "__pex__", ".prefix", ".layout.json")
COMPILE_SECONDS_MAX = 600
# Another's hash seed or dates would be in the compiled files.
COMPILE = ("-s", "-P", "-m", "compileall", "-q", "-q", "--invalidation-mode", "unchecked-hash")


class NoPex(RuntimeError):
    """There is no PEX to make an image of, or it is not as it should be; the message says more."""


def pex_of(service: str, dist: Path) -> Path:
    pex = dist / "cbs" / f"{service}.pex"
    if not pex.is_file():
        raise NoPex(f"{dist} has no cbs/{service}.pex: make it with ./pants package ::")
    return pex


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def python() -> str:
    """A Python that compiles for the image's."""
    asked = "import sys; print(sys.executable, *sys.version_info[:2])"
    for candidate in (sys.executable, "/usr/bin/python3.11", "python3.11"):
        try:
            said = subprocess.run([candidate, "-c", asked], capture_output=True, text=True)
        except OSError:
            continue
        if said.returncode == 0 and said.stdout.split()[-2:] == [str(n) for n in PYTHON]:
            return said.stdout.split()[0]
    raise NoPex("needs a Python 3.11 to compile for the image: apt install python3.11")


def lay_out(pex: Path, out: Path, *, wheels: Path) -> None:
    """Write what the PEX holds as a tar for `/opt/cbs`. `wheels` keeps what services share."""
    with ZipFile(pex) as archive:
        info = json.loads(archive.read("PEX-INFO"))
        names = [name for name in archive.namelist() if not name.endswith("/")]
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in sorted(names):
            group, inner = _where(name, info["distributions"])
            if inner and not inner.startswith(LEFT_OUT):
                groups.setdefault(group, []).append((name, inner))
        own = wheels / f"own-{info['code_hash']}"
        files: dict[str, Path] = {}
        for group, members in sorted(groups.items()):
            folder = wheels / group if group else own
            if not folder.exists():
                _unpack(archive, members, folder)
            for file in sorted(folder.rglob("*")):
                _add(files, str(file.relative_to(folder)), file)
    module, _, function = info["entry_point"].partition(":")
    start = f"from {module} import {function}\n\n{function}()\n".encode()
    _write(files, start, out)


def _where(name: str, distributions: dict[str, str]) -> tuple[str, str]:
    """A member's wheel (by hash; "" for our own sources) and its place in what is laid out."""
    if not name.startswith(".deps/"):
        return "", "" if name in ("PEX-INFO", "__main__.py") else name
    _, wheel, inner = name.split("/", 2)
    return distributions[wheel], inner


def _unpack(archive: ZipFile, members: list[tuple[str, str]], folder: Path) -> None:
    for name, inner in members:
        file = folder / inner
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(archive.read(name))
        if archive.getinfo(name).external_attr >> 16 & 0o100:
            file.chmod(0o755)  # a program in a wheel
    shown = ["-s", str(folder), "-p", f"/{PLACE}"]
    # Some packages ship templates that are no Python: they stay as they are.
    subprocess.run(
        [python(), *COMPILE, *shown, str(folder)],
        env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONHASHSEED": "0"},
        stdout=subprocess.DEVNULL,
        timeout=COMPILE_SECONDS_MAX,
        check=False,
    )


def _add(files: dict[str, Path], name: str, file: Path) -> None:
    if not file.is_file():
        return
    there = files.setdefault(name, file)
    if there is not file and there.read_bytes() != file.read_bytes():
        raise NoPex(f"two packages of the PEX differ in {name}")


def _write(files: dict[str, Path], start: bytes, out: Path) -> None:
    folders = {parent for name in files for parent in Path(PLACE, name).parents} - {Path(".")}
    entries = {str(folder): folder_entry(str(folder)) for folder in folders}
    with tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as tar:
        for _, entry in sorted(entries.items()):
            tar.addfile(entry)
        tar.addfile(file_entry(f"{PLACE}/__main__.py", len(start)), io.BytesIO(start))
        for name, file in sorted(files.items()):
            body = file.read_bytes()
            entry = file_entry(f"{PLACE}/{name}", len(body))
            entry.mode |= file.stat().st_mode & 0o111
            tar.addfile(entry, io.BytesIO(body))
