"""An account number is 14 digits: a branch, a serial and a check digit that catches a slip.

The check digit is Luhn's (ISO/IEC 7812-1, annex B): every single wrong digit and nearly every
swap of neighbours gives a number that is not one.
"""

from typing import NewType

AccountNumber = NewType("AccountNumber", str)

DIGITS, BRANCH_DIGITS, SERIAL_DIGITS = 14, 4, 9

# A digit -> the sum of the digits of twice it. Every transfer passes here twice.
_DOUBLED = str.maketrans("0123456789", "0246813579")


def account_number(*, branch: int, serial: int) -> AccountNumber:
    assert 0 < branch < 10**BRANCH_DIGITS, branch
    assert 0 < serial < 10**SERIAL_DIGITS, serial
    body = f"{branch:0{BRANCH_DIGITS}}{serial:0{SERIAL_DIGITS}}"
    return AccountNumber(f"{body}{-_luhn(body + '0') % 10}")


def is_account_number(text: str) -> bool:
    return len(text) == DIGITS and text.isascii() and text.isdigit() and _luhn(text) % 10 == 0


def _luhn(digits: str) -> int:
    return sum(map(int, digits[-1::-2] + digits[-2::-2].translate(_DOUBLED)))
