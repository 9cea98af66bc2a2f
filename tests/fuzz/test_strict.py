"""What is taken is what the contract says: of every field and parameter of every operation."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from cbs.bank import SERVICES
from cbs.kernel.account_number import account_number
from tests.serving import Served, described, handed_to_run, serving
from tests.signing import Signer

CONTRACTS = Path(__file__).parents[2] / "contracts" / "openapi"
JSON = "application/json"
# JSON texts that are not of the type, though somebody might take them for it.
NOT = {
    "integer": ['"7"', '"7.0"', "7.0", "7e0", "0.99999999999999999999", "1e3", '"5000.00"', "true"],
    "string": ["7", "true", "{}"],
    "boolean": ['"false"', '"true"', "0", "1"],
    "null": ['"null"', '""'],
    "array": ['"[]"', "{}", "7"],
    "object": ['"{}"', "[]", "7"],
}
# Beyond what every reader of JSON has exactly, and beyond what anything holds.
HUGE = [str(2**53), str(-(2**53)), str(2**63), str(10**40)]
NUMBERS = [
    *HUGE,
    "7.0",
    "1e3",
    "0.99999999999999999999",
    "+7",
    "07",
    " 7",
    "7_0",
    "0x7",
    "\u0667",
    "7,0",
]
CURSORS = [
    "WyJcdTAwMDAiXQ",
    "!",
    "bnVsbA",
    "W10",
    "eyJhIjoxfQ",
    "WzFd=",
    "WyJcdWQ4MDAiXQ",
    "WzFlOTld",
]
TREE = dict[str, Any]


@dataclass(frozen=True)
class Contracted:
    """One operation, as the contract has it."""

    method: str
    template: str
    said: TREE
    schemas: TREE

    @property
    def path(self) -> str:
        """To something that is nowhere, but could be."""
        path = self.template
        for each in self.parameters("path"):
            schema = each["schema"]
            number = account_number(branch=1, serial=1)
            formed = {"uuid": str(uuid4()), "account-number": number}
            value = formed.get(schema.get("format", "")) or (
                "7" if is_integer(schema) else "audit-7"
            )
            path = path.replace(f"{{{each['name']}}}", value)
        return path

    def parameters(self, kind: str) -> list[TREE]:
        return [each for each in self.said.get("parameters", []) if each["in"] == kind]

    @property
    def needed(self) -> dict[str, str]:
        """Values for the parameters of a query that must be there."""
        return {
            each["name"]: "7" if is_integer(each["schema"]) else "2026-01-01"
            for each in self.parameters("query")
            if each.get("required")
        }

    @property
    def body(self) -> TREE | None:
        content = self.said.get("requestBody", {}).get("content", {})
        return self.resolved(content[JSON]["schema"]) if content else None

    def resolved(self, schema: TREE) -> TREE:
        while "$ref" in schema:
            schema = self.schemas[schema["$ref"].rpartition("/")[2]]
        return schema

    def options(self, schema: TREE) -> list[TREE]:
        schema = self.resolved(schema)
        listed = schema.get("oneOf") or schema.get("anyOf")
        return [self.resolved(each) for each in listed] if listed else [schema]

    def wrong(self, schema: TREE) -> Iterator[tuple[list[str], str]]:
        """Place and JSON text, of each part that is of another type than it should be."""
        options = self.options(schema)
        types = {t for each in options for t in listed(each.get("type", "string"))}
        alike = {"integer": {"7", "0", "1"}, "object": {"{}"}, "array": {"[]"}, "boolean": {"true"}}
        fits = set().union(*(alike.get(t, set()) for t in types))
        wrong = dict.fromkeys(text for t in sorted(types) for text in NOT[t])
        for text in wrong:
            if text in fits or ("string" in types and text.startswith('"')):
                continue
            yield [], text
        for each in options:
            for name, inner in each.get("properties", {}).items():
                yield from (([f".{name}", *place], text) for place, text in self.wrong(inner))
            if "items" in each:
                yield from ((["[]", *place], text) for place, text in self.wrong(each["items"]))

    def integers(self, schema: TREE) -> Iterator[list[str]]:
        """The place of each."""
        for each in self.options(schema):
            if "integer" in listed(each.get("type", "")):
                yield []
            for name, inner in each.get("properties", {}).items():
                yield from ([f".{name}", *place] for place in self.integers(inner))
            if "items" in each:
                yield from (["[]", *place] for place in self.integers(each["items"]))

    def texts(self, schema: TREE, name: str = "") -> Iterator[tuple[str, TREE]]:
        """Each, by the name of its field."""
        for each in self.options(schema):
            if "string" in listed(each.get("type", "")):
                yield name, schema if "pattern" in schema else each
            for inner, value in each.get("properties", {}).items():
                yield from self.texts(value, inner)
            if "items" in each:
                yield from self.texts(each["items"], name)


def listed(types: Any) -> list[str]:
    return types if isinstance(types, list) else [types]


def is_integer(schema: TREE) -> bool:
    return "integer" in json.dumps([schema.get("type"), schema.get("oneOf")])


def nested(place: list[str], text: str) -> str:
    """A body that has nothing but this: what is wrong with it is told before what is missing."""
    for part in reversed(place):
        text = f"[{text}]" if part == "[]" else f'{{"{part[1:]}": {text}}}'
    return text


def where(place: list[str]) -> str:
    """As a refusal names it, up to its first list."""
    found = "".join(place).removeprefix(".").partition("[")[0]
    return found or "body"


def operations(service: str) -> list[Contracted]:
    contract = json.loads((CONTRACTS / f"{service}.json").read_text())
    return [
        Contracted(method.upper(), path, said, contract["components"]["schemas"])
        for path, methods in contract["paths"].items()
        for method, said in methods.items()
    ]


@pytest.fixture(params=SERVICES)
async def served(request, database, nats_url, tmp_path) -> AsyncIterator[Served]:
    signer, vault = Signer(), tmp_path / "vault.key"
    vault.write_text("ab" * 32)
    declaration, settings_type, build = handed_to_run(request.param)
    service = described(
        declaration,
        settings_type,
        build,
        database=database(request.param),
        nats_url=nats_url,
        folder=tmp_path,
        signer=signer,
        **({"vault_key_file": vault} if request.param == "customers" else {}),
    )
    async with serving(service, signer) as served:
        yield served


@pytest.fixture
async def asking(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who may do everything."""
    permissions = {each.opt["permission"] for each in handlers(served) if "permission" in each.opt}
    async with served.client("olga", *permissions) as client:
        yield client


def handlers(served: Served) -> Iterator[Any]:
    for route in served.service.app.routes:
        yield from getattr(route, "route_handlers", ())


def refused(answer: httpx.Response) -> tuple[int, str]:
    problem = answer.json()
    return answer.status_code, problem["type"].removeprefix("urn:cbs:")


async def test_a_field_of_another_type_is_refused_by_name(asking, served):
    tried = 0
    for each in operations(served.service.name):
        for place, text in each.wrong(each.body) if each.body else ():
            body, headers = nested(place, text), {"content-type": JSON}
            answer = await asking.request(each.method, each.path, content=body, headers=headers)
            assert refused(answer) == (400, "malformed"), (each.template, body, answer.text)
            detail = answer.json()["detail"]
            assert detail.startswith(where(place)), (each.template, body, detail)
            tried += 1
    assert tried > 5


async def test_a_number_that_a_reader_would_lose_is_refused(asking, served):
    for each in operations(served.service.name):
        for place in each.integers(each.body) if each.body else ():
            for text in HUGE:
                body, headers = nested(place, text), {"content-type": JSON}
                answer = await asking.request(each.method, each.path, content=body, headers=headers)
                assert refused(answer) == (400, "malformed"), (each.template, body, answer.text)
                detail = answer.json()["detail"]
                assert detail.startswith(where(place)), (each.template, body, detail)


# Their domain has the rule, and a refusal of its own for it: tests/customers/test_person.py.
OF_CUSTOMERS = {"given_name", "family_name", "email", "lines", "city", "state", "issuer", "number"}


@pytest.mark.parametrize("service", SERVICES)
def test_every_text_has_a_form_or_is_a_line_that_can_be_read(service):
    for each in operations(service):
        for name, schema in each.texts(each.body) if each.body else ():
            formed = {"enum", "format", "pattern", "const"} & schema.keys()
            own = service == "customers" and name in {*OF_CUSTOMERS, "reason"}
            assert formed or own, (each.template, name, schema)


async def test_what_is_there_twice_is_refused(asking, served):
    for each in operations(served.service.name):
        if (body := each.body) is not None:
            name = next(iter(body["properties"]))
            text, headers = f'{{"{name}": null, "{name}": null}}', {"content-type": JSON}
            answer = await asking.request(each.method, each.path, content=text, headers=headers)
            assert refused(answer) == (400, "malformed"), (each.template, answer.text)
        for header in ("authorization", "idempotency-key", "x-correlation-id", "content-type"):
            request = asking.build_request(each.method, each.path)
            twice = [(header, "application/json"), (header, "application/json")]
            kept = [pair for pair in request.headers.multi_items() if pair[0] != header]
            request.headers = httpx.Headers([*kept, *twice])
            assert refused(await asking.send(request)) == (400, "malformed"), (
                header,
                each.template,
            )
        for parameter in each.parameters("query"):
            twice = [*each.needed.items(), *[(parameter["name"], "7")] * 2]
            answer = await asking.request(each.method, each.path, params=twice)
            assert refused(answer) == (400, "malformed"), (each.template, answer.text)


async def test_a_number_is_written_in_one_way(asking, served):
    for each in operations(served.service.name):
        for parameter in each.parameters("query"):
            for value in NUMBERS if is_integer(parameter["schema"]) else ():
                query = each.needed | {parameter["name"]: value}
                answer = await asking.request(each.method, each.path, params=query)
                assert refused(answer) == (400, "malformed"), (each.template, query, answer.text)
                assert f"{parameter['name']}: " in answer.json()["detail"], answer.text
        for parameter in each.parameters("path"):
            for value in ("+7", "07", "7_0", "\u0667") if is_integer(parameter["schema"]) else ():
                path = each.template.replace(f"{{{parameter['name']}}}", value)
                path = Contracted(each.method, path, each.said, each.schemas).path
                answer = await asking.request(each.method, path)
                assert refused(answer)[0] in (400, 404), (path, answer.text)


async def test_a_cursor_that_is_not_ours_is_refused(asking, served):
    lists = [
        each
        for each in operations(served.service.name)
        if "cursor" in [parameter["name"] for parameter in each.parameters("query")]
    ]
    assert lists
    for each in lists:
        for cursor in CURSORS:
            answer = await asking.get(each.path, params=each.needed | {"cursor": cursor})
            # What is looked for may come first, and is nowhere.
            assert refused(answer)[0] in (400, 404), (each.template, cursor, answer.text)


async def test_a_period_that_ends_before_it_begins_is_refused(asking, served):
    for each in operations(served.service.name):
        names = {parameter["name"]: parameter["schema"] for parameter in each.parameters("query")}
        if {"from", "to"} <= names.keys():
            day = "date-time" in json.dumps(names["from"])
            later, earlier = (f"2026-01-0{n}{'T00:00:00Z' if day else ''}" for n in (2, 1))
            answer = await asking.get(each.path, params={"from": later, "to": earlier})
            assert refused(answer) == (400, "malformed"), (each.template, answer.text)
            assert answer.json()["detail"].startswith("from:")


async def test_head_answers_as_get_does(asking, served):
    for each in operations(served.service.name):
        if each.method == "GET":
            path, query = each.path, each.needed
            got, head = await asking.get(path, params=query), await asking.head(path, params=query)
            assert (head.status_code, head.content) == (got.status_code, b""), each.template
            assert head.headers["content-type"] == got.headers["content-type"]


async def test_what_is_not_json_by_its_name_is_not_read(asking, served):
    for each in operations(served.service.name):
        if each.body is not None:
            headers = {"content-type": "text/plain"}
            answer = await asking.request(each.method, each.path, content="{}", headers=headers)
            assert refused(answer) == (415, "not-json"), (each.template, answer.text)


@pytest.mark.parametrize("before", ["/", "/%2e", "/x/%2e%2e"])
async def test_a_path_is_written_in_one_way(served, before):
    """Nobody is let past the check of the token by a path that a router takes for another."""
    for token in ({}, {"Authorization": ""}):
        async with served.client("tara") as tara:
            for each in operations(served.service.name):
                answer = await tara.request(
                    each.method, f"http://bank{before}{each.path}", headers=token
                )
                assert refused(answer) == (404, "no-such-resource"), each.template


async def test_what_no_rule_opens_needs_a_token(served):
    async with served.client("tara") as tara:
        for path in ("/", "/v1", "/health", "/metrics/x", "/v2/ledger", "/schemas", "/v1%2Fledger"):
            answer = await tara.get(path, headers={"Authorization": ""})
            assert refused(answer) == (401, "not-signed-in"), path
