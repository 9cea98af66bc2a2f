"""`nomad` and `consul` are the user's own, or built once from this clone's pinned Go modules."""

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cbs.tools.local.folder import cache_folder
from cbs.tools.local.process import mortal, output_of
from cbs.tools.local.progress import now_and_then
from cbs.tools.local.waiting import wait_until

ROOT = Path(__file__).parents[5]
MODULES = ROOT / "build-support" / "go"
GO_VERSION_MIN = (1, 25)
POLL_SECONDS, ASK_SECONDS_MAX, BUILD_SECONDS_MAX = 0.2, 30, 3600
NUMBERS = re.compile(r"(\d+)\.(\d+)")


class NoBinary(RuntimeError):
    """A program is not there and cannot be built here; the message says where to get it."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program of the cluster, the least version that will do, and the package to build."""

    name: str
    version_min: tuple[int, int]
    package: str

    @property
    def variable(self) -> str:
        return f"CBS_{self.name.upper()}_BINARY"

    @property
    def module(self) -> Path:
        return MODULES / self.name


NOMAD = Tool("nomad", (1, 10), "github.com/hashicorp/nomad")
CONSUL = Tool("consul", (1, 17), "github.com/hashicorp/consul")


def find(
    tool: Tool,
    *,
    say: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
    build: bool = True,
) -> Path:
    """The program: CBS_<TOOL>_BINARY, PATH, the user's cache, or built into it. Raises NoBinary."""
    if named := environ.get(tool.variable):
        return _checked(tool, Path(named))
    if found := shutil.which(tool.name, path=environ.get("PATH")):
        return _checked(tool, Path(found))
    kept = _kept(tool, environ)
    if not kept.exists() and not build:
        raise NoBinary(f"no {tool.name} is installed or kept from a build: {_remedy(tool)}")
    if not kept.exists():
        _built(tool, kept, say, environ)
    return kept


def _kept(tool: Tool, environ: Mapping[str, str]) -> Path:
    """Where the cache has it: another pinned version is another file."""
    pinned = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        pinned.update((tool.module / name).read_bytes())
    return cache_folder(environ) / "bin" / f"{tool.name}-{pinned.hexdigest()[:16]}"


def _checked(tool: Tool, path: Path) -> Path:
    try:
        said = output_of([str(path), "version"], seconds_max=ASK_SECONDS_MAX)
    except OSError as error:
        raise NoBinary(f"{path} does not run as {tool.name} ({error}): {_remedy(tool)}") from None
    version = _version(said)
    if version < tool.version_min:
        at_least = ".".join(map(str, tool.version_min))
        raise NoBinary(
            f"{path} is {said.splitlines()[0] if said else 'of no version'}, and"
            f" {at_least} is the least that will do: {_remedy(tool)}"
        )
    return path.absolute()


def _version(said: str) -> tuple[int, int]:
    found = NUMBERS.search(said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _remedy(tool: Tool) -> str:
    return (
        f"install {tool.name} (developer.hashicorp.com/{tool.name}/install) or name it in"
        f" {tool.variable}; or install Go {'.'.join(map(str, GO_VERSION_MIN))} or later, with"
        " which it is built here once"
    )


def _built(tool: Tool, kept: Path, say: Callable[[str], None], environ: Mapping[str, str]) -> None:
    go = shutil.which("go", path=environ.get("PATH"))
    if go is None:
        raise NoBinary(f"no {tool.name} is installed: {_remedy(tool)}")
    if _version(output_of([go, "env", "GOVERSION"], seconds_max=ASK_SECONDS_MAX)) < GO_VERSION_MIN:
        raise NoBinary(f"no {tool.name} is installed, and {go} is too old: {_remedy(tool)}")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with open(kept.with_name(f"{kept.name}.lock"), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"waiting for another that builds {tool.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _build(tool, go, kept, say, environ)


def _build(
    tool: Tool, go: str, kept: Path, say: Callable[[str], None], environ: Mapping[str, str]
) -> None:
    """Build beside the place it is kept in, and move it there whole."""
    part = kept.with_name(f"{kept.name}.part")
    argv = [go, "build", "-mod=readonly", "-buildvcs=false", "-o", str(part)]
    say(f"building {tool.name} with {go}, once: minutes, and some GB of Go's cache")
    began, tell = time.monotonic(), now_and_then(say)
    with tempfile.TemporaryFile() as output:
        build = subprocess.Popen(
            mortal([*argv, tool.package]),
            cwd=tool.module,
            env=dict(environ) | {"GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

        def is_built() -> bool:
            tell(lambda: f"  … building {tool.name} ({time.monotonic() - began:.0f} s)")
            return build.poll() is not None

        try:
            if not wait_until(is_built, seconds=BUILD_SECONDS_MAX, every=POLL_SECONDS):
                raise NoBinary(f"building {tool.name} took over {BUILD_SECONDS_MAX} s")
        finally:
            if build.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(build.pid, signal.SIGKILL)
                build.wait()
            if build.returncode != 0:
                part.unlink(missing_ok=True)
        if build.returncode != 0:
            output.seek(0)
            why = output.read().decode(errors="replace")[-2000:]
            raise NoBinary(f"go build of {tool.name} failed:\n{why}\n{_remedy(tool)}")
    part.rename(kept)
    say(f"  ✓ built {tool.name} ({time.monotonic() - began:.0f} s), kept as {kept}")
