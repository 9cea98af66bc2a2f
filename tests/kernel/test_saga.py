from uuid import UUID

from cbs.kernel import saga as kernel
from cbs.kernel.saga import Outcome, Requester, Saga
from tests import published

ASKED = Requester(principal="tara", key="k")


def test_names_that_are_published_do_not_change():
    assert published.refusals(kernel) == {"saga-under-way": "unavailable"}


def test_a_saga_begins_without_a_refusal_and_for_its_principal_alone():
    begun = Saga(id=UUID(int=1), kind="opening", step="noted", data=7, requester=ASKED)

    assert (begun.refusal, begun.refusal_code, begun.tries) == (None, "", 0)
    assert (ASKED.on_behalf_of, ASKED.correlation_id) == ("", "")


def test_an_outcome_changes_nothing_unless_it_says_so():
    nothing: Outcome[object] = Outcome()

    assert nothing == Outcome(data=None, answer=None, events=())
    assert (nothing.data, nothing.answer) == (None, None)
