from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbs.customers.domain.person import (
    Address,
    NotADateOfBirth,
    NotALine,
    NotAMobile,
    NotAnAddress,
    NotAnEmail,
    NotOfAge,
    Person,
    Unreachable,
    line,
)
from cbs.kernel.refusal import Refusal
from tests.customers.people import person

TODAY = date(2026, 11, 23)
HOME = Address(lines=("12 MG Road",), city="Pune", state="Maharashtra", postal_code="411001")


def checked(*, imported=False, **changed):
    return person(**changed).checked(today=TODAY, imported=imported)


def test_a_person_is_written_down_without_white_space_around():
    assert checked(given_name="  Asha ", family_name=None).name == "Asha"


def test_a_person_is_written_down_whole():
    written = checked(email=" asha@example.in ", address=replace(HOME, city=" Pune "))

    assert written == person()
    assert Person(given_name="Asha", date_of_birth=date(1990, 4, 1), address=HOME) == person(
        family_name=None, email=None, mobile=None
    )


@pytest.mark.parametrize(
    "longest",
    [
        {"given_name": "x" * 100, "family_name": "x" * 100},
        {"email": "a" * 242 + "@example.com"},
        {"address": replace(HOME, lines=("x" * 100,) * 3, city="x" * 100, state="x" * 100)},
        {"mobile": "+6723 81234".replace(" ", "")},
        {"mobile": "+12025550123"},
        {"date_of_birth": date(1900, 1, 1)},
    ],
)
def test_what_just_fits_is_kept(longest):
    assert checked(**longest) == person(**longest)


def test_who_is_imported_may_be_born_today():
    assert checked(imported=True, date_of_birth=TODAY)


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"given_name": " "}, NotALine),
        ({"given_name": "x" * 101}, NotALine),
        ({"family_name": "Ra\x00o"}, NotALine),
        ({"family_name": "Ra\no"}, NotALine),
        ({"family_name": "x" * 101}, NotALine),
        ({"given_name": "Asha\ud800"}, NotALine),
        ({"given_name": "Asha\u2028R"}, NotALine),
        ({"given_name": "Asha\u2029R"}, NotALine),
        ({"mobile": None}, Unreachable),
        ({"mobile": "+9198765432"}, NotAMobile),
        ({"mobile": "+910000000000"}, NotAMobile),
        ({"mobile": "+999123456789"}, NotAMobile),
        ({"mobile": "+912228403000"}, NotAMobile),
        ({"mobile": "+91 9876543210"}, NotAMobile),
        ({"mobile": "9876543210"}, NotAMobile),
        *(
            ({"address": replace(HOME, country=country)}, NotAnAddress)
            for country in ("ZZ", "XX", "UK", "IND", "in", "")
        ),
        ({"email": "asha"}, NotAnEmail),
        ({"email": "asha@example"}, NotAnEmail),
        ({"email": "as ha@example.in"}, NotAnEmail),
        ({"email": "a" * 243 + "@example.com"}, NotALine),
        ({"date_of_birth": date(2026, 11, 24)}, NotADateOfBirth),
        ({"date_of_birth": date(1899, 12, 31)}, NotADateOfBirth),
        ({"address": replace(HOME, lines=())}, NotAnAddress),
        ({"address": replace(HOME, lines=("1",) * 4)}, NotAnAddress),
        ({"address": replace(HOME, lines=("x" * 101,))}, NotALine),
        ({"address": replace(HOME, country="CZ", postal_code="?")}, NotAnAddress),
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


def test_what_is_wrong_with_a_person_is_said_in_this_order():
    everything = {
        "given_name": " ",
        "address": replace(HOME, lines=()),
        "date_of_birth": date(2027, 1, 1),
        "email": "asha",
        "mobile": None,
    }

    for right, refusal in (
        ({}, NotALine),
        ({"given_name": "Asha"}, NotAnAddress),
        ({"address": HOME}, NotADateOfBirth),
        ({"date_of_birth": date(2020, 1, 1)}, NotAnEmail),
        ({"email": None}, Unreachable),
        ({"mobile": "+919876543210"}, NotOfAge),
    ):
        everything |= right
        with pytest.raises(refusal):
            checked(**everything)


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


def test_what_was_so_before_stays_though_it_would_be_refused_today():
    before = person(
        given_name="\u200b",
        mobile="+9198765432",
        date_of_birth=date(1890, 1, 1),
        email="nobody",
        address=replace(HOME, country="ZZ"),
    )

    after = replace(before, family_name="Iyer").checked(today=TODAY, imported=False, before=before)
    assert after == replace(before, family_name="Iyer")
    for wrong in (
        {"given_name": "\u3164"},
        {"mobile": "+9198765433"},
        {"date_of_birth": date(1891, 1, 1)},
        {"email": "nobody2"},
        {"address": replace(HOME, country="XX")},
    ):
        with pytest.raises(Refusal):
            replace(before, **wrong).checked(today=TODAY, imported=False, before=before)
