"""What a service declares is what is built: one that is built otherwise does not start."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from cbs.bank import SERVICES
from cbs.platform.declaration import OF_EVERY_SERVICE, declaration_of
from cbs.platform.process import built
from cbs.tools.local.plan import SOURCE
from tests.serving import handed_to_run

PERMISSION = re.compile(r"[a-z]+\.[a-z]+")

LEDGERS = ("ledger.accounts", "ledger.post", "ledger.backdate", "ledger.import")


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_is_built_as_it_is_declared_and_its_entrance_asks_who_comes(service):
    made = built(*handed_to_run(service))
    transport = httpx.ASGITransport(made.admission)

    async with httpx.AsyncClient(transport=transport, base_url="http://bank") as nobody:
        answer = await nobody.get(made.runtime.declaration.entrance)

    assert made.runtime.declaration == declaration_of(service)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("service", "offence"),
    [
        ("ledger", {"serves": ("post",)}),
        ("ledger", {"publishes": ("transaction-posted",)}),
        ("ledger", {"publishes": ("transaction-posted", "account-set", "account-gone")}),
        ("ledger", {"permits": LEDGERS}),
        ("ledger", {"entrance": "/v1/ledger/nothing"}),
        ("ledger", {"entrance": "/v1/payments/transfers"}),
        ("ledger", {"entrance": ""}),
        ("ledger", {"hears": ("payments",)}),
        ("payments", {"hears": ()}),
    ],
    ids=str,
)
def test_one_that_is_built_otherwise_does_not_start(service, offence):
    declared, settings, build = handed_to_run(service)
    ((what, _),) = offence.items()

    with pytest.raises(AssertionError, match=what):
        built(replace(declared, **offence), settings, build)


def said_in(folder: Path) -> set[str]:
    """Every text in a service's sources that may be a permission, but those that it declares."""
    return {
        node.value
        for path in folder.rglob("*.py")
        if path.name != "service.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and PERMISSION.fullmatch(node.value)
    }


@pytest.mark.parametrize("service", SERVICES)
def test_every_permission_that_is_declared_is_asked_for_somewhere(service):
    assert set(declaration_of(service).permits) <= said_in(SOURCE / "cbs" / service)


def test_a_permission_belongs_to_one_service_alone():
    every = [each for service in SERVICES for each in declaration_of(service).permits]

    assert len(every) == len(set(every)), every
    assert not set(every) & set(OF_EVERY_SERVICE.permits)
