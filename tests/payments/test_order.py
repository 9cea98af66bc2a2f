import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbs.kernel.account_number import DIGITS, account_number, is_account_number
from cbs.kernel.money import MINOR_UNITS_MAX, Currency
from cbs.kernel.refusal import Malformed
from cbs.payments.domain.transfer import AccountsNotDistinct, Kind, Order

numbers = st.builds(
    account_number, branch=st.integers(1, 10**4 - 1), serial=st.integers(1, 10**9 - 1)
)
amounts = st.integers(1, MINOR_UNITS_MAX)
currencies = st.sampled_from(Currency)


def order(remitter: str, beneficiary: str, amount_minor: int = 1) -> Order:
    return Order.transfer(
        remitter=remitter,
        beneficiary=beneficiary,
        amount_minor=amount_minor,
        currency=Currency.INR,
        text="",
    )


@given(remitter=numbers, beneficiary=numbers, amount_minor=amounts)
def test_a_transfer_is_between_two_different_accounts(remitter, beneficiary, amount_minor):
    if remitter == beneficiary:
        with pytest.raises(AccountsNotDistinct):
            order(remitter, beneficiary, amount_minor)
        return
    made = order(remitter, beneficiary, amount_minor)
    assert (made.kind, made.remitter_account, made.beneficiary_account, made.amount_minor) == (
        Kind.TRANSFER,
        remitter,
        beneficiary,
        amount_minor,
    )


@given(number=numbers, other=numbers, place=st.integers(0, DIGITS - 1), by=st.integers(1, 9))
def test_one_wrong_digit_is_malformed_on_either_side(number, other, place, by):
    wrong = number[:place] + str((int(number[place]) + by) % 10) + number[place + 1 :]
    for remitter, beneficiary in ((wrong, other), (other, wrong)):
        with pytest.raises(Malformed):
            order(remitter, beneficiary)


@given(text=st.text(max_size=20).filter(lambda text: not is_account_number(text)), number=numbers)
def test_what_is_not_an_account_number_is_malformed(text, number):
    for remitter, beneficiary in ((text, number), (number, text)):
        with pytest.raises(Malformed):
            order(remitter, beneficiary)
    for make in (Order.cash_deposit, Order.cash_withdrawal):
        with pytest.raises(Malformed):
            make(account=text, amount_minor=1, currency=Currency.INR, text="")


@given(amount_minor=st.integers(max_value=0) | st.integers(min_value=MINOR_UNITS_MAX + 1))
def test_an_amount_is_above_nothing_and_within_the_books(amount_minor):
    one, other = (account_number(branch=1, serial=serial) for serial in (1, 2))
    with pytest.raises(Malformed):
        order(one, other, amount_minor)


@given(number=numbers, amount_minor=amounts, currency=currencies)
def test_cash_meets_the_till_of_its_currency(number, amount_minor, currency):
    paid_in, paid_out = (
        make(account=number, amount_minor=amount_minor, currency=currency, text="x")
        for make in (Order.cash_deposit, Order.cash_withdrawal)
    )
    till = f"{currency}-CASH"
    assert (paid_in.remitter_account, paid_in.beneficiary_account) == (till, number)
    assert (paid_out.remitter_account, paid_out.beneficiary_account) == (number, till)
