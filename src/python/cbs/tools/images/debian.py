"""The base is Debian's packages unpacked, not installed: no shell, no apt, no script ran."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

SUITE = "bookworm"
PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "ca-certificates", "tzdata")
SUITES = (SUITE, f"{SUITE}-updates", f"{SUITE}-security")
SOURCES = Path("/etc/apt/sources.list.d")
KEPT_ALWAYS = re.compile(r"usr/share/(ca-certificates|zoneinfo)(/|$)")
TRIMMED = re.compile(
    r"(usr/share|var|etc/(apt|cron\.\w+|logrotate\.d|machine-id|init\.d|profile\.d)|dev|proc|sys"
    r"|run|tmp|boot|home|root|srv|usr/games|usr/src|usr/include|usr/lib/(apt|dpkg)|usr/libexec"
    r"|usr/lib/python3\.11/(ensurepip|idlelib|lib2to3|pydoc_data|test|tkinter|turtledemo)"
    r"|usr/(s?bin)/(?!python3)|s?bin|usr/lib/debug|.*/__pycache__)(/|[^/]*$)"
)
CERTIFICATES = "usr/share/ca-certificates/"
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
FILES = {
    "etc/passwd": b"root:x:0:0:root:/:/nonexistent\nnobody:x:65534:65534:nobody:/:/nonexistent\n",
    "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files dns\n",
}
FOLDERS = {"tmp": 0o1777, "dev": 0o755, "proc": 0o755, "sys": 0o755, "run": 0o755}
REFRESH_SECONDS_MAX = 900
# Raise it when `trimmed` writes another tar from the same packages.
EDITION = 1


class NoBase(RuntimeError):
    """The base cannot be made here; the message says what to do."""


def sources(files: Iterable[Path]) -> list[str]:
    """This machine's own apt sources of the suite, each as it is written there.

    Those of other vendors stay out: only Debian's suites, by name, are kept.
    """
    found = []
    for file in files:
        text = "\n".join(line for line in file.read_text().splitlines() if line[:1] != "#")
        if file.suffix == ".sources":
            for stanza in re.split(r"\n\s*\n", text):
                named = re.search(r"^Suites:(.*)$", stanza, re.M)
                if named and set(named[1].split()) <= set(SUITES):
                    found.append(stanza.strip())
        else:
            lines = [line for line in text.splitlines() if line.startswith("deb ")]
            found += [line for line in lines if _suite(line) in SUITES]
    return found


def _suite(line: str) -> str:
    words = re.sub(r"\[.*?\]", "", line).split()
    return words[2] if len(words) > 2 else ""


def source_files() -> list[Path]:
    own = Path("/etc/apt/sources.list")
    dropped = [*SOURCES.glob("*.list"), *SOURCES.glob("*.sources")]
    return [*([own] if own.exists() else []), *sorted(dropped)]


def recipe(found: list[str]) -> str:
    """What the base is made of, as a name: another recipe has another."""
    parts = [EDITION, SUITE, PACKAGES, found, TRIMMED.pattern, KEPT_ALWAYS.pattern, FOLDERS]
    parts.append({name: body.decode() for name, body in FILES.items()})
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def trimmed(raw: Path, out: Path) -> None:
    """The tar again: sorted, dated 0, root's, no set-id bits, without what no service needs."""
    with tarfile.open(raw) as tar, tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as new:
        members = {m.name.removeprefix("./").rstrip("/"): m for m in tar.getmembers()}
        kept = {name: m for name, m in members.items() if name not in ("", ".") and _kept(name, m)}
        bundle = b"".join(
            _content(tar, member).rstrip(b"\n") + b"\n"
            for name, member in sorted(members.items())
            if name.startswith(CERTIFICATES) and name.endswith(".crt")
        )
        extra = {**FILES, BUNDLE: bundle}
        for folder, mode in FOLDERS.items():
            kept[folder] = folder_entry(folder, mode)
        for file, text in extra.items():
            kept[file] = file_entry(file, len(text))
            for parent in list(Path(file).parents)[:-1]:
                kept.setdefault(str(parent), folder_entry(str(parent)))
        for name, member in sorted(kept.items()):
            member.name, member.mtime, member.pax_headers = name, 0, {}
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            if name not in FOLDERS:
                member.mode &= 0o755
            body: bytes | None = extra.get(name)
            if body is None and (member.isreg() or member.islnk()):
                body, member.type = _content(tar, member), tarfile.REGTYPE
            member.size = len(body or b"")
            new.addfile(member, None if body is None else io.BytesIO(body))


def _kept(name: str, member: tarfile.TarInfo) -> bool:
    if member.ischr() or member.isblk() or member.isfifo():
        return False
    if name in ("usr/share", "usr/bin") and not member.isreg():
        return True
    return bool(KEPT_ALWAYS.match(name)) or not TRIMMED.match(name)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None, member.name
    return file.read()


def folder_entry(name: str, mode: int = 0o755) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    return entry


def file_entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry


def base_archive(cache: Path, *, fresh: bool = False) -> Path:
    """A root file system as a tar, from the cache if the recipe's is there. Raises NoBase."""
    found = sources(source_files())
    place = cache / "images" / f"base-{recipe(found)}.tar"
    if place.exists() and not fresh:
        return place
    if shutil.which("mmdebstrap") is None:
        raise NoBase("the base is made by mmdebstrap: apt install mmdebstrap, or name one: --base")
    if not found:
        raise NoBase(
            f"this machine's apt sources have no Debian {SUITE}: name a base with --base that has"
            " /usr/bin/python3.11"
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as name:
        raw, part = Path(name) / "raw.tar", Path(name) / "base.tar"
        done = subprocess.run(
            command(raw),
            input="\n\n".join(found) + "\n",
            text=True,
            capture_output=True,
            timeout=REFRESH_SECONDS_MAX,
            env={
                "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
                "SOURCE_DATE_EPOCH": "0",
                "LC_ALL": "C",
            },
            check=False,
        )
        if done.returncode != 0:
            raise NoBase(f"mmdebstrap failed: {done.stderr[-2000:].strip()}")
        trimmed(raw, part)
        part.rename(place)
    return place


def command(out: Path) -> list[str]:
    include = ",".join(PACKAGES)
    return ["mmdebstrap", "--variant=extract", f"--include={include}", SUITE, str(out), "-"]
