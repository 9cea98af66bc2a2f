"""Who gives out a document: a country of ISO 3166-1 or a state of India of ISO 3166-2, in one form.

A country is its two letters, whether its three or its name were typed; a state is `IN-` and its
two letters. Of a foreign client number it is the bank that gave it.
"""

import re

from iso3166 import countries

from cbs.kernel.refusal import Refusal

ISSUER_CHARACTERS_MAX = 40
HOME = "IN"
BANK = re.compile(rf"[A-Z0-9][A-Z0-9 ]{{1,{ISSUER_CHARACTERS_MAX - 1}}}", re.ASCII)
BETWEEN_WORDS = re.compile(r"[\s-]+")

# ISO 3166-2:IN, with the two that merged in 2020 as one.
STATES = {
    "AN": "ANDAMAN AND NICOBAR ISLANDS",
    "AP": "ANDHRA PRADESH",
    "AR": "ARUNACHAL PRADESH",
    "AS": "ASSAM",
    "BR": "BIHAR",
    "CG": "CHHATTISGARH",
    "CH": "CHANDIGARH",
    "DH": "DADRA AND NAGAR HAVELI AND DAMAN AND DIU",
    "DL": "DELHI",
    "GA": "GOA",
    "GJ": "GUJARAT",
    "HP": "HIMACHAL PRADESH",
    "HR": "HARYANA",
    "JH": "JHARKHAND",
    "JK": "JAMMU AND KASHMIR",
    "KA": "KARNATAKA",
    "KL": "KERALA",
    "LA": "LADAKH",
    "LD": "LAKSHADWEEP",
    "MH": "MAHARASHTRA",
    "ML": "MEGHALAYA",
    "MN": "MANIPUR",
    "MP": "MADHYA PRADESH",
    "MZ": "MIZORAM",
    "NL": "NAGALAND",
    "OD": "ODISHA",
    "PB": "PUNJAB",
    "PY": "PUDUCHERRY",
    "RJ": "RAJASTHAN",
    "SK": "SIKKIM",
    "TN": "TAMIL NADU",
    "TR": "TRIPURA",
    "TS": "TELANGANA",
    "UK": "UTTARAKHAND",
    "UP": "UTTAR PRADESH",
    "WB": "WEST BENGAL",
}
_states = {name: code for code, name in STATES.items()}


class NotAnIssuer(Refusal):
    """An issuer is a country of ISO 3166 or a state of India; of a foreign client number, a bank.

    PAN and Aadhaar have IN, a passport has a country.
    """

    code = "not-an-issuer"


def is_country(code: str) -> bool:
    """Whether ISO 3166-1 has officially assigned these two letters."""
    return code.isupper() and len(code) == 2 and code in countries


def country_of(text: str) -> str:
    """The two letters of a country from its two or three, or from its name; raises NotAnIssuer."""
    found = None if text.isdigit() else countries.get(text.strip(), None)
    if found is None:
        raise NotAnIssuer
    return found.alpha2


def country_or_state_of(text: str) -> str:
    """A state is said by its name or as `IN-GA`: two letters alone are a country's."""
    spelt = BETWEEN_WORDS.sub(" ", text.strip().upper())
    home, _, state = spelt.partition(" ")
    if home == HOME and state in STATES:
        return f"{HOME}-{state}"
    if spelt in _states:
        return f"{HOME}-{_states[spelt]}"
    return country_of(text)


def bank_of(text: str) -> str:
    spelt = BETWEEN_WORDS.sub(" ", text.strip().upper())
    if not BANK.fullmatch(spelt):
        raise NotAnIssuer
    return spelt


def spellings(issuer: str, *, with_states: bool = False) -> list[str]:
    """What may have been typed, in capitals, for an issuer in its one form."""
    country, _, state = issuer.partition("-")
    found = countries.get(country, None) if len(country) == 2 else None
    if found is None:
        return [issuer]
    of_all = list(STATES) if with_states and country == HOME else []
    codes = [state] if state else of_all
    of_states = [each for code in codes for each in (code, f"{HOME}-{code}", STATES[code])]
    if state and not with_states:
        return of_states
    names = (found.alpha2, found.alpha3, found.name.upper(), found.apolitical_name.upper())
    return [*names, *of_states]
