"""Any of three tools builds the same Containerfile, which runs nothing: it only adds two layers."""

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cbs.tools.images.contents import ENTRYPOINT
from cbs.tools.images.debian import BUNDLE

ENGINES = ("buildah", "podman", "docker")
USER = "65534:65534"
BUILD_SECONDS_MAX = 900


class CannotBuild(RuntimeError):
    """No tool, or it failed; the message says what to do."""


def containerfile(base: str, tar: str, labels: Mapping[str, str] | None = None) -> str:
    """Of a base if there are no labels, of a service otherwise."""
    lines = [f"FROM {base}", f"ADD {tar} /"]
    if labels is not None:
        lines += [f"LABEL {name}={json.dumps(value)}" for name, value in sorted(labels.items())]
        lines += [
            f"ENV LANG=C.UTF-8 SSL_CERT_FILE=/{BUNDLE}",
            "WORKDIR /",
            f"USER {USER}",
            "STOPSIGNAL SIGTERM",
        ]
        lines += [f"ENTRYPOINT {json.dumps(ENTRYPOINT)}", 'CMD ["serve"]']
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Engine:
    """`scratch` holds what the tool keeps while it builds; it is the caller's to remove."""

    name: str
    scratch: Path

    @classmethod
    def found(cls, scratch: Path) -> "Engine":
        for name in ENGINES:
            if shutil.which(name):
                return cls(name, scratch)
        raise CannotBuild(
            "images are built by buildah, podman or docker, and none is there:"
            " apt install buildah (or podman)"
        )

    def argv(self, context: Path, out: Path, *, epoch: int, base: Path | None) -> list[str]:
        """The command that builds `context`/Containerfile to an OCI archive.

        `base` is an OCI layout's folder that the Containerfile calls `base`: only docker asks.
        """
        if self.name == "docker":
            named = ["--build-context", f"base=oci-layout://{base}"] if base else []
            to = f"type=oci,dest={out},rewrite-timestamp=true"
            date = f"SOURCE_DATE_EPOCH={epoch}"
            plain = ["--provenance=false", "--build-arg", date, "--output", to]
            return ["docker", "buildx", "build", *plain, *named, *_file(context)]
        storage = []
        if os.geteuid() == 0:
            # A store of its own: nothing is left in the user's, nothing there is looked at.
            store = ["--root", str(self.scratch / "root"), "--runroot", str(self.scratch / "run")]
            storage = [*store, "--storage-driver", "vfs"]
        plain = ["--isolation", "chroot", "--layers=false", "--format", "oci"]
        when = ["--timestamp", str(epoch), "-t", f"oci-archive:{out}"]
        return [self.name, *storage, "build", *plain, *when, *_file(context)]

    def build(self, context: Path, out: Path, *, epoch: int, base: Path | None = None) -> str:
        """Build to `out` and give the manifest's digest."""
        out.unlink(missing_ok=True)
        argv = self.argv(context, out, epoch=epoch, base=base)
        env = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
        try:
            done = subprocess.run(
                argv, env=env, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX
            )
        except subprocess.TimeoutExpired:
            raise CannotBuild(f"{self.name} did not end in {BUILD_SECONDS_MAX} s") from None
        if done.returncode != 0:
            raise CannotBuild(f"{self.name} failed: {done.stderr[-2000:].strip()}")
        return digest_of(out)


def _file(context: Path) -> list[str]:
    return ["-f", str(context / "Containerfile"), str(context)]


def digest_of(archive: Path) -> str:
    with tarfile.open(archive) as tar:
        index = tar.extractfile("index.json")
        assert index is not None, archive
        digest: str = json.load(index)["manifests"][0]["digest"]
    return digest


def is_oci(file: Path) -> bool:
    with tarfile.open(file) as tar:
        return "oci-layout" in {name.removeprefix("./") for name in tar.getnames()}
