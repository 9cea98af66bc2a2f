from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbs.customers.domain.person import (
    Address,
    NotADateOfBirth,
    NotALine,
    NotAnAddress,
    NotAnEmail,
    NotOfAge,
    Unreachable,
    line,
)
from tests.customers.people import person

TODAY = date(2026, 11, 23)
HOME = Address(lines=("12 MG Road",), city="Pune", state="Maharashtra", postal_code="411001")


def checked(*, imported=False, **changed):
    return person(**changed).checked(today=TODAY, imported=imported)


def test_a_person_is_written_down_without_white_space_around():
    assert checked(given_name="  Asha ", family_name=None).name == "Asha"


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"given_name": " "}, NotALine),
        ({"given_name": "x" * 101}, NotALine),
        ({"family_name": "Ra\x00o"}, NotALine),
        ({"family_name": "Ra\no"}, NotALine),
        ({"mobile": None}, Unreachable),
        ({"email": "asha"}, NotAnEmail),
        ({"email": "asha@example"}, NotAnEmail),
        ({"email": "as ha@example.in"}, NotAnEmail),
        ({"date_of_birth": date(2026, 11, 24)}, NotADateOfBirth),
        ({"date_of_birth": date(1899, 12, 31)}, NotADateOfBirth),
        ({"address": Address(lines=(), city="Pune")}, NotAnAddress),
        ({"address": Address(lines=("1",), city="Pune", state="Goa")}, NotAnAddress),
        (
            {"address": Address(lines=("1",), city="Pune", state="Goa", postal_code="011001")},
            NotAnAddress,
        ),
        ({"address": Address(lines=("1",), city="Pune", postal_code="411001")}, NotAnAddress),
        ({"address": Address(lines=("1",), city="Brno", country="cz")}, NotAnAddress),
    ],
)
def test_what_is_wrong_is_refused(wrong, refusal):
    with pytest.raises(refusal):
        checked(**wrong)


def test_an_address_abroad_needs_neither_state_nor_pin_code():
    abroad = Address(lines=("Namesti 1",), city="Brno", country="CZ")

    assert checked(address=abroad).address == abroad


def test_the_joiners_of_indic_scripts_belong_to_a_name():
    assert checked(given_name="ന്‍").given_name == "ന്‍"


def test_full_age_is_reached_on_the_eighteenth_birthday():
    assert checked(date_of_birth=date(2008, 11, 23))
    with pytest.raises(NotOfAge):
        checked(date_of_birth=date(2008, 11, 24))


def test_who_was_born_on_a_leap_day_comes_of_age_in_march():
    born = person(date_of_birth=date(2008, 2, 29))
    assert born.checked(today=date(2026, 3, 1), imported=False)
    with pytest.raises(NotOfAge):
        born.checked(today=date(2026, 2, 28), imported=False)


def test_an_import_may_bring_minors_and_people_without_a_mobile():
    assert checked(imported=True, mobile=None, date_of_birth=date(2020, 1, 1))


def test_an_import_may_not_bring_the_unborn():
    with pytest.raises(NotADateOfBirth):
        checked(imported=True, date_of_birth=date(2027, 1, 1))


@given(st.text(max_size=120))
def test_a_line_is_what_a_database_and_a_screen_can_take(text):
    try:
        kept = line(text)
    except NotALine:
        return
    assert 0 < len(kept) <= 100 and kept == kept.strip()
    assert "\x00" not in kept and len(kept.splitlines()) == 1
    assert line(kept) == kept


def test_what_differs_is_named():
    assert person().differs_in(person(email=None, mobile=None)) == ("email", "mobile")
