"""Sidecars on this machine are tasks, who are nobody: what they run lies where they may enter."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cbs.gateway import envoy
from cbs.tools.local.folder import Folder

PORT = "consul-grpc"
USUAL_PORTS = {PORT: 8502}
PROGRAMS = "bin"


def place(folder: Folder, consul: Path) -> None:
    """Put Consul and Envoy into the data folder: linked, or copied from another file system."""
    programs = folder[PROGRAMS]
    programs.chmod(0o711)
    for name, source in {"consul": consul.resolve(), "envoy": Path(envoy.program())}.items():
        part = programs / f".{name}.part"
        part.unlink(missing_ok=True)
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
            part.chmod(0o755)
        part.rename(programs / name)


def values(folder: Folder, ports: Mapping[str, int]) -> dict[str, Any]:
    """What the jobs are told of it; nothing where there is no mesh."""
    if PORT not in ports:
        return {}
    return {
        "mesh": True,
        "sidecar": {
            "consul": str(folder[PROGRAMS] / "consul"),
            "envoy": str(folder[PROGRAMS] / "envoy"),
            "consul_url": f"http://127.0.0.1:{ports['consul']}",
            "grpc_url": f"http://127.0.0.1:{ports[PORT]}",
            "cpu": 50,
            "memory": 100,
        },
    }
