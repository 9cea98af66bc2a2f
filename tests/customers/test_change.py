"""What each change makes of a customer, and what listeners learn of it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from cbs.customers.domain import customer as customers
from cbs.customers.domain import document as documents
from cbs.customers.domain import facts, issuer, standing
from cbs.customers.domain import person as persons
from cbs.customers.domain.customer import (
    ALIKE_MAX,
    IMPORT,
    Customer,
    CustomerIsHeld,
    CustomerNotHeld,
    Likeness,
    NoSuchDocument,
    Rating,
    SecondOfItsKind,
    TooManyDocuments,
)
from cbs.customers.domain.document import (
    DocumentDecided,
    DocumentExpired,
    DocumentState,
    DocumentType,
)
from cbs.customers.domain.kyc import Kyc, Risk, verified_until
from cbs.customers.domain.person import NotALine
from cbs.customers.domain.standing import Act, CustomerIsClosed, CustomerStatus, StandingUnderWay
from cbs.kernel.refusal import NotPermitted
from tests import published
from tests.customers.people import aadhaar, pan, person, presented

ID = UUID(int=1)
TODAY, AT = date(2026, 11, 23), datetime(2026, 11, 23, 6, tzinfo=UTC)
FIRST, SECOND = presented(), presented(type=DocumentType.VOTER_ID, number="V1")
KNOWN = Customer(
    id=ID, person=person(), imported=False, registered_at=AT, documents=(FIRST, SECOND)
)
VERIFIED = replace(FIRST, state=DocumentState.VERIFIED, decided_by="officer", decided_at=AT)
REASON_MAX = "x" * 200


def now_verified(before: Kyc = Kyc.PENDING) -> facts.KycStatusChanged:
    return facts.KycStatusChanged(customer_id=ID, before=before, kyc=Kyc.VERIFIED)


def test_a_customer_is_registered_with_their_documents():
    customer, told = Customer.register(
        id=ID,
        person=person(given_name=" Asha "),
        documents=[FIRST, SECOND],
        importing=False,
        at=AT,
        today=TODAY,
    )

    assert customer == KNOWN
    assert (customer.kyc, customer.rating, customer.status, customer.status_reason) == (
        Kyc.PENDING,
        Rating(risk=Risk.LOW, reason=None, by=None, at=None),
        CustomerStatus.ACTIVE,
        None,
    )
    assert told == [
        facts.CustomerRegistered(customer_id=ID, imported=False),
        facts.DocumentAdded(customer_id=ID, document_id=FIRST.id, type=DocumentType.PAN),
        facts.DocumentAdded(customer_id=ID, document_id=SECOND.id, type=DocumentType.VOTER_ID),
    ]


def test_an_import_is_told_as_one():
    customer, told = Customer.register(
        id=ID, person=person(mobile=None), documents=[], importing=True, at=AT, today=TODAY
    )

    assert (customer.imported, customer.documents) == (True, ())
    assert told == [facts.CustomerRegistered(customer_id=ID, imported=True)]


def test_of_two_documents_the_one_that_is_meant_is_verified_and_the_other_stays():
    customer, told = KNOWN.verify(SECOND.id, by="officer", at=AT, today=TODAY)

    assert customer == replace(
        KNOWN,
        documents=(
            FIRST,
            replace(SECOND, state=DocumentState.VERIFIED, decided_by="officer", decided_at=AT),
        ),
        kyc=Kyc.VERIFIED,
    )
    verified = facts.DocumentVerified(customer_id=ID, document_id=SECOND.id)
    assert told == [verified, now_verified()]


def test_a_rejection_says_why_and_by_whom():
    customer, told = KNOWN.reject(
        SECOND.id, reason=f" {REASON_MAX} ", by="officer", at=AT, today=TODAY
    )

    assert customer.documents == (
        FIRST,
        replace(
            SECOND,
            state=DocumentState.REJECTED,
            decided_by="officer",
            decided_at=AT,
            reason=REASON_MAX,
        ),
    )
    assert told == [facts.DocumentRejected(customer_id=ID, document_id=SECOND.id)]


def test_a_new_name_opens_what_was_verified_and_nothing_else():
    rejected = replace(SECOND, state=DocumentState.REJECTED, decided_by="officer", decided_at=AT)
    pending = presented()
    known = replace(KNOWN, documents=(VERIFIED, rejected, pending), kyc=Kyc.VERIFIED)

    amended, told = known.amend(lambda each: replace(each, given_name="Usha"), today=TODAY)

    assert amended == replace(
        known,
        person=person(given_name="Usha"),
        documents=(FIRST, rejected, pending),
        kyc=Kyc.PENDING,
    )
    assert told == [
        facts.CustomerAmended(customer_id=ID, fields=("given_name",)),
        facts.KycStatusChanged(customer_id=ID, before=Kyc.VERIFIED, kyc=Kyc.PENDING),
    ]


def test_a_rating_tells_the_risk_before_and_the_new_one():
    rated, told = KNOWN.rate(Risk.HIGH, reason=f" {REASON_MAX} ", by="officer", at=AT)

    rating = Rating(risk=Risk.HIGH, reason=REASON_MAX, by="officer", at=AT)
    assert rated == replace(KNOWN, rating=rating)
    assert told == [facts.RiskRated(customer_id=ID, before=Risk.LOW, risk=Risk.HIGH)]


def test_a_standing_has_its_reason_and_is_told():
    suspending, told = KNOWN.suspend(reason=f" {REASON_MAX} ")
    assert suspending == replace(
        KNOWN,
        status=CustomerStatus.SUSPENDED,
        status_reason=REASON_MAX,
        standing_version=1,
        standing_under_way=True,
    )
    assert told == [facts.CustomerSuspended(customer_id=ID)]
    suspended, told = suspending.has_standing(CustomerStatus.SUSPENDED, reason=REASON_MAX)
    assert suspended == replace(suspending, standing_under_way=False)
    assert told == []

    leaving, told = suspended.leave_suspension(Act.REINSTATE, reason="lifted")
    assert leaving == replace(suspended, standing_version=2, standing_under_way=True)
    assert told == []
    assert leaving.keeps_standing() == (replace(suspended, standing_version=2), [])
    reinstated, told = leaving.has_standing(CustomerStatus.ACTIVE, reason="lifted")
    assert reinstated == replace(KNOWN, status_reason="lifted", standing_version=2)
    assert told == [facts.CustomerReinstated(customer_id=ID)]

    closed, told = leaving.has_standing(CustomerStatus.CLOSED, reason="moved away")
    assert closed == replace(reinstated, status=CustomerStatus.CLOSED, status_reason="moved away")
    assert told == [facts.CustomerClosed(customer_id=ID)]


def test_a_standing_is_changed_no_further_while_accounts_have_not_answered():
    suspending, _ = KNOWN.suspend(reason="court order")

    for act in (Act.REINSTATE, Act.CLOSE):
        with pytest.raises(StandingUnderWay):
            suspending.leave_suspension(act, reason="x")


OTHERS = (UUID(int=2), UUID(int=3))


def test_who_is_like_others_is_held_until_an_officer_decides():
    assert KNOWN.held_for(()) == (KNOWN, [])
    held, told = KNOWN.held_for(OTHERS)
    assert held == replace(KNOWN, likeness=Likeness(customers=OTHERS))
    assert told == [facts.CustomerHeld(customer_id=ID, alike=OTHERS)]
    with pytest.raises(CustomerIsHeld):
        held.verify(FIRST.id, by="officer", at=AT, today=TODAY)

    decided, told = held.found_distinct(reason=" twins ", by="officer", at=AT)
    assert decided.likeness == Likeness(customers=OTHERS, reason="twins", by="officer", at=AT)
    assert told == [facts.CustomerFoundDistinct(customer_id=ID, alike=OTHERS)]
    assert decided.verify(FIRST.id, by="officer", at=AT, today=TODAY)[0].kyc is Kyc.VERIFIED
    for nobody in (KNOWN, decided):
        with pytest.raises(CustomerNotHeld):
            nobody.found_distinct(reason="x", by="officer", at=AT)


def test_only_a_decision_ends_a_hold_and_somebody_new_begins_another():
    held, _ = KNOWN.held_for(OTHERS[:1])
    assert held.held_for(()) == held.held_for(OTHERS[:1]) == (held, [])
    both, told = held.held_for(OTHERS[1:])
    assert both.likeness.customers == OTHERS
    assert told == [facts.CustomerHeld(customer_id=ID, alike=OTHERS)]

    decided, _ = both.found_distinct(reason="twins", by="officer", at=AT)
    again, _ = decided.held_for([UUID(int=4)])
    assert again.likeness == Likeness(customers=(UUID(int=4),))
    many = [UUID(int=100 + n) for n in range(ALIKE_MAX + 1)]
    assert len(KNOWN.held_for(many)[0].likeness.customers) == ALIKE_MAX


@pytest.mark.parametrize("type", [DocumentType.PAN, DocumentType.AADHAAR])
def test_a_person_has_one_pan_and_one_aadhaar(type):
    number = {DocumentType.PAN: pan, DocumentType.AADHAAR: aadhaar}[type]
    first, second = (presented(type=type, number=number()) for _ in range(2))
    one, _ = replace(KNOWN, documents=()).add(first, importing=False, today=TODAY)

    with pytest.raises(SecondOfItsKind):
        one.add(second, importing=True, today=TODAY)
    rejected, _ = one.reject(first.id, reason="misprinted", by="officer", at=AT, today=TODAY)
    assert len(rejected.add(second, importing=False, today=TODAY)[0].documents) == 2


CLOSED = replace(KNOWN, status=CustomerStatus.CLOSED)
SUSPENDED = replace(KNOWN, status=CustomerStatus.SUSPENDED)
# Whoever is suspended may be decided about, too.
HELD = replace(SUSPENDED, likeness=Likeness(customers=OTHERS))
FOREIGN = presented(type=DocumentType.FOREIGN_CLIENT_NUMBER, number="18", issuer="PKDD")


@pytest.mark.parametrize(
    "act",
    [
        lambda each: each.add(FOREIGN, importing=False, today=TODAY),
        lambda each: each.verify(ID, by="b", at=AT, today=TODAY),
        lambda each: each.reject(ID, reason="x", by="b", at=AT, today=TODAY),
    ],
)
def test_of_a_closed_customer_nothing_else_is_looked_at(act: Callable[[Customer], Any]):
    with pytest.raises(CustomerIsClosed):
        act(CLOSED)


def test_a_permission_is_asked_for_before_documents_are_counted():
    full = replace(KNOWN, documents=(FIRST,) * 20)

    with pytest.raises(NotPermitted, match=r"customers\.import"):
        full.add(FOREIGN, importing=False, today=TODAY)
    with pytest.raises(TooManyDocuments):
        full.add(FOREIGN, importing=True, today=TODAY)
    nearly = replace(KNOWN, documents=(FIRST,) * 19)
    assert len(nearly.add(FOREIGN, importing=True, today=TODAY)[0].documents) == 20


def test_a_document_of_somebody_else_is_none_of_theirs():
    with pytest.raises(NoSuchDocument):
        KNOWN.reject(ID, reason="x", by="b", at=AT, today=TODAY)


@pytest.mark.parametrize(
    "act",
    [
        lambda reason: KNOWN.rate(Risk.HIGH, reason=reason, by="b", at=AT),
        lambda reason: KNOWN.suspend(reason=reason),
        lambda reason: SUSPENDED.leave_suspension(Act.CLOSE, reason=reason),
        lambda reason: HELD.found_distinct(reason=reason, by="b", at=AT),
        lambda reason: KNOWN.reject(FIRST.id, reason=reason, by="b", at=AT, today=TODAY),
    ],
)
def test_a_reason_has_at_most_200_characters(act: Callable[[str], Any]):
    act(REASON_MAX)
    with pytest.raises(NotALine):
        act(REASON_MAX + "x")


def test_a_document_that_was_decided_is_said_to_be_before_it_is_said_to_have_expired():
    passport = presented(type=DocumentType.PASSPORT, number="M1", expires_on=TODAY)
    verified = passport.verify(by="b", at=AT, today=TODAY)
    tomorrow = TODAY + timedelta(days=1)

    with pytest.raises(DocumentDecided):
        verified.verify(by="b", at=AT, today=tomorrow)
    with pytest.raises(DocumentExpired):
        passport.verify(by="b", at=AT, today=tomorrow)


def test_a_customer_is_known_until_the_last_verified_document_expires():
    tomorrow = TODAY + timedelta(days=1)
    first, last, pending = (
        presented(type=DocumentType.PASSPORT, number=number, expires_on=day)
        for number, day in (("M1", TODAY), ("M2", tomorrow), ("M3", date(2030, 1, 1)))
    )
    verified = [each.verify(by="b", at=AT, today=TODAY) for each in (first, last)]

    assert verified_until([*verified, pending]) == tomorrow
    assert verified_until([*verified, VERIFIED]) == date.max
    assert verified_until([pending]) == date.min


def test_names_that_are_kept_or_published_do_not_change():
    assert IMPORT == "customers.import"
    assert [*CustomerStatus] == ["active", "suspended", "closed"]
    assert [*Kyc] == ["pending", "verified", "rejected", "expired"]
    assert [*Risk] == ["low", "medium", "high"]
    assert [*DocumentState] == ["pending", "verified", "rejected"]
    assert [*DocumentType] == [
        "pan",
        "aadhaar",
        "passport",
        "voter-id",
        "driving-licence",
        "foreign-client-number",
    ]
    assert published.facts(facts) == dict.fromkeys(
        [
            "customer-registered",
            "customer-amended",
            "customer-held",
            "customer-found-distinct",
            "document-added",
            "document-verified",
            "document-rejected",
            "kyc-status-changed",
            "risk-rated",
            "customer-suspended",
            "customer-reinstated",
            "customer-closed",
            "customer-recorded",
        ],
        "customer_id",
    )
    assert {each.fact for each in facts.FACTS} == published.facts(facts).keys()
    assert published.refusals(customers, documents, issuer, persons, standing) == {
        "no-such-customer": "not-found",
        "no-such-document": "not-found",
        "standing-under-way": "unavailable",
        **dict.fromkeys(
            [
                "too-many-documents",
                "second-of-its-kind",
                "customer-is-held",
                "customer-not-held",
                "customer-has-accounts",
                "customer-is-closed",
                "customer-not-active",
                "customer-not-suspended",
                "not-a-document-number",
                "not-an-issuer",
                "expiry-unknown",
                "document-expired",
                "document-decided",
                "not-a-line",
                "not-an-email",
                "not-a-mobile",
                "not-an-address",
                "not-a-date-of-birth",
                "unreachable",
                "not-of-age",
            ],
            "conflict",
        ),
    }
