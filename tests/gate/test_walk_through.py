"""What docs/how-to/contracts.md tells a reader to type does what it says there."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cbs.tools.release.layout import SOURCES
from tests.gate.clone import Clone

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "contracts.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```\n+(?:\*\*(\w+)\*\*)?", re.S | re.M)
CODES = {"": 0, "YES": 0, "NO": 1}

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def reader(clone: Clone) -> Iterator[Clone]:
    """Has verified what others have, and recorded nothing."""
    home = clone.home.with_name("reader")
    home.mkdir()
    reader = Clone(clone.root, home)
    own = clone.root / ".cbs" / "walk-through"
    if (clone.store / "results").exists():
        shutil.copytree(clone.store / "results", own / "results")
    reader.git("checkout", "--quiet", "main")
    yield reader
    shutil.rmtree(own)


def test_a_broken_contract_is_refused_and_mended(reader: Clone):
    blocks = BLOCK.findall(PAGE.read_text())
    said, exported = [], ""
    for commands, answer in blocks:
        done = reader.run("bash", "-ec", exported + commands)
        exported += "".join(f"{line}\n" for line in commands.splitlines() if "export " in line)
        assert done.returncode == CODES[answer], f"{commands}\n{done.stdout}\n{done.stderr}"
        assert answer in done.stdout
        said.append((answer, done.stdout))

    assert [answer for answer, _ in said] == ["", "NO", "YES", "YES", "YES"]
    no = [line for line in said[1][1].splitlines() if line.startswith("  no ")]
    assert no
    for reason in no:
        assert "breaks partner@" in reason
        assert "a transfer:" in reason
        assert "booked_at" in reason
    text = (reader.root / SOURCES / "payments" / "domain" / "transfer.py").read_text()
    assert "posted_at: datetime" in text
    assert "booked_at" not in text
    reader.git("checkout", "--quiet", "main")
