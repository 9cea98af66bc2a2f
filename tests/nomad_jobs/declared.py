"""Job and Consul files as plain values: blocks are lists of dicts, and texts have no quotes."""

from functools import cache
from pathlib import Path
from typing import Any

import hcl2

ROOT = Path(__file__).parents[2]
MARKS = {"__is_block__", "__comments__", "__inline_comments__"}


@cache
def read(text: str) -> dict[str, Any]:
    """A block with a label is under the label in a dict; an expression is `${…}`."""
    found = _plain(hcl2.loads(text if text.endswith("\n") else f"{text}\n"))
    assert isinstance(found, dict)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(name): _plain(each) for name, each in value.items() if name not in MARKS}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value


def texts(folder: str, pattern: str) -> dict[str, str]:
    """Each file's text under its path in the repository."""
    return {
        str(path.relative_to(ROOT)): path.read_text()
        for path in sorted((ROOT / folder).glob(pattern))
    }


def labelled(blocks: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What `[{"a": {…}}, {"b": {…}}]` says."""
    return {name: block for each in blocks for name, block in each.items()}


def seconds(duration: Any) -> float:
    """Of `90s`, `3m`, `1h`; a variable's is not known and counts as none."""
    units = {"s": 1, "m": 60, "h": 3600}
    text = str(duration)
    known = text[:-1].isdigit() and text[-1] in units
    return int(text[:-1]) * units[text[-1]] if known else 0
