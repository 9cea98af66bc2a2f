"""One set of promises, two stores: the fake is only trusted because it passes these too."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from cbs.customers.application.customers import DocumentKnown
from cbs.customers.domain.customer import Customer
from cbs.customers.domain.document import DocumentType
from cbs.customers.domain.kyc import Kyc, Risk
from cbs.customers.main import CustomersSettings, in_postgres
from cbs.customers.memory import in_memory
from cbs.customers.service import DECLARATION
from cbs.customers.store.vault import Vault
from tests.customers.people import aadhaar, pan, person, presented, some_id, voter
from tests.stores import BOTH, made_on, runtime_on, url_of

TODAY = date(2026, 11, 23)
AT = datetime(2026, 11, 23, 6, tzinfo=UTC)
FIRST = UUID(int=0)


@pytest.fixture(params=BOTH)
async def runtime(request, vault_key):
    url = url_of(request, "customers")
    async with runtime_on(DECLARATION, url, CustomersSettings, vault_key_file=vault_key) as runtime:
        yield runtime


@pytest.fixture
def store(runtime):
    return made_on(runtime, in_memory, in_postgres).customers


@pytest.fixture
def transaction(runtime):
    return runtime.database.transaction


@pytest.fixture
def keep(store, transaction):
    async def kept(*documents, **changed) -> Customer:
        customer, events = Customer.register(
            id=some_id(),
            person=person(**changed),
            documents=documents,
            importing=False,
            at=AT,
            today=TODAY,
        )
        async with transaction():
            await store.add(customer, events)
        return customer

    return kept


async def test_what_is_added_can_be_read_back(store, keep):
    papers = [voter() for _ in range(6)]
    customer = await keep(*papers, presented(type=DocumentType.AADHAAR, number=aadhaar()))

    assert await store.get(customer.id) == customer


async def test_an_unknown_customer_is_none(store, transaction):
    assert await store.get(some_id()) is None
    async with transaction():
        assert await store.change(some_id(), lambda known: known.review(today=TODAY)) is None


async def test_a_change_is_kept(store, transaction, keep):
    document = presented()
    customer = await keep(document, voter())

    async with transaction():
        await store.change(
            customer.id, lambda known: known.verify(document.id, by="b", at=AT, today=TODAY)
        )
        await store.change(
            customer.id, lambda known: known.rate(Risk.HIGH, reason="x", by="b", at=AT)
        )
        await store.change(customer.id, lambda known: known.suspend(reason="court"))
        changed = await store.change(
            customer.id,
            lambda known: known.add(voter(), importing=False, today=TODAY),
        )

    assert await store.get(customer.id) == changed
    assert (changed.kyc, changed.rating.risk, changed.status) == ("verified", "high", "suspended")
    assert len(changed.documents) == 3


async def test_an_amended_person_is_kept(store, transaction, keep):
    customer = await keep()

    async with transaction():
        await store.change(
            customer.id,
            lambda known: known.amend(
                lambda who: replace(who, family_name=None, email=None), today=TODAY
            ),
        )

    assert (await store.get(customer.id)).person == person(family_name=None, email=None)


async def test_the_same_document_is_refused_however_it_comes(store, transaction, keep):
    number = pan()
    await keep(presented(number=number))
    other = await keep()

    with pytest.raises(DocumentKnown):
        await keep(presented(number=f" {number.lower()}"))
    with pytest.raises(DocumentKnown):
        async with transaction():
            await store.change(
                other.id,
                lambda known: known.add(presented(number=number), importing=False, today=TODAY),
            )
    assert await store.get(other.id) == other
    assert len(await store.page(after=FIRST, limit=10, name=None, mobile=None, held=False)) == 2


async def test_the_same_document_twice_in_one_registration_is_refused(keep):
    number = pan()

    with pytest.raises(DocumentKnown):
        await keep(voter(number=number), voter(number=number.lower()))


async def test_the_same_number_from_another_issuer_or_of_another_type_is_another_document(keep):
    voter = {"type": DocumentType.VOTER_ID, "number": "AB1234567"}
    await keep(presented(**voter, issuer="GOA"))

    await keep(presented(**voter, issuer="PUNJAB"))
    await keep(presented(type=DocumentType.PASSPORT, number="AB1234567", expires_on=TODAY))


async def test_a_rejected_document_does_not_keep_its_true_holder_out(store, transaction, keep):
    number = pan()
    false = presented(number=number)
    thief = await keep(false)
    async with transaction():
        await store.change(
            thief.id,
            lambda known: known.reject(false.id, reason="not theirs", by="b", at=AT, today=TODAY),
        )

    await keep(presented(number=number))


async def test_pages_go_on_where_the_last_one_ended(store, keep):
    kept = [await keep() for _ in range(3)]
    in_order = sorted(each.id for each in kept)

    first = await store.page(after=FIRST, limit=2, name=None, mobile=None, held=False)
    rest = await store.page(after=first[-1].id, limit=2, name=None, mobile=None, held=False)

    assert [each.id for each in (*first, *rest)] == in_order


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("asha", 1),
        ("ASHA R", 1),
        ("rA", 3),
        ("ao", 0),
        ("100%", 1),
        ("1_0", 0),
        ("%", 0),
        ("a\\", 1),
    ],
)
async def test_names_and_family_names_are_found_by_how_they_begin(store, keep, name, found):
    await keep()
    await keep(given_name="100% Usha")
    await keep(given_name="A\\B")

    assert len(await store.page(after=FIRST, limit=9, name=name, mobile=None, held=False)) == found


async def test_who_is_alike_is_found_whatever_the_form_or_case(store, transaction, keep):
    first = await keep(given_name="Zoë", family_name="Straße")
    same = await keep(given_name="ZOE\u0308", family_name="STRASSE")
    for other in ({"date_of_birth": date(1990, 4, 2)}, {"mobile": "+420777123456"}):
        await keep(given_name="Zoë", family_name="Straße", **other)

    async with transaction():
        assert await store.alike(first) == [same.id]
        assert await store.alike(same) == [first.id]
        assert await store.alike(replace(first, person=person(mobile=None))) == []


async def test_who_waits_for_a_decision_is_listed(store, transaction, keep):
    alike, held = await keep(), await keep()
    async with transaction():
        await store.change(held.id, lambda known: known.held_for([alike.id]))

    async def listed() -> list[UUID]:
        found = await store.page(after=FIRST, limit=9, name=None, mobile=None, held=True)
        return [each.id for each in found]

    assert await listed() == [held.id]
    assert (await store.get(held.id)).likeness.customers == (alike.id,)
    async with transaction():
        changed = await store.change(
            held.id, lambda known: known.found_distinct(reason="twins", by="b", at=AT)
        )
    assert await listed() == []
    assert await store.get(held.id) == changed


@pytest.mark.parametrize(
    ("type", "kept", "again"),
    [
        (DocumentType.PASSPORT, "INDIA", "ind"),
        (DocumentType.DRIVING_LICENCE, "KARNATAKA", "IN"),
        (DocumentType.VOTER_ID, "GOA", "in-ga"),
    ],
)
async def test_a_document_that_an_older_release_kept_is_known(
    database, vault_key, type, kept, again
):
    """As that release spelt it: the issuer in capitals, whatever it was."""
    url = database("customers").runtime_url
    async with runtime_on(DECLARATION, url, CustomersSettings, vault_key_file=vault_key) as runtime:
        store = in_postgres(runtime).customers
        vault = Vault(vault_key)
        paper = presented(type=type, number="M1234567", issuer=again, expires_on=TODAY)
        holder, other = (
            Customer.register(
                id=some_id(),
                person=person(),
                documents=(),
                importing=False,
                at=AT,
                today=TODAY,
            )[0]
            for _ in range(2)
        )
        async with runtime.database.transaction():
            await store.add(holder, [])
        await runtime.postgres.execute(
            OF_BEFORE,
            some_id(),
            holder.id,
            type.value,
            kept,
            vault.seal(paper.number, document_id=paper.id),
            vault.index((type, kept, paper.number)),
            AT,
        )

        with pytest.raises(DocumentKnown):
            async with runtime.database.transaction():
                await store.add(replace(other, documents=(paper,)), [])


OF_BEFORE = """
    INSERT INTO document (id, customer, place, type, issuer, sealed, number_index, added_by,
        added_at, state)
    VALUES ($1, $2, 0, $3, $4, $5, $6, 'asha', $7, 'pending')"""


async def test_a_mobile_number_finds_its_customers(store, keep):
    customer = await keep(mobile="+420777123456")
    await keep()

    assert await store.page(
        after=FIRST, limit=9, name=None, mobile="+420777123456", held=False
    ) == [customer]


async def test_who_was_verified_lapses_when_no_document_is_good_any_more(store, transaction, keep):
    passport = presented(type=DocumentType.PASSPORT, number="M1", expires_on=TODAY)
    forever = presented()
    lapses, stays = await keep(passport), await keep(forever)
    async with transaction():
        for customer, document in ((lapses, passport), (stays, forever)):
            await store.change(
                customer.id,
                lambda known, id=document.id: known.verify(id, by="b", at=AT, today=TODAY),
            )
    tomorrow = TODAY + timedelta(days=1)

    assert await store.lapsed(today=TODAY, limit=9) == []
    assert await store.lapsed(today=tomorrow, limit=9) == [lapses.id]
    async with transaction():
        await store.change(lapses.id, lambda known: known.review(today=tomorrow))
    assert await store.lapsed(today=tomorrow, limit=9) == []
    assert (await store.get(lapses.id)).kyc is Kyc.EXPIRED


async def test_the_first_proof_of_the_key_stays(store):
    assert await store.first_proof(b"first") == b"first"
    assert await store.first_proof(b"second") == b"first"


async def test_facts_leave_with_the_customer_they_are_about(store, runtime, keep):
    document = presented()
    await keep(document)
    with pytest.raises(DocumentKnown):
        await keep(presented(number=document.number.whole))

    told = [subject.rsplit(".")[-1] for _, subject, _ in await runtime.outbox.after(0, limit=9)]
    told = [name for name in told if name != "customer-recorded"]
    assert told == ["customer-registered", "document-added"]
