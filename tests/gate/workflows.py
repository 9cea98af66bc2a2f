"""A forge's workflows, as the steps that they run."""

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]


def steps_of(workflow: str) -> list[tuple[str, str]]:
    """Name and script of each step that runs one."""
    text = (ROOT / ".github" / "workflows" / f"{workflow}.yml").read_text()
    _, *parts = re.split(r"^      - ", text, flags=re.M)
    found = []
    for part in parts:
        name = re.search(r"^(?:        )?name: (.*)$", part, re.M)
        run = re.search(r"^        run: (?:\|\n((?:          .*\n|\n)+)|(.*)$)", part, re.M)
        if name and run:
            found.append((name[1], textwrap.dedent(run[1]) if run[1] else run[2]))
    return found
