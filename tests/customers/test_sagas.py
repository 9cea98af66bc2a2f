"""A customer's standing changes when accounts follow, and is as before when they say no."""

from pathlib import Path

from cbs.customers.application.sagas import StandingSteps
from cbs.kernel.saga import mermaid
from tests.customers.conftest import HAVE_ACCOUNTS
from tests.customers.people import body

URL, REASON = "/v1/customers", {"reason": "court order"}


async def test_each_standing_is_told_under_its_version(clerk, accounts):
    customer = (await clerk.post(URL, json=body())).json()
    for verb in ("suspend", "reinstate", "suspend", "close"):
        answer = await clerk.post(f"{URL}/{customer['id']}/{verb}", json=REASON)
        assert answer.status_code == 200, answer.text

    assert [(each.version, each.standing) for each in accounts.told] == [
        (1, "suspended"),
        (2, "active"),
        (3, "suspended"),
        (4, "closed"),
    ]


async def test_who_has_an_account_stays_as_they_are(clerk, accounts):
    customer = (await clerk.post(URL, json=body())).json()
    url = f"{URL}/{customer['id']}"
    await clerk.post(f"{url}/suspend", json=REASON)
    HAVE_ACCOUNTS.add(accounts.told[-1].customer_id)

    refused = await clerk.post(f"{url}/close", json=REASON)
    reinstated = await clerk.post(f"{url}/reinstate", json=REASON)

    assert (refused.status_code, refused.json()["type"]) == (409, "urn:cbs:customer-has-accounts")
    assert (reinstated.status_code, reinstated.json()["status"]) == (200, "active")


def test_each_saga_is_drawn_in_the_docs():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "sagas.md").read_text()
    nothing: object = None
    steps = StandingSteps(store=nothing, accounts=nothing, view=nothing)  # type: ignore[arg-type]
    for kind, definition in steps.definitions().items():
        drawing = mermaid(definition)
        assert drawing in page, f"docs/reference/sagas.md lacks the saga of {kind}:\n{drawing}"
