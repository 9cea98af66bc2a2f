"""Ids and numbers have a fixed width: what does not fit is a bug, and is not cut."""

from uuid import UUID

import pytest

from cbs.kernel.account_number import account_number, is_account_number
from cbs.kernel.ids import RANDOM_BITS, uuid7
from cbs.kernel.ifsc import own_ifsc


def test_an_account_number_is_branch_serial_and_check_digit():
    assert account_number(branch=1, serial=1) == "00010000000017"
    assert account_number(branch=9_999, serial=999_999_999)[:13] == "9999999999999"


@pytest.mark.parametrize(
    ("branch", "serial"), [(0, 1), (-1, 1), (10_000, 1), (1, 0), (1, -1), (1, 10**9)]
)
def test_an_account_number_has_room_for_so_many_branches_and_serials(branch, serial):
    with pytest.raises(AssertionError):
        account_number(branch=branch, serial=serial)


@pytest.mark.parametrize(
    "text",
    [
        "0001000000001",
        "000100000000170",
        "0010000000017",
        "+0010000000017",
        "00010000000017".translate({ord(d): 0x0660 + int(d) for d in "0123456789"}),
        "0000000000000\N{SUPERSCRIPT TWO}",
        "",
    ],
)
def test_an_account_number_is_14_ascii_digits(text):
    assert not is_account_number(text)


def test_an_id_is_put_together_as_rfc_9562_says():
    # Appendix A.6 of the RFC.
    random = 0xCC3 << 62 | 0x18C4DC0C0C07398F
    assert uuid7(at_ms=0x017F22E279B0, random=random) == UUID(
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
    )


def test_an_id_has_room_for_48_bits_of_time_and_74_of_chance():
    assert RANDOM_BITS == 74
    assert uuid7(at_ms=0, random=0).int == 0x7 << 76 | 0b10 << 62
    assert uuid7(at_ms=2**48 - 1, random=2**74 - 1).int == 2**128 - 1 - (0x8 << 76) - (1 << 62)
    for at_ms, random in ((-1, 0), (2**48, 0), (0, -1), (0, 2**74)):
        with pytest.raises(AssertionError):
            uuid7(at_ms=at_ms, random=random)


def test_our_branches_have_six_digits_in_an_ifsc():
    assert (own_ifsc(1), own_ifsc(999_999)) == ("CBSI0000001", "CBSI0999999")
    for branch in (0, -1, 10**6):
        with pytest.raises(AssertionError):
            own_ifsc(branch)
