"""A migration of a running bank is tried on rows of the release before it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cbs.bank import SERVICES

ROOT = Path(__file__).parents[2]


def untried(service: str, migrations: list[str], tests: list[str]) -> Iterator[str]:
    """The migrations after the first that have no test of their name: `test_0002_saga.py`."""
    for name in sorted(migrations)[1:]:
        if f"test_{name.removeprefix(f'{service}_')}.py" not in tests:
            yield f"{name} wants rows of the release before, migrated and read"


@pytest.mark.parametrize("service", SERVICES)
def test_every_later_migration_is_tried_on_rows_of_the_release_before(service):
    folder = ROOT / "src" / "python" / "cbs" / service / "migrations"
    migrations = [file.stem for file in folder.glob(f"{service}_*.py")]
    tests = [file.name for file in (ROOT / "tests" / service).glob("test_0*.py")]

    assert f"{service}_0001_first" in migrations
    assert not list(untried(service, migrations, tests))


def test_an_untried_migration_is_seen():
    migrations = ["cards_0001_first", "cards_0002_limits"]

    assert not list(untried("cards", migrations, ["test_0002_limits.py"]))
    assert list(untried("cards", migrations, ["test_cards.py"]))
