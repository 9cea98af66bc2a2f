from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbs.kernel.account_number import DIGITS, account_number, is_account_number
from cbs.kernel.money import MINOR_UNITS_MAX, Currency
from cbs.kernel.refusal import Malformed
from cbs.payments.application.payments import Payments
from cbs.payments.domain.transfer import AccountsNotDistinct, Kind
from cbs.payments.memory import MemoryTransfers
from cbs.platform.memory.database import MemoryDatabase
from tests.payments.fakes import NotedLedger

numbers = st.builds(
    account_number, branch=st.integers(1, 10**4 - 1), serial=st.integers(1, 10**9 - 1)
)
amounts = st.integers(1, MINOR_UNITS_MAX)
currencies = st.sampled_from(Currency)
ledger = NotedLedger()
payments = Payments(ledger=ledger, transfers=MemoryTransfers(database=MemoryDatabase()))


async def transfer(remitter: str, beneficiary: str, amount_minor: int = 1) -> None:
    await payments.transfer(
        remitter_account=remitter,
        beneficiary_account=beneficiary,
        amount_minor=amount_minor,
        currency=Currency.INR,
        narrative="",
        key=uuid4().hex,
    )


@given(remitter=numbers, beneficiary=numbers, amount_minor=amounts)
async def test_a_transfer_is_between_two_different_accounts(remitter, beneficiary, amount_minor):
    if remitter == beneficiary:
        with pytest.raises(AccountsNotDistinct):
            await transfer(remitter, beneficiary, amount_minor)
        return
    await transfer(remitter, beneficiary, amount_minor)
    assert ledger.posted[-1] == (Kind.TRANSFER, remitter, beneficiary, amount_minor)


@given(number=numbers, other=numbers, place=st.integers(0, DIGITS - 1), by=st.integers(1, 9))
async def test_one_wrong_digit_is_malformed_on_either_side(number, other, place, by):
    wrong = number[:place] + str((int(number[place]) + by) % 10) + number[place + 1 :]
    for remitter, beneficiary in ((wrong, other), (other, wrong)):
        with pytest.raises(Malformed):
            await transfer(remitter, beneficiary)


@given(text=st.text(max_size=20).filter(lambda text: not is_account_number(text)), number=numbers)
async def test_what_is_not_an_account_number_is_malformed(text, number):
    for remitter, beneficiary in ((text, number), (number, text)):
        with pytest.raises(Malformed):
            await transfer(remitter, beneficiary)
    for pay in (payments.deposit, payments.withdraw):
        with pytest.raises(Malformed):
            await pay(account=text, amount_minor=1, currency=Currency.INR, narrative="", key="k")


@given(amount_minor=st.integers(max_value=0) | st.integers(min_value=MINOR_UNITS_MAX + 1))
async def test_an_amount_is_above_nothing_and_within_the_books(amount_minor):
    one, other = (account_number(branch=1, serial=serial) for serial in (1, 2))
    with pytest.raises(Malformed):
        await transfer(one, other, amount_minor)
    for pay in (payments.deposit, payments.withdraw):
        with pytest.raises(Malformed):
            await pay(
                account=one,
                amount_minor=amount_minor,
                currency=Currency.INR,
                narrative="",
                key="k",
            )


@given(number=numbers, amount_minor=amounts, currency=currencies)
async def test_cash_meets_the_till_of_its_currency(number, amount_minor, currency):
    for pay in (payments.deposit, payments.withdraw):
        await pay(
            account=number, amount_minor=amount_minor, currency=currency, narrative="x", key="k"
        )
    till = f"{currency}-CASH"
    assert ledger.posted[-2:] == [
        (Kind.CASH_DEPOSIT, till, number, amount_minor),
        (Kind.CASH_WITHDRAWAL, number, till, amount_minor),
    ]
