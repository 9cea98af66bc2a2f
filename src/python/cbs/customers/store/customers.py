from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import msgspec
from piccolo.columns import Column

from cbs.customers.application.customers import Change, DocumentKnown
from cbs.customers.domain.customer import ALIKE_MAX, Customer, Likeness, Rating
from cbs.customers.domain.document import Document, DocumentState, DocumentType
from cbs.customers.domain.facts import CustomerRecorded
from cbs.customers.domain.kyc import Kyc, Risk, verified_until
from cbs.customers.domain.person import Address, Person
from cbs.customers.domain.standing import CustomerStatus
from cbs.customers.store.vault import Vault
from cbs.customers.tables import CustomerRow, DocumentRow
from cbs.kernel.event import Event
from cbs.kernel.text import searchable
from cbs.platform.context import SOURCES
from cbs.platform.database import Database
from cbs.platform.outbox import Outbox
from cbs.platform.recorded import SALT_BYTES, digest_of_rows

# A document that races with itself waits here for the other's commit, and then is not put in.
PUT_DOCUMENT = """
    INSERT INTO document (id, customer, place, type, issuer, sealed, number_index, expires_on,
        added_by, added_at, state)
    SELECT $1::uuid, $2::uuid, $3::smallint, $4, $5, $6::bytea, $7::bytea, $8::date, $9,
        $10::timestamptz, $11
    WHERE NOT EXISTS (
        SELECT FROM document WHERE number_index = ANY($12::bytea[]) AND state <> 'rejected')
    ON CONFLICT DO NOTHING RETURNING true"""

ONE_OF_A_LIKENESS = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
ALIKE = """
    SELECT id FROM customer
    WHERE search_name = ANY($1::text[]) AND date_of_birth = $2 AND mobile = $3
        AND id <> $4
    ORDER BY id LIMIT $5"""

ROW = "SELECT * FROM customer WHERE id = $1"
DOCUMENTS = "SELECT * FROM document WHERE customer = $1 ORDER BY place, id"
KEEP_PROOF = "INSERT INTO vault (proof) VALUES ($1) ON CONFLICT DO NOTHING"
PROOF = "SELECT proof FROM vault"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresCustomers:
    database: Database
    outbox: Outbox
    vault: Vault

    async def add(self, customer: Customer, events: Sequence[Event]) -> None:
        await CustomerRow.insert(_to_row(customer))
        await self._put_documents(customer, known=())
        await self.outbox.put(*events, await self._recorded(customer.id))

    async def get(self, customer_id: UUID) -> Customer | None:
        row = await CustomerRow.objects().get(CustomerRow.id == customer_id)
        return (await self._whole([row]))[0] if row else None

    async def change(self, customer_id: UUID, change: Change) -> Customer | None:
        row = await CustomerRow.objects().lock_rows("UPDATE").get(CustomerRow.id == customer_id)
        if row is None:
            return None
        known = (await self._whole([row]))[0]
        changed, events = change(known)
        if changed != known:
            row_now = _to_row(changed).to_dict()
            values: dict[Column | str, Any] = {k: v for k, v in row_now.items() if k != "id"}
            await CustomerRow.update(values).where(CustomerRow.id == customer_id)
            await self._put_documents(changed, known=known.documents)
            events = [*events, await self._recorded(customer_id)]
        await self.outbox.put(*events)
        return changed

    async def unrecorded(self, *, after: UUID, limit: int) -> list[UUID]:
        rows = await (
            CustomerRow.select(CustomerRow.id)
            .where(CustomerRow.id > after, CustomerRow.salt.is_null())
            .order_by(CustomerRow.id)
            .limit(limit)
        )
        return [row["id"] for row in rows]

    async def record(self, customer_id: UUID) -> None:
        unsalted = (CustomerRow.id == customer_id) & CustomerRow.salt.is_null()
        family_names = CustomerRow.select(CustomerRow.family_name).lock_rows("UPDATE")
        for row in await family_names.where(unsalted):
            family = row["family_name"] and searchable(row["family_name"])
            kept: dict[Column | str, Any] = {"salt": new_salt(), "search_family": family}
            await CustomerRow.update(kept).where(unsalted)
            await self.outbox.put(await self._recorded(customer_id))

    async def _recorded(self, customer_id: UUID) -> CustomerRecorded:
        """Read again: what is told is what is kept."""
        connection = self.database.connection
        rows = [*await connection.fetch(ROW, customer_id)]
        rows += await connection.fetch(DOCUMENTS, customer_id)
        return CustomerRecorded(customer_id=customer_id, digest=digest_of_rows(rows))

    async def page(
        self, *, after: UUID, limit: int, name: str | None, mobile: str | None, held: bool
    ) -> list[Customer]:
        query = CustomerRow.objects().where(CustomerRow.id > after)
        if name is not None:
            begins = f"{_literally(searchable(name))}%"
            found = CustomerRow.search_name.like(begins) | CustomerRow.search_family.like(begins)
            # As an older release kept a name.
            formerly = CustomerRow.search_name.like(f"{_literally(name.casefold())}%")
            query = query.where(found | formerly)
        if held:
            query = query.where(CustomerRow.alike != [], CustomerRow.alike_decided_by.is_null())
        if mobile is not None:
            query = query.where(CustomerRow.mobile == mobile)
        return await self._whole(await query.order_by(CustomerRow.id).limit(limit))

    async def alike(self, customer: Customer) -> list[UUID]:
        if (likeness := customer.person.likeness) is None:
            return []
        name, born, mobile = likeness
        formerly = customer.person.name.casefold()
        await self.database.execute(ONE_OF_A_LIKENESS, f"{name}\n{born}\n{mobile}")
        rows = await self.database.fetch(
            ALIKE, [name, formerly], born, mobile, customer.id, ALIKE_MAX
        )
        return [row["id"] for row in rows]

    async def lapsed(self, *, today: date, limit: int) -> list[UUID]:
        rows = await (
            CustomerRow.select(CustomerRow.id)
            .where(CustomerRow.verified_until < today)
            .order_by(CustomerRow.id)
            .limit(limit)
        )
        return [row["id"] for row in rows]

    async def first_proof(self, proof: bytes) -> bytes:
        await self.database.execute(KEEP_PROOF, proof)
        return bytes((await self.database.fetchrow(PROOF))["proof"])

    async def _put_documents(self, customer: Customer, *, known: Sequence[Document]) -> None:
        before = {each.id: each for each in known}
        new: list[tuple[bytes, int, Document]] = []
        for place, document in enumerate(customer.documents):
            if document.id not in before:
                new.append((self._index(document), place, document))
            elif document != before[document.id]:
                await DocumentRow.update(
                    {
                        DocumentRow.state: document.state,
                        DocumentRow.decided_by: document.decided_by,
                        DocumentRow.decided_at: document.decided_at,
                        DocumentRow.reason: document.reason,
                    }
                ).where(DocumentRow.id == document.id)
        # In one order everywhere: two customers with the same two documents must not deadlock.
        for index, place, document in sorted(new, key=lambda each: each[0]):
            await self._put(customer.id, place, index, document)

    async def _put(self, customer_id: UUID, place: int, index: bytes, document: Document) -> None:
        formerly = [self.vault.index(name) for name in document.former_names]
        new = await self.database.fetch(
            PUT_DOCUMENT,
            document.id,
            customer_id,
            place,
            document.type,
            document.issuer,
            self.vault.seal(document.number, document_id=document.id),
            index,
            document.expires_on,
            document.added_by,
            document.added_at,
            document.state,
            formerly,
        )
        if not new:
            raise DocumentKnown(document.type)

    def _index(self, document: Document) -> bytes:
        return self.vault.index(document.name)

    async def _whole(self, rows: Sequence[CustomerRow]) -> list[Customer]:
        documents: dict[UUID, list[Document]] = defaultdict(list)
        if rows:
            found = await (
                DocumentRow.objects()
                .where(DocumentRow.customer.is_in([row.id for row in rows]))
                .order_by(DocumentRow.customer, DocumentRow.place)
            )
            for row in found:
                documents[row.customer].append(self._to_document(row))
        return [_to_customer(row, documents[row.id]) for row in rows]

    def _to_document(self, row: DocumentRow) -> Document:
        return Document(
            id=row.id,
            type=DocumentType(row.type),
            issuer=row.issuer,
            number=self.vault.open(row.sealed, document_id=row.id),
            expires_on=row.expires_on,
            added_by=row.added_by,
            added_at=row.added_at,
            state=DocumentState(row.state),
            decided_by=row.decided_by,
            decided_at=row.decided_at,
            reason=row.reason,
        )


def _literally(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _to_row(customer: Customer) -> CustomerRow:
    person, rating, likeness = customer.person, customer.rating, customer.likeness
    verified = customer.kyc is Kyc.VERIFIED
    return CustomerRow(
        id=customer.id,
        given_name=person.given_name,
        family_name=person.family_name,
        search_name=searchable(person.name),
        date_of_birth=person.date_of_birth,
        email=person.email,
        mobile=person.mobile,
        address=msgspec.json.encode(person.address).decode(),
        imported=customer.imported,
        registered_at=customer.registered_at,
        status=customer.status,
        status_reason=customer.status_reason,
        kyc=customer.kyc,
        verified_until=verified_until(customer.documents) if verified else None,
        risk=rating.risk,
        risk_reason=rating.reason,
        rated_by=rating.by,
        rated_at=rating.at,
        search_family=person.family_name and searchable(person.family_name),
        standing_version=customer.standing_version,
        standing_under_way=customer.standing_under_way,
        alike=list(likeness.customers),
        alike_reason=likeness.reason,
        alike_decided_by=likeness.by,
        alike_decided_at=likeness.at,
        salt=new_salt(),
    )


def new_salt() -> bytes:
    return SOURCES.random_bytes(SALT_BYTES)


def _to_customer(row: CustomerRow, documents: Iterable[Document]) -> Customer:
    return Customer(
        id=row.id,
        person=Person(
            given_name=row.given_name,
            family_name=row.family_name,
            date_of_birth=row.date_of_birth,
            email=row.email,
            mobile=row.mobile,
            address=msgspec.json.decode(row.address, type=Address),
        ),
        imported=row.imported,
        registered_at=row.registered_at,
        documents=tuple(documents),
        kyc=Kyc(row.kyc),
        rating=Rating(
            risk=Risk(row.risk), reason=row.risk_reason, by=row.rated_by, at=row.rated_at
        ),
        status=CustomerStatus(row.status),
        status_reason=row.status_reason,
        standing_version=row.standing_version,
        standing_under_way=row.standing_under_way,
        likeness=Likeness(
            customers=tuple(row.alike),
            reason=row.alike_reason,
            by=row.alike_decided_by,
            at=row.alike_decided_at,
        ),
    )
