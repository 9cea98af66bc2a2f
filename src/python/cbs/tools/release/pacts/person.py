"""Somebody who becomes a customer in pacts: every field that registering needs, no more."""

from typing import Any


def person(pan: str) -> dict[str, Any]:
    """The PAN is each consumer's own: the bank takes the same paper from one customer only."""
    return {
        "given_name": "Asha",
        "date_of_birth": "1990-05-17",
        "mobile": "+919876543210",
        "address": {
            "lines": ["12 Marine Drive"],
            "city": "Mumbai",
            "state": "Maharashtra",
            "country": "IN",
            "postal_code": "400020",
        },
        "documents": [{"type": "pan", "number": pan}],
    }
