"""The import contracts of pyproject.toml hold, and each of them is able to fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]

OFFENCES = [
    ("payments/planted.py", "import cbs.ledger", "Services never import each other"),
    ("platform/planted.py", "import cbs.ledger", "platform knows no service"),
    ("kernel/planted.py", "import cbs.platform", "kernel knows nobody"),
    ("ledger/domain/planted.py", "import cbs.ledger.application", "point at the domain"),
    ("ledger/infrastructure/planted.py", "import cbs.ledger.api", "point at the domain"),
    ("ledger/domain/planted.py", "import msgspec", "do no I/O"),
    ("ledger/application/planted.py", "import cbs.platform", "do no I/O"),
    ("kernel/planted.py", "import socket", "do no I/O"),
    ("ledger/domain/planted.py", "import asyncio", "never wait"),
    ("dev/planted.py", "import cbs.ledger.domain", "only the connections it declares"),
    ("platform/planted.py", "import cbs.dev", "Nobody imports cbs.dev"),
    ("simulation/planted.py", "import cbs.dev", "Nobody imports cbs.dev"),
    ("gateway/planted.py", "import cbs.ledger", "by their names alone, and nobody but"),
    ("platform/planted.py", "import cbs.gateway", "by their names alone, and nobody but"),
    ("payments/planted.py", "import cbs.simulation", "does not know that it is simulated"),
    ("platform/planted.py", "import pact", "does not know that it is released"),
    ("release/gate/planted.py", "import cbs.ledger", "knows services by their clients alone"),
    ("ledger/api/planted.py", "import piccolo", "reached from infrastructure"),
    ("ledger/infrastructure/planted.py", "import litestar", "HTTP stays in api"),
    ("ledger/api/planted.py", "import nats", "through platform"),
    ("ledger/main.py", "import typer", "belong to `cbs`"),
]


def lint(root: Path) -> str:
    """What import-linter says of the contracts of the repository at `root`."""
    found = subprocess.run(
        [*LINT, "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src/python")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Contracts: " in found.stdout, found.stdout + found.stderr
    return found.stdout


def test_the_contracts_hold():
    said = lint(ROOT)

    assert " 0 broken" in said, said


@pytest.mark.parametrize(("module", "offence", "contract"), OFFENCES)
def test_each_contract_can_be_broken(tmp_path, module, offence, contract):
    shutil.copytree(ROOT / "src/python/cbs", tmp_path / "src/python/cbs")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    offender = tmp_path / "src/python/cbs" / module
    offender.parent.mkdir(parents=True, exist_ok=True)
    (offender.parent / "__init__.py").touch()
    offender.write_text(f"{offence}\n")

    broken = [line for line in lint(tmp_path).splitlines() if line.endswith("BROKEN")]

    assert any(contract in line for line in broken), broken


def test_every_contract_has_a_planted_offence():
    kept = [line for line in lint(ROOT).splitlines() if line.endswith("KEPT")]

    assert kept
    for line in kept:
        assert any(contract in line for _, _, contract in OFFENCES), line
