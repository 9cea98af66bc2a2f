import json
from pathlib import Path

import pytest

from cbs.release.gate.history import LOCK, SOURCES
from tests.release.place import SCHEMA, Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "clone")
    made.root.mkdir()
    made.git("init", "--quiet", "--initial-branch=main")
    for service, calls in {"ledger": (), "payments": ("ledger.post",)}.items():
        text = f"CONNECTIONS = Connections(service={service!r}, calls={calls!r})\n"
        made.write(f"{SOURCES}/{service}/connections.py", text)
    made.write(LOCK, "msgspec==1\n")
    made.write(f"{SOURCES}/release/expecting/partner.py", "")
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
