import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from cbs.tools.local import databases
from cbs.tools.local.postgres import with_database
from cbs.tools.local.waiting import until
from tests.conftest import Database
from tests.verify.bank import BUILDS, business, working

RELAYED_SECONDS_MAX = 30


def entered(server: str, service: str, name: str) -> Database:
    return Database(
        name=name,
        owner_url=with_database(server, name, databases.owner_of(service)),
        runtime_url=with_database(server, name, databases.runtime_of(service)),
        admin_url=with_database(server, name),
        verify_url=with_database(server, name, databases.VERIFY),
    )


async def all_is_relayed(bank: Mapping[str, Database]) -> bool:
    """A fact may be heard a moment before its own service has noted that it was published."""
    left = "SELECT head.position - relay.position FROM outbox_head head, relay"
    return not any([await databases.number(each.admin_url, left) for each in bank.values()])


@pytest.fixture(scope="session")
def specimen(
    postgres_server: str,
    template: Callable[[str], str],
    nats_server: Iterator[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str, str]]:
    """Service -> the name of its sealed database, after a day's business of the whole bank."""
    folder: Path = tmp_path_factory.mktemp("specimen")
    names = {service: f"specimen_{service}_{secrets.token_hex(6)}" for service in BUILDS}
    bank = {service: entered(postgres_server, service, names[service]) for service in BUILDS}
    sources = {service: template(service) for service in BUILDS}
    nats_url = next(nats_server)

    async def make() -> None:
        for service, name in names.items():
            await databases.make_database(
                postgres_server, service, name=name, template=sources[service]
            )
        async with working(bank, nats_url=nats_url, folder=folder) as served:
            await business(served)
            await until(partial(all_is_relayed, bank), seconds=RELAYED_SECONDS_MAX)
        for name in names.values():
            await databases.seal_template(postgres_server, name)

    databases.in_own_loop(make)
    yield names
    for name in names.values():
        databases.in_own_loop(partial(databases.drop_database, postgres_server, name))


@pytest.fixture
def bank(postgres_server: str, specimen: Mapping[str, str]) -> Iterator[Mapping[str, Database]]:
    """Copies of the specimen's databases, for one test to spoil."""
    with ExitStack() as drops:
        copies = {}
        for service, source in specimen.items():
            name = f"test_{service}_{secrets.token_hex(6)}"
            make = partial(
                databases.make_database, postgres_server, service, name=name, template=source
            )
            databases.in_own_loop(make)
            drops.callback(
                databases.in_own_loop, partial(databases.drop_database, postgres_server, name)
            )
            copies[service] = entered(postgres_server, service, name)
        yield copies
