"""Customers in memory; tests/customers/test_store.py holds them to what PostgreSQL does.

Nothing is sealed: how document numbers are kept is the business of the store in PostgreSQL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from cbs.customers.application.customers import Change, DocumentKnown
from cbs.customers.domain.customer import ALIKE_MAX, Customer
from cbs.customers.domain.document import Document, DocumentState, DocumentType, Number
from cbs.customers.domain.kyc import Kyc, verified_until
from cbs.customers.main import CustomersSettings, Stores
from cbs.kernel.event import Event
from cbs.kernel.text import searchable
from cbs.platform.memory.database import MemoryDatabase, Table, memory_of
from cbs.platform.memory.stores import MemorySagas
from cbs.platform.outbox import Outbox
from cbs.platform.service import Runtime

DocumentName = tuple[DocumentType, str, Number]
PROOF = "proof"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCustomers:
    database: MemoryDatabase
    outbox: Outbox

    @property
    def customers(self) -> Table[UUID, Customer]:
        return self.database.table("customer")

    @property
    def holders(self) -> Table[DocumentName, UUID]:
        """The document that keeps another of this name out."""
        return self.database.table("document")

    @property
    def proofs(self) -> Table[str, bytes]:
        return self.database.table("vault")

    async def add(self, customer: Customer, events: Sequence[Event]) -> None:
        await self.database.call()
        self._keep(customer)
        await self.outbox.put(*events)

    async def get(self, customer_id: UUID) -> Customer | None:
        await self.database.call()
        return self.customers.get(customer_id)

    async def change(self, customer_id: UUID, change: Change) -> Customer | None:
        await self.database.call()
        if (known := self.customers.get(customer_id)) is None:
            return None
        changed, events = change(known)
        self._keep(changed)
        await self.outbox.put(*events)
        return changed

    async def page(
        self, *, after: UUID, limit: int, name: str | None, mobile: str | None, held: bool
    ) -> list[Customer]:
        await self.database.call()
        found = [
            each
            for each in self.customers.values()
            if each.id > after
            and (name is None or _is_called(each, searchable(name)))
            and (each.likeness.undecided or not held)
            and (mobile is None or each.person.mobile == mobile)
        ]
        return sorted(found, key=lambda each: each.id)[:limit]

    async def alike(self, customer: Customer) -> list[UUID]:
        await self.database.call()
        if (likeness := customer.person.likeness) is None:
            return []
        found = [
            each.id
            for each in self.customers.values()
            if each.person.likeness == likeness and each.id != customer.id
        ]
        return sorted(found)[:ALIKE_MAX]

    async def unrecorded(self, *, after: UUID, limit: int) -> list[UUID]:
        return []

    async def record(self, customer_id: UUID) -> None:
        raise AssertionError("there is no older release in memory")

    async def lapsed(self, *, today: date, limit: int) -> list[UUID]:
        await self.database.call()
        found = [
            each.id
            for each in self.customers.values()
            if each.kyc is Kyc.VERIFIED and verified_until(each.documents) < today
        ]
        return sorted(found)[:limit]

    async def first_proof(self, proof: bytes) -> bytes:
        async with self.database.transaction():
            return self.proofs.setdefault(PROOF, proof)

    def _keep(self, customer: Customer) -> None:
        self.customers[customer.id] = customer
        for document in customer.documents:
            self._keep_document(document)

    def _keep_document(self, document: Document) -> None:
        name = document.name
        holder = self.holders.get(name)
        if document.state is DocumentState.REJECTED:
            if holder == document.id:
                del self.holders[name]
        elif holder is None:
            self.holders[name] = document.id
        elif holder != document.id:
            raise DocumentKnown(document.type)


def _is_called(customer: Customer, begins: str) -> bool:
    names = (customer.person.name, customer.person.family_name or "")
    return any(searchable(name).startswith(begins) for name in names)


def in_memory(runtime: Runtime[CustomersSettings]) -> Stores:
    database = memory_of(runtime.database)
    return Stores(
        customers=MemoryCustomers(database=database, outbox=runtime.outbox),
        sagas=lambda definitions: MemorySagas(database=database),
    )
