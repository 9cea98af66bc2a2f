"""Somebody becomes a customer, has their papers verified and gets an account, each once."""

from typing import Any
from uuid import UUID

import msgspec

from cbs.tools.local.public_api import PublicApi


class RegisteredDocument(msgspec.Struct):
    id: UUID


class RegisteredCustomer(msgspec.Struct):
    id: UUID
    documents: list[RegisteredDocument]


class OpenedAccount(msgspec.Struct):
    number: str


async def account_of(
    api: PublicApi,
    registration: dict[str, Any],
    *,
    product: str,
    key: str,
    overdraft_minor: int | None = None,
) -> str:
    """The number of the account; with the same `key`, of the same account. Raises Refused.

    The keys of the steps are `key` and a few characters more.
    """
    customer = await api.post("/v1/customers", registration, RegisteredCustomer, key=f"{key}-r")
    for n, document in enumerate(customer.documents):
        path = f"/v1/customers/{customer.id}/documents/{document.id}/verify"
        await api.post(path, None, RegisteredCustomer, key=f"{key}-v{n}")
    wanted: dict[str, Any] = {"customer_id": customer.id, "product": product}
    if overdraft_minor is not None:
        wanted["overdraft_minor"] = overdraft_minor
    return (await api.post("/v1/accounts", wanted, OpenedAccount, key=f"{key}-o")).number
