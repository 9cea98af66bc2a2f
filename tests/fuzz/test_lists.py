"""Who follows the cursors of a list misses nothing and sees nothing twice, whoever writes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from cbs.bank import SERVICES
from tests.conftest import Database
from tests.fuzz.lists import LISTS, QUERY, List, Place
from tests.serving import Served, described, handed_to_run, serving
from tests.signing import Signer

CONTRACTS = Path(__file__).parents[2] / "contracts" / "openapi"
THERE, MORE, WRITERS, WHOLE, PAGES_MAX = 9, 6, 3, 200, 100
LIMITS = (1, 2, 5)
FIRST = asyncio.FIRST_COMPLETED


def lists_in(contract: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Operation and path of each: an answer has items, and says where the next ones begin."""
    schemas = contract["components"]["schemas"]
    for path, methods in contract["paths"].items():
        for said in methods.values():
            for answer in said["responses"].values():
                for content in answer.get("content", {}).values():
                    schema = content["schema"]
                    found = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
                    if {"items", "next_cursor"} <= found.get("properties", {}).keys():
                        yield said["operationId"], path


PATHS = {
    operation: (service, path)
    for service in SERVICES
    for operation, path in lists_in(json.loads((CONTRACTS / f"{service}.json").read_text()))
}


def test_every_list_of_every_service_is_followed_here():
    assert PATHS.keys() == LISTS.keys()
    # What a page looks like is the platform's: whoever takes a cursor is one of them.
    for service in SERVICES:
        contract = json.loads((CONTRACTS / f"{service}.json").read_text())
        for methods in contract["paths"].values():
            for said in methods.values():
                named = [each["name"] for each in said.get("parameters", [])]
                assert ("cursor" in named) == (said["operationId"] in LISTS), said["operationId"]


@pytest.fixture
async def place(
    request: pytest.FixtureRequest,
    database: Callable[[str], Database],
    nats_url: str,
    tmp_path: Path,
) -> AsyncIterator[Place]:
    """The list's service, and those whom it asks."""
    service, _ = PATHS[request.param]
    signer, vault = Signer(), tmp_path / "vault.key"
    vault.write_text("ab" * 32)
    async with AsyncExitStack() as stack:
        served: dict[str, Served] = {}
        for name in (*LISTS[request.param].needs, service):
            declaration, settings_type, build = handed_to_run(name)
            made = described(
                declaration,
                settings_type,
                build,
                database=database(name),
                nats_url=nats_url,
                folder=tmp_path,
                signer=signer,
                **({"vault_key_file": vault} if name == "customers" else {}),
            )
            served[name] = await stack.enter_async_context(serving(made, signer))
        may = [f"{service}.read", "operations.read", "ledger.post", "ledger.backdate"]
        asking = await stack.enter_async_context(served[service].client("olga", *may))
        yield Place({name: each.service for name, each in served.items()}, asking)


class Following:
    """One who reads a list page by page, while others write."""

    def __init__(self, place: Place, operation: str, query: QUERY) -> None:
        self.place, self.of, self.query = place, LISTS[operation], query
        self.path = PATHS[operation][1].format(**self.of.path)
        self.committed, self.writing = asyncio.Event(), 0

    async def page(self, **more: Any) -> tuple[list[tuple[Any, ...]], str | None]:
        query = {**self.of.always, **self.query, **more}
        answer = await self.place.asking.get(self.path, params=query)
        assert answer.status_code == 200, answer.text
        items = [tuple(item[name] for name in self.of.by) for item in answer.json()["items"]]
        return items, answer.json()["next_cursor"]

    async def whole(self) -> list[tuple[Any, ...]]:
        """All that is on it now, without a cursor."""
        items, _ = await self.page(limit=WHOLE)
        assert len(items) < WHOLE
        return items

    async def write(self) -> None:
        for _ in range(MORE // WRITERS):
            await self.of.add(self.place, next(self.place.numbers))
            self.committed.set()

    async def pages(self, limit: int) -> list[list[tuple[Any, ...]]]:
        """Between two of them, somebody has always written, while there is somebody who writes."""
        pages, cursor = list[list[tuple[Any, ...]]](), ""
        writers = [asyncio.create_task(self.write()) for _ in range(WRITERS)]
        while len(pages) < PAGES_MAX:
            items, following = await self.page(limit=limit, cursor=cursor)
            pages.append(items)
            if following is None:
                break
            cursor = following
            self.committed.clear()
            told = asyncio.create_task(self.committed.wait())
            busy = [each for each in writers if not each.done()]
            await asyncio.wait([told, *busy], timeout=None if busy else 0, return_when=FIRST)
            told.cancel()
        await asyncio.gather(*writers)
        return pages


@pytest.mark.parametrize("place", PATHS, indirect=True)
async def test_who_follows_a_list_misses_nothing_and_sees_nothing_twice(place, request):
    operation = request.node.callspec.params["place"]
    of: List = LISTS[operation]
    await of.begin(place)
    for _ in range(THERE):
        await of.add(place, next(place.numbers))
    for query in ({}, *of.queries):
        for limit in LIMITS:
            following = Following(place, operation, query)
            before = await following.whole()
            pages = await following.pages(limit)
            after, seen = await following.whole(), [each for page in pages for each in page]

            told = (operation, query, limit, pages)
            assert before, told
            assert all(pages[:-1]), told
            assert all(len(page) <= limit for page in pages), told
            assert len(seen) == len(set(seen)), told
            assert set(before) & set(after) <= set(seen), told
            still = [each for each in seen if each in after]
            assert still == [each for each in after if each in seen], told
            if of.arrival:
                assert seen == after[: len(seen)], told
