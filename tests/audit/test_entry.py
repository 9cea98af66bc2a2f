"""What is kept of what was heard: each record once, and never another in its place."""

from dataclasses import replace

import pytest

from cbs.audit.domain import proof, release
from cbs.audit.domain.entry import HistoryRewritten, not_yet_kept
from cbs.kernel import merkle
from tests import published
from tests.audit.facts import record

FIRST, SECOND, OTHERS = record("ledger", 1), record("ledger", 2), record("payments", 1)


def test_a_record_is_known_by_its_source_and_position_and_hashed_by_its_bytes():
    assert FIRST.origin == ("ledger", 1)
    assert FIRST.leaf_hash == merkle.leaf_hash(FIRST.body)


def test_records_are_kept_once_in_the_order_of_hearing():
    heard = [SECOND, FIRST, SECOND, OTHERS, FIRST]

    assert not_yet_kept(heard, {}) == [SECOND, FIRST, OTHERS]
    assert not_yet_kept(heard, {FIRST.origin: FIRST.leaf_hash}) == [SECOND, OTHERS]
    assert not_yet_kept([], {FIRST.origin: FIRST.leaf_hash}) == []


def test_a_source_that_says_something_else_than_before_rewrites_history():
    other = replace(FIRST, body=FIRST.body + b" ")

    for heard, kept in (([other], {FIRST.origin: FIRST.leaf_hash}), ([FIRST, other], {})):
        with pytest.raises(HistoryRewritten, match="ledger at 1"):
            not_yet_kept(heard, kept)


def test_names_that_are_kept_or_published_do_not_change():
    assert published.facts(release) == {"release-judged": "application"}
    assert published.refusals(proof) == {
        "no-such-entry": "not-found",
        "no-such-tree": "not-found",
        "trees-not-in-order": "conflict",
    }
