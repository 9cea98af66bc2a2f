"""Without the ledger nothing is paid, and nothing is lost."""

import pytest

from tests.payments.bank import Bank, teller
from tests.serving import serving


@pytest.fixture
async def lonely(a_service, signer):
    """Payments, with the ledger stopped; each test starts it."""
    async with (
        serving(a_service("payments"), signer) as payments,
        teller(payments.service, signer) as tilda,
    ):
        yield Bank(payments, tilda)


async def test_without_the_ledger_a_payment_is_put_off_and_the_same_key_makes_it_once(
    lonely: Bank, a_service, signer
):
    async with serving(a_service("ledger"), signer):
        asha, ravi = await lonely.account(1_000), await lonely.account()

    put_off = await lonely.pay(asha, ravi, 400, key="try-until-it-works")
    told = await lonely.teller.get("/v1/payments/requests/try-until-it-works")

    assert (put_off.status_code, put_off.json()["type"]) == (503, "urn:cbs:unavailable")
    assert (told.status_code, told.json()["type"]) == (503, "urn:cbs:unavailable")
    assert put_off.headers["retry-after"] == "1"
    async with serving(a_service("ledger"), signer):
        answers = [await lonely.pay(asha, ravi, 400, key="try-until-it-works") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].content == answers[1].content
        assert await lonely.balances(asha, ravi) == [600, 400]


async def test_an_answer_that_was_lost_is_given_again(lonely: Bank, a_service, signer, monkeypatch):
    """The ledger commits, and its reply never arrives."""
    async with serving(a_service("ledger"), signer):
        asha, ravi = await lonely.account(1_000), await lonely.account()
        client = lonely.service.runtime.bus._client
        request, lost = client.request, list[bytes]()

        async def losing(subject, *rest, **named):
            reply = await request(subject, *rest, **named)
            if subject == "cbs.ledger.post" and not lost:
                lost.append(reply.data)
                raise TimeoutError
            return reply

        monkeypatch.setattr(client, "request", losing)

        answer = await lonely.pay(asha, ravi, 400, key="its-answer-is-lost")

        assert lost
        assert answer.status_code == 201
        assert await lonely.balances(asha, ravi) == [600, 400]
