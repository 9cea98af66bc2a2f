"""A broker that is up, and a clone whose commits it is told of."""

import subprocess

import pytest

from cbs.release.gate.history import PACTS, History
from tests.release.listening import serving
from tests.release.pact_brokers import FakeBroker
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
    return History(root)
