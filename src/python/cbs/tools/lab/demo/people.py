"""Made-up Indian customers with papers whose numbers have the right form and check digits.

The same seed makes the same people. None of them exists; a number may by chance be somebody's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from string import ascii_uppercase

from stdnum import verhoeff

GIVEN = (
    *("Aarav", "Aditi", "Ananya", "Arjun", "Asha", "Deepak", "Devi", "Farhan", "Gauri", "Harpreet"),
    *("Ishaan", "Jyoti", "Kabir", "Kavya", "Lakshmi", "Manoj", "Meera", "Mohan", "Nandini"),
    *("Neha", "Nikhil", "Pooja", "Pranav", "Priya", "Rahul", "Ravi", "Rohan", "Sana", "Sandeep"),
    *("Sanjay", "Shreya", "Sunita", "Suresh", "Tanvi", "Usha", "Varun", "Vijay", "Yasmin", "Zara"),
)
FAMILY = (
    *("Agarwal", "Ansari", "Banerjee", "Bhat", "Chatterjee", "Chauhan", "Das", "Desai", "Dutta"),
    *("Fernandes", "Gill", "Gupta", "Iyer", "Jain", "Joshi", "Kapoor", "Kaur", "Khan", "Kulkarni"),
    *("Kumar", "Mehta", "Menon", "Mishra", "Nair", "Naidu", "Patel", "Pillai", "Rao", "Reddy"),
    *("Roy", "Saxena", "Shah", "Sharma", "Singh", "Sinha", "Subramaniam", "Thomas", "Verma"),
)
STREETS = ("Gandhi Road", "Station Road", "MG Road", "Temple Street", "Lake View", "Nehru Marg")
# City, state, and the first three digits of its pin codes (India Post's sorting district).
CITIES = (
    ("Mumbai", "Maharashtra", "400"),
    ("Pune", "Maharashtra", "411"),
    ("New Delhi", "Delhi", "110"),
    ("Bengaluru", "Karnataka", "560"),
    ("Chennai", "Tamil Nadu", "600"),
    ("Hyderabad", "Telangana", "500"),
    ("Kolkata", "West Bengal", "700"),
    ("Ahmedabad", "Gujarat", "380"),
    ("Jaipur", "Rajasthan", "302"),
    ("Kochi", "Kerala", "682"),
)
OLDEST_BORN, AGES_DAYS = date(1940, 1, 1), 60 * 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Somebody:
    given_name: str
    family_name: str
    date_of_birth: date
    mobile: str
    street: str
    city: str
    state: str
    pin_code: str
    pan: str
    aadhaar: str


def people(seed: str) -> Iterator[Somebody]:
    """Endlessly; no two with the same papers."""
    random = Random(seed)
    pans: set[str] = set()
    aadhaars: set[str] = set()
    while True:
        family = random.choice(FAMILY)
        somebody = _somebody(random, family)
        if somebody.pan not in pans and somebody.aadhaar not in aadhaars:
            pans.add(somebody.pan)
            aadhaars.add(somebody.aadhaar)
            yield somebody


def _somebody(random: Random, family: str) -> Somebody:
    city, state, district = random.choice(CITIES)
    return Somebody(
        given_name=random.choice(GIVEN),
        family_name=family,
        date_of_birth=OLDEST_BORN + timedelta(days=random.randrange(AGES_DAYS)),
        # Whatever begins so is a mobile number in India.
        mobile=f"+919{random.randrange(10**9):09}",
        street=f"{random.randrange(1, 200)}, {random.choice(STREETS)}",
        city=city,
        state=state,
        pin_code=f"{district}{random.randrange(1, 100):03}",
        pan=_pan(random, family),
        aadhaar=_aadhaar(random),
    )


def _pan(random: Random, family: str) -> str:
    """A person's: three letters, P, the first letter of the family name, a serial, a letter."""
    letters = "".join(random.choices(ascii_uppercase, k=3))
    serial = random.randrange(1, 10_000)
    return f"{letters}P{family[0]}{serial:04}{random.choice(ascii_uppercase)}"


def _aadhaar(random: Random) -> str:
    """Eleven digits and Verhoeff's check digit; neither 0 nor 1 first, and no palindrome."""
    while True:
        digits = f"{random.randrange(2, 10)}{random.randrange(10**10):010}"
        number = digits + verhoeff.calc_check_digit(digits)
        if number != number[::-1]:
            return number
