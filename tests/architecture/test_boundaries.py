"""The import contracts of contracts.toml hold, and each of them is able to fail."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cbs.bank import SERVICES

ROOT = Path(__file__).parents[2]
LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]

OFFENCES = [
    ("payments/planted.py", "import cbs.ledger", "No import runs upwards"),
    ("platform/planted.py", "import cbs.ledger", "No import runs upwards"),
    ("kernel/planted.py", "import cbs.platform", "No import runs upwards"),
    ("gateway/planted.py", "import cbs.ledger", "No import runs upwards"),
    ("platform/planted.py", "import cbs.gateway", "No import runs upwards"),
    ("payments/planted.py", "import cbs.simulation", "No import runs upwards"),
    ("simulation/planted.py", "import cbs.tools.local", "No import runs upwards"),
    ("tools/local/planted.py", "import cbs.tools.ops", "No import runs upwards"),
    ("tools/ops/planted.py", "import cbs.tools.lab", "No import runs upwards"),
    ("tools/lab/planted.py", "import cbs.tools.cluster", "No import runs upwards"),
    ("tools/cluster/planted.py", "import cbs.tools.release", "No import runs upwards"),
    ("tools/release/planted.py", "import cbs.tools.cli", "No import runs upwards"),
    ("ledger/domain/planted.py", "import cbs.ledger.application", "point at the domain"),
    ("ledger/application/planted.py", "import cbs.ledger.store", "point at the domain"),
    ("ledger/domain/planted.py", "import msgspec", "do no I/O"),
    ("ledger/application/planted.py", "import cbs.platform", "do no I/O"),
    ("kernel/planted.py", "import socket", "do no I/O"),
    ("ledger/domain/planted.py", "import asyncio", "never wait"),
    ("ledger/invariants/planted.py", "import cbs.ledger.domain", "trusts none of the code"),
    ("tools/local/planted.py", "import cbs.ledger.domain", "only what it declares"),
    ("tools/ops/planted.py", "import cbs.ledger.store", "only what it declares"),
    ("tools/release/gate/planted.py", "import cbs.ledger", "knows services by their clients alone"),
    ("ledger/bus/planted.py", "import piccolo", "reached from the store"),
    ("ledger/store/planted.py", "import litestar", "HTTP stays in http"),
    ("ledger/bus/planted.py", "import nats", "through platform"),
    ("ledger/main.py", "import typer", "belong to the tools"),
    ("platform/planted.py", "import pact", "belong to the tools"),
]


def contracts(source: Path) -> str:
    """The file with every service named that has such a module."""

    def named(found: re.Match[str]) -> str:
        modules = [f"cbs.{service}{found['module'] or ''}" for service in SERVICES]
        places = {module: source / module.replace(".", "/") for module in modules}
        there = [m for m, place in places.items() if place.is_dir() or has_file(place)]
        return ", ".join(f'"{module}"' for module in there)

    def has_file(place: Path) -> bool:
        return place.with_name(f"{place.name}.py").is_file()

    text = (Path(__file__).parent / "contracts.toml").read_text()
    text = re.sub(r'"@services?(?P<module>\.\w+)?"', named, text)
    return text.replace("@services", " | ".join(f"cbs.{service}" for service in SERVICES))


def lint(source: Path, folder: Path) -> str:
    """What import-linter says of the sources in a folder."""
    config = folder / "contracts.toml"
    config.write_text(contracts(source))
    found = subprocess.run(
        [*LINT, "--no-cache", "--config", str(config)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Contracts: " in found.stdout, found.stdout + found.stderr
    return found.stdout


def test_the_contracts_hold_and_each_has_a_planted_offence(tmp_path):
    said = lint(ROOT / "src/python", tmp_path)

    assert " 0 broken" in said, said
    kept = [line for line in said.splitlines() if line.endswith("KEPT")]
    assert kept
    for line in kept:
        assert any(contract in line for _, _, contract in OFFENCES), line


@pytest.mark.parametrize(("module", "offence", "contract"), OFFENCES)
def test_each_contract_can_be_broken(tmp_path, module, offence, contract):
    shutil.copytree(ROOT / "src/python/cbs", tmp_path / "src/cbs")
    offender = tmp_path / "src/cbs" / module
    offender.parent.mkdir(parents=True, exist_ok=True)
    (offender.parent / "__init__.py").touch()
    offender.write_text(f"{offence}\n")

    broken = [line for line in lint(tmp_path / "src", tmp_path).splitlines() if "BROKEN" in line]

    assert any(contract in line for line in broken), broken
