import pytest

from tests.gate.clone import Clone

APPLICATIONS = (
    *("customers", "accounts", "ledger", "payments", "audit"),
    *("gateway", "cbs-cli", "partner"),
)


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """One commit, and everything of it is deployed to prod."""
    made = Clone.made(tmp_path_factory.mktemp("gate"))
    for application in APPLICATIONS:
        made.record(application, "main")
    return made
