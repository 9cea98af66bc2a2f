"""Jobs are told what a file of nomad/env says, over what each service declares that it needs.

What a user chose goes before both, and stays with the data until it is chosen anew.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cbs.platform.declaration import Needs
from cbs.tools.cluster import rules
from cbs.tools.local.folder import Folder, write_whole

ENVIRONMENTS = rules.ROOT / "nomad" / "env"
FILE = "values.hcl"


def values(text: str, own: Mapping[str, Any], needs: Mapping[str, Needs]) -> dict[str, Any]:
    """`own` goes before the environment's `text`, maps key by key. `instances` there is how many
    there are of a service for which it says no `count`."""
    said: dict[str, Any] = _merged(rules.loaded(text, {}), own)
    instances = said.pop("instances", 1)
    usual = {
        service: {
            "count": instances,
            "cpu": need.cpu_mhz,
            "memory": need.memory_mib,
            "keys": list(need.keys),
        }
        for service, need in needs.items()
    }
    return said | {"services": _merged(usual, said.get("services", {}))}


def keep(folder: Folder, file: Path) -> None:
    write_whole(folder.root / FILE, file.read_text())


def kept(folder: Folder) -> dict[str, Any]:
    path = folder.root / FILE
    return rules.read(path, {}) if path.exists() else {}


def _merged(usual: Any, own: Any) -> Any:
    """Maps key by key, anything else whole."""
    if not (isinstance(usual, Mapping) and isinstance(own, Mapping)):
        return own
    return {**usual, **{key: _merged(usual.get(key), value) for key, value in own.items()}}
