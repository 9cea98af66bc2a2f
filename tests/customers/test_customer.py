from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbs.customers.domain.customer import (
    DOCUMENTS_MAX,
    Customer,
    NoSuchDocument,
    TooManyDocuments,
)
from cbs.customers.domain.document import DocumentState, DocumentType
from cbs.customers.domain.facts import KycStatusChanged
from cbs.customers.domain.kyc import Kyc, Risk, kyc_on, verified_until
from cbs.customers.domain.standing import (
    Act,
    CustomerIsClosed,
    CustomerNotActive,
    CustomerNotSuspended,
    CustomerStatus,
)
from cbs.kernel.refusal import NotPermitted, Refusal
from tests.customers.people import person, presented, some_id, voter

TODAY = date(2026, 11, 23)
AT = datetime(2026, 11, 23, 6, tzinfo=UTC)


def registered(*documents, importing=False) -> Customer:
    return Customer.register(
        id=some_id(),
        person=person(),
        documents=documents,
        importing=importing,
        at=AT,
        today=TODAY,
    )[0]


def passport(expires_on=TODAY + timedelta(days=10)):
    return presented(type=DocumentType.PASSPORT, number="M1234567", expires_on=expires_on)


def verified(*documents) -> Customer:
    customer = registered(*documents)
    for document in documents:
        customer, _ = customer.verify(document.id, by="b", at=AT, today=TODAY)
    return customer


def names(events) -> list[str]:
    return [event.fact for event in events]


def test_a_customer_comes_in_unknown_with_the_documents_they_bring():
    document = presented()

    customer, events = Customer.register(
        id=some_id(),
        person=person(),
        documents=[document],
        importing=False,
        at=AT,
        today=TODAY,
    )

    assert (customer.kyc, customer.status, customer.rating.risk) == ("pending", "active", "low")
    assert names(events) == ["customer-registered", "document-added"]


def test_one_verified_document_is_enough():
    document = presented()

    customer, events = registered(document, passport()).verify(
        document.id, by="officer", at=AT, today=TODAY
    )

    assert customer.kyc is Kyc.VERIFIED
    assert names(events) == ["document-verified", "kyc-status-changed"]


def test_who_has_only_rejected_documents_is_rejected_until_another_one_comes():
    document = presented()

    customer, _ = registered(document).reject(
        document.id, reason="forged", by="b", at=AT, today=TODAY
    )
    again, _ = customer.add(presented(), importing=False, today=TODAY)

    assert (customer.kyc, again.kyc) == (Kyc.REJECTED, Kyc.PENDING)


def test_a_verification_expires_with_the_last_good_document():
    customer = verified(passport())
    after = TODAY + timedelta(days=11)

    reviewed, events = customer.review(today=after)

    assert customer.kyc_on(after - timedelta(days=1)) is Kyc.VERIFIED
    assert customer.kyc_on(after) is Kyc.EXPIRED
    assert reviewed.kyc is Kyc.EXPIRED
    assert names(events) == ["kyc-status-changed"]
    assert reviewed.review(today=after) == (reviewed, [])


@pytest.mark.parametrize(
    ("changed", "kyc"),
    [
        ({"given_name": "Usha"}, Kyc.PENDING),
        ({"date_of_birth": date(1991, 4, 1)}, Kyc.PENDING),
        ({"email": None}, Kyc.VERIFIED),
    ],
)
def test_papers_vouch_for_a_name_and_a_birthday(changed, kyc):
    customer, _ = verified(presented()).amend(lambda known: replace(known, **changed), today=TODAY)

    assert customer.kyc is kyc


def test_amending_nothing_tells_nothing():
    customer = registered()

    assert customer.amend(lambda known: known, today=TODAY) == (customer, [])


def test_an_imported_customer_stays_one_when_amended():
    customer = Customer.register(
        id=some_id(), person=person(mobile=None), documents=[], importing=True, at=AT, today=TODAY
    )[0]

    amended, _ = customer.amend(lambda known: replace(known, email=None), today=TODAY)

    assert amended.person.mobile is None


def test_a_foreign_client_number_comes_with_an_import_only():
    document = presented(type=DocumentType.FOREIGN_CLIENT_NUMBER, number="18", issuer="PKDD")

    assert registered(document, importing=True).documents == (document,)
    with pytest.raises(NotPermitted):
        registered(document)


def test_documents_have_a_limit():
    customer = registered(*(voter() for _ in range(DOCUMENTS_MAX)))

    with pytest.raises(TooManyDocuments):
        customer.add(presented(), importing=False, today=TODAY)


def test_an_unknown_document_cannot_be_decided():
    with pytest.raises(NoSuchDocument):
        registered().verify(some_id(), by="b", at=AT, today=TODAY)


def test_a_rating_says_who_when_and_why():
    customer, events = registered().rate(Risk.HIGH, reason="politician", by="officer", at=AT)

    rating = customer.rating
    assert (rating.risk, rating.reason, rating.by, rating.at) == (
        Risk.HIGH,
        "politician",
        "officer",
        AT,
    )
    assert names(events) == ["risk-rated"]


def test_standing_moves_along_its_path_only():
    active = registered()
    suspended, _ = active.suspend(reason="court order")
    closed, _ = suspended.has_standing(CustomerStatus.CLOSED, reason="moved away")

    for leaving in (Act.REINSTATE, Act.CLOSE):
        with pytest.raises(CustomerNotSuspended):
            active.leave_suspension(leaving, reason="x")
    with pytest.raises(CustomerNotActive):
        suspended.suspend(reason="x")
    for act in (
        lambda: closed.suspend(reason="x"),
        lambda: closed.leave_suspension(Act.REINSTATE, reason="x"),
        lambda: closed.leave_suspension(Act.CLOSE, reason="x"),
        lambda: closed.found_distinct(reason="x", by="b", at=AT),
        lambda: closed.amend(lambda known: known, today=TODAY),
        lambda: closed.add(presented(), importing=False, today=TODAY),
        lambda: closed.rate(Risk.LOW, reason="x", by="b", at=AT),
    ):
        with pytest.raises(CustomerIsClosed):
            act()


@given(st.lists(st.tuples(st.sampled_from("avrd"), st.integers(0, 4), st.integers(0, 40))))
def test_what_listeners_were_told_is_what_follows_from_the_documents(steps):
    """Whatever happens in whatever order, the facts of KYC chain and end at the truth."""
    customer, day, told = registered(), TODAY, [Kyc.PENDING]
    for act, which, days in steps:
        try:
            # Before there is a document there is nothing else to do with one.
            if act == "a" or (act in "vr" and not customer.documents):
                good_until = None if which == 0 else day + timedelta(days=which)
                document = presented(
                    type=DocumentType.VOTER_ID, number="V1", expires_on=good_until, today=day
                )
                customer, events = customer.add(document, importing=False, today=day)
            elif act == "d":
                day += timedelta(days=days)
                customer, events = customer.review(today=day)
            else:
                id = customer.documents[which % len(customer.documents)].id
                customer, events = (
                    customer.verify(id, by="b", at=AT, today=day)
                    if act == "v"
                    else customer.reject(id, reason="x", by="b", at=AT, today=day)
                )
        except Refusal:
            continue
        for event in events:
            if isinstance(event, KycStatusChanged):
                assert event.before is told[-1] is not event.kyc
                told.append(event.kyc)
    assert told[-1] is customer.kyc is customer.kyc_on(day)
    good = any(
        each.state is DocumentState.VERIFIED and each.good_on(day) for each in customer.documents
    )
    assert (kyc_on(day, customer.documents) is Kyc.VERIFIED) == good
    assert good == (verified_until(customer.documents) >= day)
