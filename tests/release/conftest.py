"""A broker that is up, a clone whose commits it is told of, and a bank that only says."""

import json
import subprocess
from pathlib import Path

import pytest

from cbs.tools.release.gate.history import PACTS, GitHistory
from cbs.tools.release.layout import LOCK, MARK, NOW, SOURCES
from tests.release.listening import serving
from tests.release.pact_brokers import FakeBroker
from tests.release.place import SCHEMA, Place
from tests.release.promises import PACT, broker_store


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def fake():
    with serving(FakeBroker()) as broker:
        yield broker


@pytest.fixture
def store(fake, tmp_path):
    return broker_store(fake.url, tmp_path / "beside")


@pytest.fixture
def history(tmp_path):
    """Two commits with the same pact and the same provider."""
    root = tmp_path / "clone"
    pact = root / PACTS / "accounts-ledger.json"
    pact.parent.mkdir(parents=True)
    pact.write_bytes(PACT.body)
    git = ["git", "-C", str(root), "-c", "user.name=asha", "-c", "user.email=asha@example.org"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
    for text in ("one", "two"):
        (root / "README.md").write_text(text)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", text], check=True)
    return GitHistory(root)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "clone")
    made.root.mkdir()
    made.git("init", "--quiet", "--initial-branch=main")
    for service, calls in {"ledger": (), "payments": ("ledger.post",)}.items():
        text = f"DECLARATION = Declaration(service={service!r}, calls={calls!r})\n"
        made.write(f"{SOURCES}/{service}/{NOW.declaration}", text)
    made.write(MARK, "SERVICES = ()\n")
    made.write(LOCK, "msgspec==1\n")
    made.write(f"{SOURCES}/tools/release/pacts/partner.py", "")
    made.write("contracts/openapi/ledger.json", json.dumps(SCHEMA))
    made.pact("payments", "ledger", "ask")
    made.pact("partner", "payments", "ask")
    made.pact("partner", "ledger", "ask")
    return made


@pytest.fixture
def base(place: Place) -> str:
    sha = place.commit()
    place.deploy(sha, "ledger", "payments", "partner")
    return sha
