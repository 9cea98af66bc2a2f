"""What every service says in the same words: refusals, answers, events and who was behind them."""

import pytest

from cbs.kernel import refusal as kernel
from cbs.kernel.answer import Answer
from cbs.kernel.event import Event, Origin
from cbs.kernel.principal import Kind
from cbs.kernel.published import published_as
from cbs.kernel.refusal import Refusal, RefusalKind
from tests import published


def test_names_that_are_kept_or_published_do_not_change():
    assert [*Kind] == ["user", "service"]
    assert published.refusals(kernel) == {
        "refused": "conflict",
        "malformed": "malformed",
        "not-signed-in": "unauthenticated",
        "not-permitted": "not-allowed",
        "key-reused": "conflict",
        "busy": "busy",
        "unavailable": "unavailable",
    }


@pytest.mark.parametrize("kind", RefusalKind)
def test_a_business_no_lasts_and_all_else_may_be_asked_again(kind):
    class No(Refusal):
        code = "no"

    No.kind = kind

    assert No().lasting is (kind in {"not-found", "conflict"})


def test_a_refusal_says_what_it_was_told_and_nothing_by_itself():
    told = kernel.Malformed("amount_minor: out of range")

    assert (told.detail, str(told)) == ("amount_minor: out of range",) * 2
    assert (kernel.Malformed().detail, str(kernel.Malformed())) == ("", "")


def test_refusals_and_events_have_a_name_that_no_class_gives_them():
    with pytest.raises(AssertionError, match="TooLate does not say its code"):

        class TooLate(Refusal):
            pass

    with pytest.raises(AssertionError, match="ThingDone does not say its fact"):

        class ThingDone(Event):
            about = "thing"


@pytest.mark.parametrize(
    ("status", "refuses"), [(201, False), (399, False), (400, True), (409, True)]
)
def test_an_answer_refuses_from_400_up(status, refuses):
    assert Answer(status=status, body=b"").is_refusal is refuses


def test_behind_an_event_is_its_actor_and_nobody_else_unless_it_is_said():
    origin = Origin(actor="tara")

    assert (origin.on_behalf_of, origin.correlation_id, origin.causation_id) == ("", "", "")


def test_a_type_keeps_its_published_name_and_page():
    @published_as("Money")
    class Sum:
        pass

    @published_as("cbs.old.place.Money")
    class Amount:
        pass

    assert (Sum.__name__, Sum.__qualname__, Sum.__module__) == ("Money", "Money", __name__)
    assert (Amount.__name__, Amount.__module__) == ("Money", "cbs.old.place")
