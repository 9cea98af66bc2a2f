"""A customer is a person of full age whom the bank can reach."""

import re
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any

from phonenumbers import (
    NumberParseException,
    PhoneNumberFormat,
    PhoneNumberType,
    format_number,
    number_type,
)
from phonenumbers import parse as number_of

from cbs.customers.domain.issuer import HOME, is_country
from cbs.kernel.refusal import Refusal
from cbs.kernel.text import in_one_form, is_line, searchable

NAME_CHARACTERS_MAX, LINE_CHARACTERS_MAX, ADDRESS_LINES_MAX = 100, 100, 3
EMAIL_CHARACTERS_MAX, REASON_CHARACTERS_MAX = 254, 200
FULL_AGE_YEARS = 18
BORN_AFTER = date(1899, 12, 31)

EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
POSTAL_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 -]{1,9}", re.ASCII)
PIN_CODE = re.compile(r"[1-9][0-9]{5}", re.ASCII)
MOBILES = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}


class NotALine(Refusal):
    """A text is one line that can be read, without control characters, and not too long."""

    code = "not-a-line"


class NotAnEmail(Refusal):
    """An email address has a name, an @ and a domain."""

    code = "not-an-email"


class NotAnAddress(Refusal):
    """An address has lines, a city, a country of ISO 3166 and, in India, a state and a pin code of
    6 digits."""

    code = "not-an-address"


class NotAMobile(Refusal):
    """A mobile number is one that its country gives out, written as in E.164."""

    code = "not-a-mobile"


class NotADateOfBirth(Refusal):
    """A customer was born in the past, and after 1899."""

    code = "not-a-date-of-birth"


class Unreachable(Refusal):
    """A customer who is not imported has a mobile number."""

    code = "unreachable"


class NotOfAge(Refusal):
    """A customer is at least 18 years old; minors come in by an import only."""

    code = "not-of-age"


def line(text: str, *, characters_max: int = LINE_CHARACTERS_MAX) -> str:
    """The text in one form, without white space around it; raises NotALine."""
    text = in_one_form(text)
    if len(text) > characters_max or not is_line(text):
        raise NotALine
    return text


def is_mobile(text: str) -> bool:
    """Whether a country gives out such numbers, by Google's tables (phonenumbers), in E.164."""
    try:
        number = number_of(text)
    except NumberParseException:
        return False
    return number_type(number) in MOBILES and format_number(number, PhoneNumberFormat.E164) == text


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """`country` is ISO 3166-1's two letters; `postal_code` is India's pin code at home."""

    lines: tuple[str, ...]
    city: str
    state: str | None = None
    postal_code: str | None = None
    country: str = HOME

    def checked(self) -> "Address":
        address = Address(
            lines=tuple(line(each) for each in self.lines),
            city=line(self.city),
            state=None if self.state is None else line(self.state),
            postal_code=self.postal_code,
            country=self.country,
        )
        if not 0 < len(self.lines) <= ADDRESS_LINES_MAX or not is_country(self.country):
            raise NotAnAddress
        if self.country == HOME and (
            self.state is None or not PIN_CODE.fullmatch(self.postal_code or "")
        ):
            raise NotAnAddress
        if self.postal_code is not None and not POSTAL_CODE.fullmatch(self.postal_code):
            raise NotAnAddress
        return address


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What is known of a person besides their papers. Some people have one name only."""

    given_name: str
    family_name: str | None = None
    date_of_birth: date
    email: str | None = None
    mobile: str | None = None
    address: Address

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}" if self.family_name else self.given_name

    def checked(self, *, today: date, imported: bool, before: "Person | None" = None) -> "Person":
        """This person as the bank writes it down; an import may lack what an old bank did not ask.

        What was so `before` stays, even if it would be refused today. Raises what is wrong.
        """
        new = {field.name for field in fields(self)} if before is None else self.differs_in(before)

        def written(name: str, characters_max: int = NAME_CHARACTERS_MAX) -> Any:
            text = getattr(self, name)
            keep = text is None or name not in new
            return text if keep else line(text, characters_max=characters_max)

        person = replace(
            self,
            given_name=written("given_name"),
            family_name=written("family_name"),
            email=written("email", EMAIL_CHARACTERS_MAX),
            address=self.address.checked() if "address" in new else self.address,
        )
        if "date_of_birth" in new and not BORN_AFTER < person.date_of_birth <= today:
            raise NotADateOfBirth
        if "email" in new and person.email is not None and not EMAIL.fullmatch(person.email):
            raise NotAnEmail
        if "mobile" in new and person.mobile is not None and not is_mobile(person.mobile):
            raise NotAMobile
        if "mobile" in new and person.mobile is None and not imported:
            raise Unreachable
        of_age = _years(person.date_of_birth, today) >= FULL_AGE_YEARS
        if "date_of_birth" in new and not of_age and not imported:
            raise NotOfAge
        return person

    def is_who(self, other: "Person") -> bool:
        """Whether the papers of the one are those of the other."""
        return (self.name, self.date_of_birth) == (other.name, other.date_of_birth)

    @property
    def likeness(self) -> tuple[str, date, str] | None:
        """Equal for two customers who may be one person; None of whom too little is known."""
        if self.mobile is None:
            return None
        return searchable(self.name), self.date_of_birth, self.mobile

    def differs_in(self, other: "Person") -> tuple[str, ...]:
        """The names of the fields that differ."""
        return tuple(
            field.name
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        )


def _years(born: date, today: date) -> int:
    had_birthday = (today.month, today.day) >= (born.month, born.day)
    return today.year - born.year - (not had_birthday)
