from datetime import timedelta
from typing import Any

import msgspec
import pytest

from cbs.kernel.calendar import business_date
from cbs.platform.context import now
from tests.customers.people import aadhaar, body, pan, some_id

URL = "/v1/customers"


def paper(type="pan", number=None, **changed) -> dict:
    return {"type": type, "number": number or pan(), **changed}


async def registered(client, *documents, **changed) -> Any:
    response = await client.post(URL, json=body(documents=list(documents), **changed))
    assert response.status_code == 201, response.text
    return response.json()


async def verified(client, customer) -> Any:
    id = customer["documents"][0]["id"]
    response = await client.post(f"{URL}/{customer['id']}/documents/{id}/verify")
    assert response.status_code == 200, response.text
    return response.json()


def code(response) -> tuple[int, str]:
    return response.status_code, response.json()["type"].removeprefix("urn:cbs:")


async def test_a_customer_is_registered_and_verified_in_two_calls(clerk, facts):
    customer = await registered(clerk, paper(number="ACUPA7085R"))
    assert customer["kyc"] == "pending"

    known = await verified(clerk, customer)

    assert (known["kyc"], known["documents"][0]["number"]) == ("verified", "XXXXXX085R")
    assert known["documents"][0]["decided_by"] == "asha.teller"
    assert (await clerk.get(f"{URL}/{customer['id']}")).json() == known
    assert [name for name, _ in await facts()] == [
        "customer-registered",
        "document-added",
        "document-verified",
        "kyc-status-changed",
    ]


async def test_facts_name_the_actor_and_the_customer(clerk, facts):
    customer = await registered(clerk)

    event = msgspec.json.decode((await facts())[0][1])

    assert (event["actor"], event["subject"]) == ("asha.teller", customer["id"])


async def test_the_same_key_gives_the_first_answer_again(clerk, facts):
    asked, key = body(documents=[paper()]), {"Idempotency-Key": "registration-1"}

    first = await clerk.post(URL, json=asked, headers=key)
    again = await clerk.post(URL, json=asked, headers=key)
    other = await clerk.post(URL, json=asked | {"given_name": "Usha"}, headers=key)

    assert (again.status_code, again.content) == (201, first.content)
    assert code(other) == (409, "key-reused")
    assert len(await facts()) == 2
    kept = (await clerk.get(f"{URL}/requests/registration-1")).json()
    assert kept["answer"] == first.json()


async def test_a_document_is_presented_once(clerk):
    number = aadhaar()
    await registered(clerk, paper("aadhaar", number))
    other = await registered(clerk)

    again = await clerk.post(URL, json=body(documents=[paper("aadhaar", number)]))
    added = await clerk.post(f"{URL}/{other['id']}/documents", json=paper("aadhaar", number))

    assert code(again) == code(added) == (409, "document-known")
    assert number not in again.text + added.text
    assert len((await clerk.get(URL)).json()["items"]) == 2


async def test_a_rejected_document_says_who_and_why(clerk):
    customer = await registered(clerk, paper())
    url = f"{URL}/{customer['id']}/documents/{customer['documents'][0]['id']}"

    rejected = (await clerk.post(f"{url}/reject", json={"reason": "photo differs"})).json()

    assert rejected["kyc"] == "rejected"
    (document,) = rejected["documents"]
    assert (document["state"], document["reason"], document["decided_by"]) == (
        "rejected",
        "photo differs",
        "asha.teller",
    )
    assert code(await clerk.post(f"{url}/verify")) == (409, "document-decided")


async def test_amending_changes_what_is_given_and_takes_away_what_is_null(clerk):
    customer = await registered(clerk, email="asha@example.in")

    response = await clerk.patch(
        f"{URL}/{customer['id']}", json={"email": None, "mobile": "+919812345678"}
    )

    assert response.json() == customer | {"email": None, "mobile": "+919812345678"}


async def test_a_new_name_is_verified_again(clerk):
    customer = await verified(clerk, await registered(clerk, paper()))

    response = await clerk.patch(f"{URL}/{customer['id']}", json={"family_name": "Iyer"})

    assert response.json()["kyc"] == "pending"


async def test_a_risk_is_rated_with_a_reason(clerk):
    customer = await registered(clerk)

    response = await clerk.put(
        f"{URL}/{customer['id']}/risk", json={"risk": "high", "reason": "politically exposed"}
    )

    rating = response.json()["rating"]
    assert (rating["risk"], rating["reason"], rating["rated_by"]) == (
        "high",
        "politically exposed",
        "asha.teller",
    )


async def test_standing_moves_by_its_verbs(clerk, facts):
    url = f"{URL}/{(await registered(clerk))['id']}"
    seen = []
    for verb in ("suspend", "reinstate", "suspend", "close"):
        seen.append(
            (await clerk.post(f"{url}/{verb}", json={"reason": "because"})).json()["status"]
        )

    assert seen == ["suspended", "active", "suspended", "closed"]
    assert code(await clerk.post(f"{url}/suspend", json={"reason": "x"})) == (
        409,
        "customer-is-closed",
    )
    assert [name for name, _ in await facts()][-1] == "customer-closed"


async def test_customers_are_listed_by_cursor_and_found(clerk):
    ids = sorted([(await registered(clerk, given_name=f"Asha{n}"))["id"] for n in range(3)])

    first = (await clerk.get(URL, params={"limit": 2})).json()
    rest = (await clerk.get(URL, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    found = (await clerk.get(URL, params={"name": "asha1"})).json()["items"]

    assert [each["id"] for each in first["items"] + rest["items"]] == ids
    assert rest["next_cursor"] is None
    assert [each["given_name"] for each in found] == ["Asha1"]


async def test_what_only_an_import_may_do(clerk, importer, facts):
    foreign = paper("foreign-client-number", "18", issuer="PKDD 1999")
    abroad = {"lines": ["district 18"], "city": "Brno", "country": "CZ"}
    old = body(documents=[foreign], address=abroad) | {"mobile": None}
    child = body(date_of_birth=(business_date(now()) - timedelta(days=400)).isoformat())

    assert code(await clerk.post(URL, json=old)) == (409, "unreachable")
    assert code(await clerk.post(URL, json=old | {"mobile": "+420777123456"})) == (
        403,
        "not-permitted",
    )
    assert code(await clerk.post(URL, json=child)) == (409, "not-of-age")
    assert [name for name, _ in await facts()] == ["permission-refused"]
    for asked in (old, child):
        assert (await importer.post(URL, json=asked)).status_code == 201


@pytest.mark.parametrize(
    ("wrong", "answer"),
    [
        ({"given_name": ""}, (400, "malformed")),
        ({"given_name": "x" * 101}, (400, "malformed")),
        ({"mobile": "98765"}, (400, "malformed")),
        ({"mobile": "+0123456789"}, (400, "malformed")),
        ({"mobile": "+91987654321९"}, (400, "malformed")),
        ({"extra": 1}, (400, "malformed")),
        ({"documents": [{"type": "library-card", "number": "1"}]}, (400, "malformed")),
        ({"given_name": "A\x00"}, (409, "not-a-line")),
        ({"date_of_birth": "2990-01-01"}, (409, "not-a-date-of-birth")),
        ({"email": "nobody"}, (409, "not-an-email")),
        ({"mobile": "+919876543210\n"}, (400, "malformed")),
        ({"address": {"lines": ["1"], "city": "Pune"}}, (409, "not-an-address")),
        ({"documents": [paper(number="ABCDE1234")]}, (409, "not-a-document-number")),
        ({"documents": [paper("aadhaar", "234123412347")]}, (409, "not-a-document-number")),
        ({"documents": [paper("passport", "M1234567")]}, (409, "expiry-unknown")),
        ({"documents": [paper(issuer="CZ")]}, (409, "not-an-issuer")),
    ],
)
async def test_what_is_wrong_is_refused_and_leaves_nothing(clerk, facts, wrong, answer):
    response = await clerk.post(URL, json=body(**wrong))

    assert code(response) == answer
    assert await facts() == []
    assert (await clerk.get(URL)).json()["items"] == []


@pytest.mark.parametrize("query", [{"name": "\x00"}, {"name": ""}, {"mobile": "\x00"}])
async def test_a_search_for_what_nobody_is_called_is_malformed(clerk, query):
    assert (await clerk.get(URL, params=query)).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "permission", "sent"),
    [
        ("GET", "", "customers.read", None),
        ("GET", "/{id}", "customers.read", None),
        ("POST", "", "customers.write", body()),
        ("PATCH", "/{id}", "customers.write", {}),
        ("POST", "/{id}/documents", "customers.write", paper()),
        ("POST", "/{id}/documents/{id}/verify", "customers.verify", None),
        ("POST", "/{id}/documents/{id}/reject", "customers.verify", {"reason": "x"}),
        ("PUT", "/{id}/risk", "customers.verify", {"risk": "low", "reason": "x"}),
        ("POST", "/{id}/suspend", "customers.write", {"reason": "x"}),
        ("POST", "/{id}/reinstate", "customers.verify", {"reason": "x"}),
        ("POST", "/{id}/close", "customers.verify", {"reason": "x"}),
    ],
)
async def test_each_route_needs_its_permission(served, method, path, permission, sent):
    others = {"customers.read", "customers.write", "customers.verify", "internal"} - {permission}
    url = URL + path.format(id=some_id())

    async with served.client("one", permission) as may, served.client("two", *others) as may_not:
        assert (await may.request(method, url, json=sent)).status_code in (200, 201, 404)
        assert code(await may_not.request(method, url, json=sent)) == (403, "not-permitted")
        no_token = await may.request(method, url, json=sent, headers={"Authorization": ""})
    assert code(no_token) == (401, "not-signed-in")
