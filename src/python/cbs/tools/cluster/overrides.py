"""What a user chose over an environment's values stays with the data until it is chosen anew."""

from pathlib import Path
from typing import Any

from cbs.tools.cluster import rules
from cbs.tools.cluster.jobs import ENVIRONMENTS
from cbs.tools.local.folder import Folder, write_whole

FILE = "values.hcl"


def keep(folder: Folder, file: Path) -> None:
    write_whole(folder.root / FILE, file.read_text())


def values(folder: Folder, environment: str) -> dict[str, Any]:
    """What was kept; of a map, the rest is as in nomad/env."""
    path = folder.root / FILE
    if not path.exists():
        return {}
    usual = rules.read(ENVIRONMENTS / f"{environment}.hcl", {})
    return {name: _merged(usual.get(name), value) for name, value in rules.read(path, {}).items()}


def _merged(usual: Any, own: Any) -> Any:
    """Maps key by key, anything else whole."""
    if not (isinstance(usual, dict) and isinstance(own, dict)):
        return own
    return usual | {key: _merged(usual.get(key), value) for key, value in own.items()}
