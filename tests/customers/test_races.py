"""Whatever meets whatever, on real PostgreSQL, a document has one holder."""

import asyncio

from tests.customers.people import aadhaar, body, pan

URL = "/v1/customers"
CLERKS = 12


async def test_of_racing_registrations_with_one_pan_exactly_one_wins(clerk):
    asked = body(documents=[{"type": "pan", "number": pan()}])

    answers = await asyncio.gather(*(clerk.post(URL, json=asked) for _ in range(CLERKS)))

    assert sorted(each.status_code for each in answers) == [201] + [409] * (CLERKS - 1)
    noes = {each.json()["type"] for each in answers if each.status_code == 409}
    assert noes == {"urn:cbs:document-known"}
    assert len((await clerk.get(URL)).json()["items"]) == 1


async def test_two_documents_in_either_order_do_not_deadlock(clerk):
    for _ in range(5):
        papers = [{"type": "pan", "number": pan()}, {"type": "aadhaar", "number": aadhaar()}]
        orders = [papers, papers[::-1]] * 4

        answers = await asyncio.gather(
            *(clerk.post(URL, json=body(documents=each)) for each in orders)
        )

        assert sorted(each.status_code for each in answers) == [201] + [409] * 7


async def test_of_racing_decisions_exactly_one_is_made(clerk, facts):
    customer = await clerk.post(URL, json=body(documents=[{"type": "pan", "number": pan()}]))
    (document,) = customer.json()["documents"]
    url = f"{URL}/{customer.json()['id']}/documents/{document['id']}/verify"

    answers = await asyncio.gather(*(clerk.post(url) for _ in range(8)))

    assert sorted(each.status_code for each in answers) == [200] + [409] * 7
    assert [name for name, _ in await facts()].count("document-verified") == 1


async def test_racing_documents_of_one_customer_are_all_kept(clerk):
    customer = (await clerk.post(URL, json=body())).json()
    url = f"{URL}/{customer['id']}/documents"

    answers = await asyncio.gather(
        *(clerk.post(url, json={"type": "voter-id", "number": f"V{n}"}) for n in range(8))
    )

    assert {each.status_code for each in answers} == {201}
    assert len((await clerk.get(f"{URL}/{customer['id']}")).json()["documents"]) == 8
