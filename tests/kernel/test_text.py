"""Free text is a line that people can read; whatever its form or case, it is found."""

import sys
import unicodedata

import pytest

from cbs.kernel.text import in_one_form, is_line, searchable

JOINED = "\u0915\u094d\u200d\u0937"


@pytest.mark.parametrize(
    "text", ["rent", " a b ", "\u0930\u092e\u0947\u0936", JOINED, "Ærø", "👩\u200d👧", "\u0667"]
)
def test_what_people_write_is_a_line(text):
    assert is_line(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\u00a0\u2003",
        "\u200b",
        "\u3164",
        "\u2800",
        "\u115f\u1160",
        "\u200d\u200c",
        "\ufe0f",
    ],
)
def test_what_nobody_can_see_is_none(text):
    assert not is_line(text)


@pytest.mark.parametrize(
    "unwritable",
    [
        "\n",
        "\x00",
        "\x7f",
        "\u0085",
        "\u2028",
        "\u2029",
        "\u202e",
        "\u2066",
        "\u200b",
        "\u200f",
        "\ufeff",
    ],
)
def test_one_character_that_nobody_sees_spoils_a_text(unwritable):
    for text in (f"{unwritable}rent", f"re{unwritable}nt", f"rent{unwritable}"):
        assert not is_line(text), ascii(text)


def test_every_control_and_mark_of_direction_is_unwritable():
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        bidi = unicodedata.bidirectional(character)
        turns = bidi in ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
        if turns or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            assert not is_line(f"a{character}b"), ascii(character)


def test_a_text_is_kept_in_one_form():
    assert in_one_form(" Ame\u0301lie ") == "Am\u00e9lie"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ame\u0301lie", "AM\u00c9LIE"),
        ("\uff21sha", "asha"),
        ("Stra\u00dfe", "STRASSE"),
        ("\ufb01n", "FIN"),
    ],
)
def test_what_is_equal_to_people_is_found(one, other):
    assert searchable(one) == searchable(other)
