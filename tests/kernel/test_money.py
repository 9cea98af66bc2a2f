"""Money is exact to the minor unit, and the books have an end."""

import iso4217
import pytest

from cbs.kernel.money import MINOR_UNITS_MAX, Currency, Money, minor_units


def test_names_of_currencies_are_those_of_iso_4217():
    of_iso = {each.code: each.exponent for each in iso4217.Currency}

    assert {each.value: each.exponent for each in Currency} == {
        each.value: of_iso[each.value] for each in Currency
    }
    assert {each.exponent for each in Currency} == {0, 2, 3}


def test_amounts_are_added_and_taken_away():
    three, five = Money(3, Currency.INR), Money(5, Currency.INR)

    assert three + five == Money(8, Currency.INR)
    assert three - five == -Money(2, Currency.INR)


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (123_450, Currency.INR, "INR 1234.50"),
        (5, Currency.INR, "INR 0.05"),
        (0, Currency.INR, "INR 0.00"),
        (-1, Currency.INR, "INR -0.01"),
        (-123_450, Currency.INR, "INR -1234.50"),
        (1_234, Currency.JPY, "JPY 1234"),
        (-1_234_005, Currency.KWD, "KWD -1234.005"),
    ],
)
def test_an_amount_is_shown_in_the_decimals_of_its_currency(minor, currency, shown):
    assert str(Money(minor, currency)) == shown


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("1", 100),
        ("1.", 100),
        ("1.5", 150),
        ("1.05", 105),
        ("1.0500", 105),
        ("-17030.40", -1_703_040),
        ("10000000000000", MINOR_UNITS_MAX),
        ("-10000000000000", -MINOR_UNITS_MAX),
    ],
)
def test_a_decimal_amount_is_read_exactly(text, minor):
    assert minor_units(text, Currency.INR) == minor


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1.5x", "not a decimal"),
        ("1.500x", "not a decimal"),
        ("1.001", "more than 2 decimals"),
        ("1.0010", "more than 2 decimals"),
        ("10000000000000.01", "more than the books take"),
        ("-10000000000000.01", "more than the books take"),
    ],
)
def test_what_is_not_read_exactly_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        minor_units(text, Currency.INR)


def test_the_books_take_ten_trillion_of_a_currency_with_two_decimals():
    assert MINOR_UNITS_MAX == 1_000_000_000_000_000
