"""One rule for all free text: a line that people can read, in one form of Unicode.

What is not seen is not written: controls, ends of lines, and what turns the direction of reading
(Unicode TR 36). The joiners of Indic scripts stay. And there is something to be seen.
"""

import re
import unicodedata

# Controls, soft hyphen, ends of lines, marks of direction, and what has no width.
UNWRITABLE = (
    r"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    r"\ufff9-\ufffb"
)
# Spaces, fillers and what only changes its neighbour: of these alone no text is made.
UNSEEN = r"\s\u034f\u115f\u1160\u17b4\u17b5\u200c\u200d\u2800\u3164\ufe00-\ufe0f\uffa0"
# As a contract has them; an end of the line is no part of what Python's $ lets pass.
_SEEN = f"[^{UNWRITABLE}]*[^{UNWRITABLE}{UNSEEN}][^{UNWRITABLE}]*"
LINE, LINE_OR_NOTHING = f"^{_SEEN}$(?!\\n)", f"^(?:{_SEEN})?$(?!\\n)"

_line = re.compile(LINE)
# What JSON cannot bring (halves of a pair), and tags, which a contract's dialect cannot name.
BEYOND = re.compile("[\\ud800-\\udfff\\U000e0000-\\U000e007f]")


def is_line(text: str) -> bool:
    return _line.search(text) is not None and BEYOND.search(text) is None


def in_one_form(text: str) -> str:
    """As it is kept: Unicode's normal form C, without white space around it."""
    return unicodedata.normalize("NFC", text).strip()


def searchable(text: str) -> str:
    """What is equal whatever its form or case (Unicode 3.13, D146)."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", folded)
