from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbs.customers.domain.document import (
    Document,
    DocumentDecided,
    DocumentExpired,
    DocumentState,
    DocumentType,
    ExpiryUnknown,
    NotADocumentNumber,
    Number,
    issuer_of,
    number_of,
)
from cbs.customers.domain.issuer import STATES, NotAnIssuer, spellings
from tests.customers.people import aadhaar, presented

TODAY = date(2026, 11, 23)
AT = datetime(2026, 11, 23, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("type", "typed", "kept"),
    [
        ("pan", " acupa 7085r", "ACUPA7085R"),
        ("aadhaar", "2341 2341 2346", "234123412346"),
        ("passport", "m-1234567", "M1234567"),
        ("driving-licence", "MH12 20110012345", "MH1220110012345"),
        ("voter-id", "AP/12/123/123456", "AP12123123456"),
        ("foreign-client-number", "7", "7"),
        ("passport", "x" * 32, "X" * 32),
    ],
)
def test_a_number_has_one_form_however_it_is_typed(type, typed, kept):
    assert number_of(DocumentType(type), typed).whole == kept


@pytest.mark.parametrize(
    ("type", "typed"),
    [
        ("pan", "ACUPA7085"),
        ("pan", "ACUXA7085R"),
        ("pan", "ACUCA7085R"),
        ("pan", "ACUPA0000R"),
        ("pan", "ACUPA\u096d\u0966\u096e\u096bR"),
        ("aadhaar", "234123412347"),
        ("aadhaar", "123412341234"),
        ("aadhaar", "٢٣٤١٢٣٤١٢٣٤٦"),
        ("passport", ""),
        ("passport", "M123\x00456"),
        ("voter-id", "x" * 33),
        ("driving-licence", "MH१२"),
    ],
)
def test_what_nobody_issues_is_refused_and_not_repeated(type, typed):
    with pytest.raises(NotADocumentNumber) as refused:
        number_of(DocumentType(type), typed)

    assert not typed or typed not in refused.value.detail


@given(st.text("0123456789", min_size=1, max_size=32))
def test_a_number_shows_itself_masked(whole):
    number = Number(whole)

    for shown in (str(number), repr(number), f"{number}", number.masked):
        assert whole not in shown
    shown = number.masked.lstrip("X")
    assert len(number.masked) == len(whole)
    assert whole.endswith(shown) and len(shown) == min(4, len(whole) // 2)


def test_a_document_shows_its_number_masked():
    number = aadhaar()

    assert number not in repr(presented(type=DocumentType.AADHAAR, number=number))


@pytest.mark.parametrize(
    ("type", "issuer", "kept"),
    [
        ("pan", " in ", "IN"),
        ("aadhaar", "IN", "IN"),
        ("pan", "India", "IN"),
        ("passport", "ind", "IN"),
        ("passport", " Czechia ", "CZ"),
        ("passport", "DEU", "DE"),
        ("voter-id", "IN", "IN"),
        ("voter-id", "goa", "IN-GA"),
        ("voter-id", "in ga", "IN-GA"),
        ("voter-id", "IN-GA", "IN-GA"),
        ("voter-id", "GA", "GA"),
        ("driving-licence", "Tamil  Nadu", "IN-TN"),
        ("driving-licence", "tamil-nadu", "IN-TN"),
        ("driving-licence", "GBR", "GB"),
        ("foreign-client-number", "pkdd-1999", "PKDD 1999"),
        ("foreign-client-number", "x" * 40, "X" * 40),
        ("foreign-client-number", "R2", "R2"),
    ],
)
def test_an_issuer_has_one_form_however_it_is_typed(type, issuer, kept):
    assert issuer_of(DocumentType(type), issuer) == kept


def test_a_document_is_presented_with_what_is_written_on_it():
    presented_at: dict[str, Any] = {"id": UUID(int=1), "by": "asha", "at": AT, "today": TODAY}

    document = Document.present(
        type=DocumentType.VOTER_ID, issuer="goa", number="v 1", expires_on=TODAY, **presented_at
    )

    assert document == Document(
        id=UUID(int=1),
        type=DocumentType.VOTER_ID,
        issuer="IN-GA",
        number=Number("V1"),
        expires_on=TODAY,
        added_by="asha",
        added_at=AT,
        state=DocumentState.PENDING,
        decided_by=None,
        decided_at=None,
        reason=None,
    )


@pytest.mark.parametrize(
    ("type", "issuer"),
    [
        ("pan", "CZ"),
        ("aadhaar", "CZ"),
        ("voter-id", ""),
        ("voter-id", "KA"),
        ("voter-id", "IN-XX"),
        ("voter-id", "US-GA"),
        ("foreign-client-number", "PKDD/1999"),
        ("driving-licence", "356"),
        ("passport", "UK"),
        ("passport", "ZZ"),
        ("passport", "XX"),
        ("passport", "Goa"),
        ("passport", "356"),
        ("foreign-client-number", ""),
        ("foreign-client-number", "X"),
        ("foreign-client-number", "-X"),
        ("foreign-client-number", "x" * 41),
        ("foreign-client-number", "a\x00b"),
    ],
)
def test_an_issuer_is_a_country_a_state_of_india_or_a_bank(type, issuer):
    with pytest.raises(NotAnIssuer):
        issuer_of(DocumentType(type), issuer)


@pytest.mark.parametrize("type", [DocumentType.PASSPORT, DocumentType.DRIVING_LICENCE])
def test_what_expires_says_when(type):
    with pytest.raises(ExpiryUnknown):
        presented(type=type, number="M1234567")


def test_a_document_is_good_on_its_last_day():
    passport = presented(type=DocumentType.PASSPORT, number="M1234567", expires_on=TODAY)

    assert passport.verify(by="b", at=AT, today=TODAY).state is DocumentState.VERIFIED
    with pytest.raises(DocumentExpired):
        passport.verify(by="b", at=AT, today=date(2026, 11, 24))
    with pytest.raises(DocumentExpired):
        presented(type=DocumentType.PASSPORT, number="M1", expires_on=date(2026, 11, 22))


def test_a_decision_says_who_and_when():
    verified = presented().verify(by="officer", at=AT, today=TODAY)

    assert (verified.decided_by, verified.decided_at) == ("officer", AT)


def test_a_rejected_document_stays_rejected():
    rejected = presented().reject(reason="photo differs", by="officer", at=AT)

    with pytest.raises(DocumentDecided):
        rejected.verify(by="officer", at=AT, today=TODAY)
    with pytest.raises(DocumentDecided):
        rejected.reject(reason="again", by="officer", at=AT)


def test_a_verified_document_may_turn_out_false_but_is_not_verified_twice():
    verified = presented().verify(by="officer", at=AT, today=TODAY)

    with pytest.raises(DocumentDecided):
        verified.verify(by="officer", at=AT, today=TODAY)
    assert verified.reject(reason="forged", by="b", at=AT).state is DocumentState.REJECTED


def test_one_licence_is_one_document_whichever_state_of_india_is_named():
    licence = {"type": DocumentType.DRIVING_LICENCE, "number": "KA01 20110012345"}
    named = [
        presented(**licence, issuer=issuer, expires_on=TODAY) for issuer in ("IN", "Goa", "IN-KA")
    ]
    voter = [
        presented(type=DocumentType.VOTER_ID, number="GDN0225185", issuer=issuer)
        for issuer in ("IN", "Goa", "IN-KA")
    ]

    assert len({each.name for each in named}) == 1
    assert len({each.name for each in voter}) == 3


@pytest.mark.parametrize(
    ("issuer", "with_states", "some"),
    [
        ("IN", False, {"IN", "IND", "INDIA"}),
        ("IN", True, {"INDIA", "KARNATAKA", "KA", "IN-KA"}),
        ("IN-GA", False, {"IN-GA", "GA", "GOA"}),
        ("IN-GA", True, {"IN", "INDIA", "GOA"}),
        ("CZ", True, {"CZ", "CZE", "CZECHIA"}),
        ("PKDD 1999", False, {"PKDD 1999"}),
    ],
)
def test_what_an_older_release_may_have_kept_is_looked_for(issuer, with_states, some):
    assert some <= set(spellings(issuer, with_states=with_states))
    assert ("KARNATAKA" in spellings(issuer, with_states=with_states)) == (
        (issuer, with_states) == ("IN", True)
    )


# ISO 3166-2:IN as of 2023-11-23.
OF_INDIA = """
    AN Andaman And Nicobar Islands; AP Andhra Pradesh; AR Arunachal Pradesh; AS Assam; BR
    Bihar; CG Chhattisgarh; CH Chandigarh; DH Dadra And Nagar Haveli And Daman And Diu; DL
    Delhi; GA Goa; GJ Gujarat; HP Himachal Pradesh; HR Haryana; JH Jharkhand; JK Jammu And
    Kashmir; KA Karnataka; KL Kerala; LA Ladakh; LD Lakshadweep; MH Maharashtra; ML
    Meghalaya; MN Manipur; MP Madhya Pradesh; MZ Mizoram; NL Nagaland; OD Odisha; PB Punjab;
    PY Puducherry; RJ Rajasthan; SK Sikkim; TN Tamil Nadu; TR Tripura; TS Telangana; UK
    Uttarakhand; UP Uttar Pradesh; WB West Bengal
"""


def test_the_states_are_those_of_iso_3166_2():
    listed = " ".join(OF_INDIA.split()).split("; ")

    assert {code: name.upper() for code, name in (each.split(" ", 1) for each in listed)} == STATES


def test_what_is_not_india_has_no_states_here():
    assert spellings("US", with_states=True) == ["US", "USA", *spellings("US")[2:]]
    assert "GOA" not in spellings("US", with_states=True)
    assert spellings("IN-GA") == ["GA", "IN-GA", "GOA"]
    assert "INDIA" in spellings("IN-GA", with_states=True)
    assert {"UNITED STATES OF AMERICA"} < set(spellings("US"))
    assert spellings("PKDD", with_states=True) == ["PKDD"]
