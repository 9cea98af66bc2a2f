"""Money is a whole number of minor units in one currency; it never meets a float."""

from dataclasses import dataclass
from enum import StrEnum

MINOR_UNITS_MAX = 10**15
# What every reader of JSON has exactly (RFC 8259, 6), and far from what a bigint holds.
BALANCE_MINOR_UNITS_MAX = 2**53 - 1
# What every reader of JSON has exactly (RFC 8259, 6), and far from what a bigint holds.
BALANCE_MINOR_UNITS_MAX = 2**53 - 1


class Currency(StrEnum):
    """ISO 4217 codes of the currencies that the bank keeps books in."""

    INR = "INR"
    AED = "AED"
    BHD = "BHD"
    CZK = "CZK"
    EUR = "EUR"
    GBP = "GBP"
    JPY = "JPY"
    KWD = "KWD"
    OMR = "OMR"
    USD = "USD"

    @property
    def exponent(self) -> int:
        """How many decimal places a minor unit is, after ISO 4217."""
        return _OTHER_EXPONENTS.get(self, 2)


_OTHER_EXPONENTS = {Currency.BHD: 3, Currency.JPY: 0, Currency.KWD: 3, Currency.OMR: 3}


@dataclass(frozen=True, slots=True)
class Money:
    minor: int
    currency: Currency

    def __post_init__(self) -> None:
        assert type(self.minor) is int, f"minor units are whole: {self.minor!r}"

    def __add__(self, other: "Money") -> "Money":
        assert self.currency is other.currency, f"{self.currency} + {other.currency}"
        return Money(self.minor + other.minor, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return self + -other

    def __neg__(self) -> "Money":
        return Money(-self.minor, self.currency)

    def __str__(self) -> str:
        """`INR 1234.50`, for people; never parsed again."""
        places = self.currency.exponent
        if places == 0:
            return f"{self.currency} {self.minor}"
        whole, rest = divmod(abs(self.minor), 10**places)
        return f"{self.currency} {'-' if self.minor < 0 else ''}{whole}.{rest:0{places}}"


def minor_units(amount: str, currency: Currency) -> int:
    """The minor units of a decimal such as `-17030.40`; ValueError if it is not one exactly."""
    sign, digits = (-1, amount[1:]) if amount.startswith("-") else (1, amount)
    whole, _, rest = digits.partition(".")
    places = currency.exponent
    if not (whole.isascii() and whole.isdigit() and (rest == "" or rest.isdigit())):
        raise ValueError(f"not a decimal amount: {amount!r}")
    if len(rest) > places and rest[places:].strip("0"):
        raise ValueError(f"{amount!r} has more than {places} decimals")
    minor = sign * int(whole + rest[:places].ljust(places, "0"))
    if abs(minor) > MINOR_UNITS_MAX:
        raise ValueError(f"{amount!r} is more than the books take")
    return minor
