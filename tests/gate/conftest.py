import pytest

from cbs.tools.release.gate.environments import APPLICATIONS
from tests.gate.clone import Clone


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """One commit, and everything of it is deployed to prod."""
    made = Clone.made(tmp_path_factory.mktemp("gate"))
    for application in APPLICATIONS:
        made.record(application, "main")
    return made
