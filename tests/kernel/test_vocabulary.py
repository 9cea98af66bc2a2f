from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cbs.kernel.account_number import account_number, is_account_number
from cbs.kernel.calendar import business_date
from cbs.kernel.event import Event
from cbs.kernel.ids import RANDOM_BITS, uuid7
from cbs.kernel.ifsc import is_ifsc, own_ifsc
from cbs.kernel.money import MINOR_UNITS_MAX, Currency, Money, minor_units
from cbs.kernel.principal import Kind, Principal
from cbs.kernel.refusal import NotPermitted, Refusal, RefusalKind

BRANCHES, SERIALS = st.integers(1, 9_999), st.integers(1, 999_999_999)
AMOUNTS = st.integers(-MINOR_UNITS_MAX, MINOR_UNITS_MAX)


@given(BRANCHES, SERIALS, st.integers(0, 13), st.integers(1, 9))
def test_one_wrong_digit_is_never_an_account_number(branch, serial, place, slip):
    number = account_number(branch=branch, serial=serial)
    wrong = (int(number[place]) + slip) % 10

    assert is_account_number(number)
    assert not is_account_number(number[:place] + str(wrong) + number[place + 1 :])


@given(st.text(max_size=16))
def test_no_text_breaks_the_account_number_check(text):
    assert is_account_number(text) in (True, False)


def test_the_check_digit_is_luhns():
    assert is_account_number("79927398713".rjust(14, "0"))  # the standard's own example


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**RANDOM_BITS - 1))
def test_an_id_says_its_version_and_sorts_by_time(at_ms, random):
    made = uuid7(at_ms=at_ms, random=random)

    assert (made.version, made.int >> 80) == (7, at_ms)
    assert made.variant == "specified in RFC 4122"


@given(AMOUNTS, st.sampled_from(Currency))
def test_an_amount_survives_being_written_and_read(minor, currency):
    assert minor_units(str(Money(minor, currency)).split()[1], currency) == minor


@pytest.mark.parametrize("text", ["", "-", "1,00", "1e3", "0x1", "1.005", "--1", "\u0967", "."])
def test_what_is_not_an_amount_is_refused(text):
    with pytest.raises(ValueError, match="decima"):
        minor_units(text, Currency.INR)


def test_the_yen_has_no_decimals():
    assert minor_units("5", Currency.JPY) == 5
    with pytest.raises(ValueError, match="decimals"):
        minor_units("5.1", Currency.JPY)


@given(AMOUNTS, AMOUNTS)
def test_money_adds_and_subtracts_in_one_currency(a, b):
    one, other = Money(a, Currency.INR), Money(b, Currency.INR)

    assert one + other - other == one


def test_currencies_do_not_mix():
    with pytest.raises(AssertionError):
        Money(1, Currency.INR) + Money(1, Currency.CZK)
    with pytest.raises(AssertionError):
        Money(1.5, Currency.INR)  # type: ignore[arg-type]


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_business_date_changes_at_midnight_in_mumbai(at):
    assume(datetime(1950, 1, 1, tzinfo=UTC) < at < datetime(9999, 1, 1, tzinfo=UTC))

    assert business_date(at) == (at + timedelta(hours=5, minutes=30)).date()


def test_a_business_date_needs_a_zone():
    assert business_date(datetime(2026, 3, 31, 18, 30, tzinfo=UTC)) == date(2026, 4, 1)
    with pytest.raises(AssertionError):
        business_date(datetime(2026, 3, 31, 18, 30))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("CBSI0000001", True), ("HDFC0ABC123", True), ("CBSI1000001", False), ("cbsi0000001", False)],
)
def test_an_ifsc_has_four_letters_a_zero_and_six_characters(text, is_one):
    assert is_ifsc(text) is is_one


def test_our_own_branches_have_an_ifsc():
    assert own_ifsc(42) == "CBSI0000042"
    assert is_ifsc(own_ifsc(999_999))


def test_names_become_codes():
    class TooLate(Refusal):
        """Too late."""

        code = "too-late"
        because = RefusalKind.NOT_FOUND

    class ThingDone(Event):
        fact = "thing-done"
        about = "thing"

    assert (TooLate.code, ThingDone.fact) == ("too-late", "thing-done")
    assert TooLate().lasting
    assert not NotPermitted().lasting


def test_a_principal_may_do_what_the_token_says_and_no_more():
    teller = Principal(id="tara", kind=Kind.USER, permissions=frozenset({"payments.cash"}))

    teller.must("payments.cash")
    with pytest.raises(NotPermitted, match=r"ledger\.post"):
        teller.must("ledger.post")
