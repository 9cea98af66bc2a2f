"""Somebody becomes a customer, has their papers verified and gets an account, each once."""

from typing import Any
from uuid import UUID

import msgspec

from cbs.tools.local.public_api import PublicApi, RefusedByBank


class RegisteredDocument(msgspec.Struct):
    id: UUID


class RegisteredCustomer(msgspec.Struct):
    id: UUID
    documents: list[RegisteredDocument]


class OpenedAccount(msgspec.Struct):
    number: str


class KnownAccount(msgspec.Struct):
    id: UUID
    number: str
    customer_id: UUID
    product: str
    overdraft_minor: int
    limit_per_transaction_minor: int | None = None
    limit_per_day_minor: int | None = None


class KeptOpening(msgspec.Struct):
    answer: KnownAccount


async def account_of(
    api: PublicApi,
    registration: dict[str, Any],
    *,
    product: str,
    key: str,
    overdraft_minor: int | None = None,
) -> str:
    """The number of the account; with the same `key`, of the same account, though the overdraft
    may have grown. Raises RefusedByBank.

    The keys of the steps are `key` and a few characters more.
    """
    customer = await api.post("/v1/customers", registration, RegisteredCustomer, key=f"{key}-r")
    for n, document in enumerate(customer.documents):
        path = f"/v1/customers/{customer.id}/documents/{document.id}/verify"
        await api.post(path, None, RegisteredCustomer, key=f"{key}-v{n}")
    wanted: dict[str, Any] = {"customer_id": customer.id, "product": product}
    if overdraft_minor is not None:
        wanted["overdraft_minor"] = overdraft_minor
    try:
        return (await api.post("/v1/accounts", wanted, OpenedAccount, key=f"{key}-o")).number
    except RefusedByBank as refusal:
        if refusal.code != "key-reused" or overdraft_minor is None:
            raise
        known = (await api.get(f"/v1/accounts/requests/{key}-o", KeptOpening)).answer
        if (known.customer_id, known.product) != (customer.id, product):
            raise
        await _raised(api, known, overdraft_minor, key=f"{key}-l{overdraft_minor}")
        return known.number


async def _raised(api: PublicApi, known: KnownAccount, minor: int, *, key: str) -> None:
    """An account that was opened for less than is wanted of it by now."""
    if minor > known.overdraft_minor:
        wanted = {
            "limit_per_transaction_minor": known.limit_per_transaction_minor,
            "limit_per_day_minor": known.limit_per_day_minor,
            "overdraft_minor": minor,
        }
        await api.post(f"/v1/accounts/{known.id}/limits", wanted, msgspec.Raw, key=key)
