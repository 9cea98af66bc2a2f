"""A product is data: what an account of its kind starts with, and how far it may be overdrawn."""

from dataclasses import dataclass
from enum import StrEnum

from cbs.kernel.event import Event
from cbs.kernel.money import Currency
from cbs.kernel.published import published_as
from cbs.kernel.refusal import Refusal, RefusalKind


class ProductKind(StrEnum):
    SAVINGS = "savings"
    CURRENT = "current"


@published_as("cbs.accounts.api.shapes.ProductView")
@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Amounts are minor units of `currency`. An account's limits start as the product's, None
    being without limit; its overdraft is agreed between the product's least and most."""

    code: str
    name: str
    kind: ProductKind
    currency: Currency
    overdraft_min_minor: int
    overdraft_max_minor: int
    limit_per_transaction_minor: int | None
    limit_per_day_minor: int | None
    active: bool

    def __post_init__(self) -> None:
        if not 0 <= self.overdraft_min_minor <= self.overdraft_max_minor:
            raise OverdraftsOutOfOrder

    def overdraft(self, wanted_minor: int | None) -> int:
        """What is agreed when this much is wanted; None wants the least."""
        if wanted_minor is None:
            return self.overdraft_min_minor
        if not self.overdraft_min_minor <= wanted_minor <= self.overdraft_max_minor:
            raise OverdraftOutOfRange
        return wanted_minor

    def to_event(self) -> "ProductAdded":
        return ProductAdded(
            code=self.code,
            name=self.name,
            kind=self.kind.value,
            currency=self.currency.value,
            overdraft_min_minor=self.overdraft_min_minor,
            overdraft_max_minor=self.overdraft_max_minor,
            limit_per_transaction_minor=self.limit_per_transaction_minor,
            limit_per_day_minor=self.limit_per_day_minor,
            active=self.active,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductAdded(Event):
    """The bank offers a new kind of account."""

    fact = "product-added"
    about = "code"

    code: str
    name: str
    kind: str
    currency: str
    overdraft_min_minor: int
    overdraft_max_minor: int
    limit_per_transaction_minor: int | None
    limit_per_day_minor: int | None
    active: bool


class NoSuchProduct(Refusal):
    """The bank has no product of this code."""

    code = "no-such-product"
    kind = RefusalKind.NOT_FOUND


class ProductKnown(Refusal):
    """A product of this code exists already."""

    code = "product-known"


class ProductWithdrawn(Refusal):
    """No more accounts of this product are opened."""

    code = "product-withdrawn"


class OverdraftsOutOfOrder(Refusal):
    """The least overdraft of a product is between nothing and the most."""

    code = "overdrafts-out-of-order"


class OverdraftOutOfRange(Refusal):
    """The product does not allow this overdraft."""

    code = "overdraft-out-of-range"
