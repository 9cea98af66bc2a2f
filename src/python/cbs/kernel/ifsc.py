"""An IFSC names a branch in India's payment systems: four letters, a zero, six characters.

Source: RBI's NEFT FAQ. Our own are `CBSI0` and six digits.
"""

import re
from typing import NewType

Ifsc = NewType("Ifsc", str)

_FORM = re.compile(r"[A-Z]{4}0[A-Z0-9]{6}", re.ASCII)


def is_ifsc(text: str) -> bool:
    return _FORM.fullmatch(text) is not None


def own_ifsc(branch: int) -> Ifsc:
    assert 0 < branch < 10**6, branch
    return Ifsc(f"CBSI0{branch:06}")
