"""The gate's logic, with a fake bank: what it asks to be verified, what it says, what it keeps."""

import json
import os
import pwd
from datetime import timedelta

import msgspec
import pytest

from cbs.tools.release import review
from cbs.tools.release.gate.environments import There, environment
from cbs.tools.release.gate.gate import Gate
from cbs.tools.release.gate.history import PACTS, GitHistory, NoSuchVersion, NotAPact
from cbs.tools.release.gate.needs import ERROR_LINES_MAX, Need
from cbs.tools.release.gate.records import (
    RESULT_DAYS_MAX,
    Deployment,
    GateAnswer,
    PutAs,
    Verdict,
    current,
    now,
)
from cbs.tools.release.layout import NOW, SOURCES
from tests.release.place import SCHEMA, Bank, Place


def why(verdict: Verdict, answer: GateAnswer) -> str:
    return "; ".join(reason.why for reason in verdict.reasons if reason.answer is answer)


def test_all_that_is_deployed_must_hold_and_is_verified_with_one_bank(place: Place, base: str):
    verdict = place.may("ledger", base)

    assert verdict.answer is GateAnswer.YES
    assert place.bank.asked == [(base, ["payments-ledger", "partner-ledger"])]


def test_nothing_is_verified_again_that_did_not_change(place: Place, base: str):
    for application in ("ledger", "payments", "partner"):
        assert place.may(application, base).answer is GateAnswer.YES
    assert sorted(place.bank.pairs) == ["partner-ledger", "partner-payments", "payments-ledger"]
    place.bank.asked.clear()
    place.write("README.md", "Another commit, and the services are the same.\n")
    same = place.commit()
    place.write(f"{SOURCES}/payments/main.py", "changed = True\n")
    payments_changed = place.commit()

    for application in ("ledger", "payments", "partner"):
        assert place.may(application, same).answer is GateAnswer.YES
    assert place.bank.asked == []
    for application in ("ledger", "payments", "partner"):
        assert place.may(application, payments_changed).answer is GateAnswer.YES
    assert place.bank.asked == [(payments_changed, ["partner-payments"])]


def test_what_a_provider_calls_answers_for_it_too(place: Place, base: str):
    history = GitHistory(place.root)
    place.write(f"{SOURCES}/ledger/main.py", "changed = True\n")
    changed = place.commit()

    assert history.content("payments", base) != history.content("payments", changed)


def test_what_a_version_says_of_itself_its_code_must_say(place: Place, base: str):
    place.write(f"{SOURCES}/ledger/main.py", "changed = True\n")
    sha = place.commit()
    place.bank.stale = ("contracts/pacts/ledger-x.json",)

    verdict = place.may("ledger", sha)

    assert verdict.answer is GateAnswer.NO
    assert f"contracts/pacts/ledger-x.json of ledger@{sha[:10]} is not what its code says" in why(
        verdict, GateAnswer.NO
    )
    assert place.may("ledger", base).answer is GateAnswer.YES


def test_a_comment_answers_for_nothing(place: Place, base: str):
    for text in ("", "# a comment\n", '"""As a page shows it."""\n', "def f(\n"):
        place.write(f"{SOURCES}/ledger/more.py", f"{text}PAGE = (1,\n    2)  # and more\n")
        place.commit()
    history = GitHistory(place.root)
    unread, described, commented, plain = place.git("rev-list", "-4", "HEAD").split()

    assert history.content("ledger", plain) == history.content("ledger", commented)
    told = {history.content("ledger", each) for each in (commented, described, unread)}
    assert len(told) == 3


def test_a_no_names_who_breaks_whom_and_why(place: Place, base: str):
    place.bank.breaks = ("partner-ledger",)

    verdict = place.may("ledger", base)

    assert verdict.answer is GateAnswer.NO
    assert (
        why(verdict, GateAnswer.NO)
        == f"ledger@{base[:10]} breaks partner@{base[:10]}, ask: $.x is gone"
    )
    assert "expand" in next(r.todo for r in verdict.reasons if r.answer is GateAnswer.NO)


def test_without_a_run_what_was_never_verified_is_unknown(place: Place, base: str):
    verdict = place.may("ledger", base, run=False)

    assert verdict.answer is GateAnswer.UNKNOWN
    assert "was never verified" in why(verdict, GateAnswer.UNKNOWN)
    assert place.bank.asked == []


def test_an_old_result_is_made_again(place: Place, base: str):
    place.may("ledger", base)
    for each in place.store.results():
        each.at = now() - timedelta(days=RESULT_DAYS_MAX)
        place.store.keep(each)
    place.bank.breaks = ("payments-ledger",)

    assert place.may("ledger", base, run=False).answer is GateAnswer.UNKNOWN
    assert place.may("ledger", base).answer is GateAnswer.NO
    assert len(place.bank.asked) == 2


def test_a_state_that_fails_is_a_no_for_now_but_no_result_of_the_provider(place: Place, base: str):
    """Its fault may be another service's, which is none of the provider's content."""
    place.bank = Bank(breaks=("payments-ledger",), unready=True)
    assert place.may("ledger", base).answer is GateAnswer.NO
    assert place.store.results() == []

    place.bank = Bank()
    assert place.may("ledger", base).answer is GateAnswer.YES


def test_two_versions_of_a_consumer_have_a_bank_each(place: Place, base: str):
    """They register the same people under the same keys."""
    place.pact("partner", "ledger", "ask", "ask for more")
    newer = place.commit()
    place.deploy(newer, "partner", way=PutAs.RELEASED)

    assert place.may("ledger", newer).answer is GateAnswer.YES
    assert [pairs.count("partner-ledger") for _, pairs in place.bank.asked] == [1, 1]


def test_one_version_that_is_there_twice_is_verified_once(place: Place, base: str):
    place.write("README.md", "The same ledger.\n")
    place.deploy(place.commit(), "ledger", way=PutAs.RELEASED)

    place.may("partner", base)

    assert place.bank.pairs.count("partner-ledger") == 1


def test_a_version_that_does_not_come_up_is_a_no_of_its_own_and_unknown_of_anothers(place, base):
    place.bank.error = "the bank of this version does not come up"

    assert place.may("ledger", base).answer is GateAnswer.NO
    assert place.may("partner", base).answer is GateAnswer.UNKNOWN
    assert place.store.results() == []


def test_a_provider_that_is_not_deployed_is_a_no(place: Place):
    sha = place.commit()

    verdict = place.may("partner", sha)

    assert verdict.answer is GateAnswer.NO
    assert "no ledger is deployed to prod" in why(verdict, GateAnswer.NO)
    assert "no payments is deployed to prod" in why(verdict, GateAnswer.NO)


def test_a_version_that_cannot_be_looked_up_is_no_yes(place: Place, base: str):
    place.deploy("f" * 40, "payments")

    verdict = place.may("ledger", base)

    assert verdict.answer is GateAnswer.UNKNOWN
    assert "payments is in prod in a version that cannot be looked up" in why(
        verdict, GateAnswer.UNKNOWN
    )


def test_a_consumer_without_pacts_is_judged_by_the_schemas(place: Place):
    for file in (place.root / PACTS).iterdir():
        file.unlink()
    without = place.commit()
    place.pact("partner", "ledger", "ask")
    same = place.commit()
    changed = dict(SCHEMA, paths={})
    place.write("contracts/openapi/ledger.json", json.dumps(changed))
    broken = place.commit()
    place.deploy(without, "partner")

    assert place.may("ledger", same).answer is GateAnswer.YES
    verdict = place.may("ledger", broken)

    assert verdict.answer is GateAnswer.UNKNOWN
    assert "/v1/ledger/head" in why(verdict, GateAnswer.UNKNOWN)
    assert place.bank.asked == []


def test_a_pact_without_interactions_promises_nothing(place: Place, base: str):
    place.pact("partner", "ledger")

    verdict = place.may("partner", place.commit())

    assert verdict.answer is GateAnswer.UNKNOWN
    assert "no interactions" in why(verdict, GateAnswer.UNKNOWN)


def test_a_damaged_pact_is_named(place: Place):
    place.write(f"{PACTS}/partner-ledger.json", "{}")
    sha = place.commit()

    with pytest.raises(NotAPact, match=r"contracts/pacts/partner-ledger\.json of \w+ cannot be"):
        GitHistory(place.root).pacts(sha)


def test_what_is_seen_and_what_is_recorded_both_count(place: Place, base: str):
    other = place.commit()
    seen = [There("ledger", other), There("payments", f"{base[:12]}-dirty"), There("audit", "")]

    found = environment("prod", place.store.recorded("prod"), seen, GitHistory(place.root))

    assert set(found.versions("ledger")) == {base, other}
    assert found.versions("payments") == [base]
    assert found.unknown == {"audit"}
    said = "\n".join(found.findings)
    assert f"ledger@{base[:10]} is recorded in prod, but something else runs there" in said
    assert f"ledger@{other[:10]} runs in prod, but is not what was recorded" in said
    assert f"payments runs from a changed work tree of {base[:10]}" in said
    assert "audit is there in a version that nobody told" in said
    assert "partner" not in said


def test_a_recorded_service_that_does_not_run_is_found(place: Place, base: str):
    found = environment("prod", place.store.recorded("prod"), [], GitHistory(place.root))

    assert f"ledger@{base[:10]} is recorded in prod, but does not run there" in found.findings


def deployments(*steps: tuple[PutAs, str]) -> list[str]:
    first = Deployment(
        application="partner", version="", environment="prod", way=PutAs.DEPLOYED, at=now(), by="a"
    )
    recorded = [
        msgspec.structs.replace(first, way=way, version=version, at=first.at + timedelta(seconds=n))
        for n, (way, version) in enumerate(steps)
    ]
    return [each.version for each in current(recorded)]


@pytest.mark.parametrize(
    ("steps", "there"),
    [
        ([(PutAs.DEPLOYED, "1"), (PutAs.DEPLOYED, "2")], ["2"]),
        ([(PutAs.DEPLOYED, "1"), (PutAs.RELEASED, "2"), (PutAs.RELEASED, "3")], ["1", "2", "3"]),
        ([(PutAs.RELEASED, "1"), (PutAs.DEPLOYED, "2")], ["1", "2"]),
        ([(PutAs.RELEASED, "1"), (PutAs.RELEASED, "2"), (PutAs.UNDEPLOYED, "1")], ["2"]),
        ([(PutAs.DEPLOYED, "1"), (PutAs.UNDEPLOYED, "1")], []),
        ([(PutAs.DEPLOYED, "1"), (PutAs.UNDEPLOYED, "2")], ["1"]),
    ],
)
def test_what_is_there_after_all_that_was_recorded(steps, there):
    assert deployments(*steps) == there


def test_who_cleared_a_statement_is_named_in_the_verdict(place: Place, base: str):
    script = "-- expand: the trigger never did anything\\nDROP TRIGGER x ON t"
    text = f"sql_migration(script='{script}')\n"
    place.write(f"{SOURCES}/ledger/{NOW.migrations}/ledger_0002_quiet.py", text)

    verdict = place.may("ledger", place.commit())

    assert verdict.answer is GateAnswer.YES
    (told,) = [each.why for each in verdict.reasons if "ledger_0002_quiet.py" in each.why]
    assert "DROP TRIGGER x ON t" in told
    assert "by the word of Asha <asha@bank.example> in " in told
    assert told.endswith(": the trigger never did anything")


def test_that_a_migration_keeps_a_busy_table_waiting_is_a_note(place: Place, base: str):
    text = "sql_migration(script='CREATE INDEX posting_on ON posting (posted_on)')\n"
    place.write(f"{SOURCES}/ledger/{NOW.migrations}/ledger_0002_faster.py", text)

    verdict = place.may("ledger", place.commit())

    (note,) = [note for note in verdict.notes if "ledger_0002_faster.py" in note]
    assert verdict.answer is GateAnswer.YES
    assert "CREATE INDEX posting_on" in note and "updates are blocked" in note


def moved(place: Place, base: str) -> tuple[str, Gate]:
    """The ledger and payments are another, and payments reads another thing of the ledger."""
    for service in ("ledger", "payments"):
        place.write(f"{SOURCES}/{service}/main.py", "changed = True\n")
    place.pact("payments", "ledger", "ask otherwise")
    new = place.commit()
    place.bank.breaks_at = {base: (), new: ()}
    history = GitHistory(place.root)
    return new, Gate(history=history, store=place.store, run=place.bank, say=lambda _: None)


def test_of_two_that_must_go_in_an_order_it_is_named(place: Place, base: str):
    new, gate = moved(place, base)
    place.bank.breaks_at[base] = ("payments-ledger",)

    found = review.review_of(
        gate.history, gate, base, new, [review.whole(gate.history, "main", base)]
    )

    assert found.answer is GateAnswer.NO
    assert (found.orders, found.deadlocks) == ({"all of main": ["ledger", "payments"]}, {})
    assert "In all of main, in this order: ledger, payments." in review.as_markdown(found)


def test_two_of_whom_each_must_wait_for_the_other_are_named(place: Place, base: str):
    new, gate = moved(place, base)
    place.bank.breaks_at = {base: ("payments-ledger",), new: ("payments-ledger",)}

    found = review.review_of(
        gate.history, gate, base, new, [review.whole(gate.history, "main", base)]
    )

    assert (found.orders, found.deadlocks) == ({}, {"all of main": ["ledger", "payments"]})
    assert "none of ledger, payments can go before the others" in review.as_markdown(found)


def test_a_change_that_brings_a_service_is_reviewed_as_if_that_were_deployed_first(
    place: Place, base: str
):
    place.write(f"{SOURCES}/accounts/{NOW.declaration}", "DECLARATION = Declaration(calls=())\n")
    place.pact("accounts", "ledger", "ask")
    place.pact("partner", "accounts", "ask")
    new, history = place.commit(), GitHistory(place.root)
    gate = Gate(history=history, store=place.store, run=place.bank, say=lambda _: None)

    found = review.review_of(history, gate, base, new, [review.whole(history, "main", base)])

    assert {"accounts", "partner"} <= set(found.applications)
    assert found.answer is GateAnswer.YES, found.verdicts
    assert place.may("partner", new).answer is GateAnswer.NO
    # Of the deployed ledger it is asked whether it gives what the new service asks for.
    assert (base, ["accounts-ledger"]) in place.bank.asked


def test_what_runs_in_the_name_of_a_commit_from_other_bytes_is_told(place: Place, base: str):
    released = Deployment(
        application="ledger",
        version=base,
        environment="prod",
        way=PutAs.DEPLOYED,
        at=now(),
        by="asha",
        pex_sha256="a" * 64,
    )
    place.store.record(released)
    seen = [There("ledger", base, "b" * 64), There("ledger", base, "c" * 64)]

    notes = "\n".join(place.may("payments", base, seen=seen).notes)

    assert f"ledger@{base[:10]} runs in prod from 2 packages: SHA-256 " in notes
    assert f"and what was released there is {'a' * 64}" in notes
    honest = place.may("payments", base, seen=[There("ledger", base, "a" * 64)]).notes
    assert not [note for note in honest if "SHA-256" in note]


# --- by whom -------------------------------------------------------------------------------------

VERIFICATION = f"{SOURCES}/{NOW.verification}/verification.py"


def test_a_candidate_is_verified_by_the_program_of_what_was_promoted(place: Place, base: str):
    place.write(VERIFICATION, "held = True\n")
    place.write(f"{SOURCES}/ledger/main.py", "changed = True\n")
    liar = place.commit()

    place.may("ledger", liar)
    place.may("partner", liar)

    assert place.bank.asked[0][0] == liar and place.bank.verifiers[0] == base
    # What is promoted is verified by its own.
    assert {sha for sha, _ in place.bank.asked[1:]} == {base} == set(place.bank.verifiers[1:])


def test_what_another_program_has_verified_is_verified_again(place: Place, base: str):
    place.write(VERIFICATION, "held = True\n")
    place.write(f"{SOURCES}/ledger/main.py", "changed = True\n")
    liar = place.commit()
    by_itself = Gate(
        history=GitHistory(place.root), store=place.store, run=place.bank, say=lambda _: None
    )
    needs = [
        Need(pact, There(pact.consumer, base), There("ledger", liar))
        for pact in GitHistory(place.root).pacts(base)
        if pact.provider == "ledger"
    ]
    by_itself.verify(needs)
    assert place.bank.verifiers == [liar]
    place.bank.breaks = ("payments-ledger",)

    verdict = place.may("ledger", liar)

    assert place.bank.verifiers == [liar, base]
    assert verdict.answer is GateAnswer.NO
    place.may("ledger", liar)
    assert place.bank.verifiers == [liar, base]


def test_where_nothing_is_promoted_it_is_told_that_a_version_verifies_itself(place: Place):
    sha = place.commit()

    notes = place.may("ledger", sha).notes

    assert any("verifies itself: nothing is promoted in prod" in note for note in notes), notes
    place.deploy(sha, "payments")
    place.write("README.md", "of no service\n")
    assert not [n for n in place.may("ledger", place.commit()).notes if "verifies itself" in n]


def test_a_policy_names_the_verifier_and_a_candidate_cannot(place: Place, base: str):
    place.write(f"{SOURCES}/ledger/main.py", "changed = True\n")
    place.write("contracts/release.toml", 'verifier = "HEAD"\n')
    candidate = place.commit()
    place.may("ledger", candidate)
    assert place.bank.verifiers == [base]

    place.write("contracts/release.toml", f'verifier = "{base}"\n')
    promoted = place.commit()
    place.deploy(promoted, "ledger")
    place.write(VERIFICATION, "held = True\n")
    place.write(f"{SOURCES}/ledger/main.py", "changed = 'again'\n")
    place.may("ledger", place.commit())
    assert place.bank.verifiers[-1] == base


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("verifier =", "cannot be followed"),
        ("verifier = 7", "Expected `str`"),
        ('verifier = "v9"', "v9"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_said(place: Place, text: str, why: str):
    place.write("contracts/release.toml", f"{text}\n")
    place.deploy(place.commit(), "ledger")

    with pytest.raises(NoSuchVersion, match=why):
        place.may("payments", place.commit())


# --- how it is told ------------------------------------------------------------------------------


def test_a_bank_that_does_not_come_up_is_told_once_with_the_end_of_its_log(place: Place, base: str):
    place.bank.error = "\n".join(f"line {n}" for n in range(300)) + "\nNameError: tables"
    place.write(f"{SOURCES}/ledger/main.py", "changed = True\n")

    verdict = place.may("ledger", place.commit())

    (reason,) = [each for each in verdict.reasons if each.answer is GateAnswer.NO]
    assert f"what payments@{base[:10]}, partner@{base[:10]} ask of ledger@" in reason.why
    assert reason.why.endswith("NameError: tables")
    assert reason.why.count("\n") < ERROR_LINES_MAX


def test_what_many_interactions_have_in_common_is_told_once(place: Place):
    place.pact("partner", "ledger", *(f"ask {n}" for n in range(9)))
    base = place.commit()
    place.deploy(base, "ledger", "payments", "partner")
    place.bank.breaks = ("partner-ledger",)
    place.bank.many = 9
    place.write(f"{SOURCES}/ledger/main.py", "changed = True\n")

    verdict = place.may("ledger", place.commit())

    (reason,) = [each for each in verdict.reasons if each.answer is GateAnswer.NO]
    assert "ask 0, ask 1, ask 2 and 6 more: $.x is gone" in reason.why


def test_who_says_it_is_whom_the_system_knows(place: Place, base: str, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "mallory")

    assert place.may("ledger", base).by == pwd.getpwuid(os.getuid()).pw_name


WIDER = "sql_migration(script='ALTER TABLE posting ADD COLUMN note text')\n"


@pytest.mark.parametrize("knows", [True, False])
def test_the_version_that_runs_is_tried_over_the_schema_that_comes(place: Place, knows: bool):
    """A verifier of before that could be done is a note: it must not keep a release back."""
    program = f"{SOURCES}/{NOW.verification}/program.py"
    place.write(program, "OPTION = '--migrations'\n" if knows else "")
    base = place.commit()
    place.deploy(base, "ledger", "payments", "partner")
    place.write(f"{SOURCES}/ledger/{NOW.migrations}/ledger_0002_wider.py", WIDER)
    wider = place.commit()

    verdict = place.may("ledger", wider)

    assert verdict.answer is GateAnswer.YES, verdict.reasons
    assert (wider in place.bank.overs) is knows
    over = f"with ledger@{base[:10]} over the schema of {wider[:10]} holds"
    assert any(over in each.why for each in verdict.reasons) is knows
    note = f"ledger@{base[:10]} was not tried over the newer schema"
    assert any(note in each for each in verdict.notes) is not knows


def test_one_that_breaks_over_the_schema_that_comes_is_a_no(place: Place):
    place.write(f"{SOURCES}/{NOW.verification}/program.py", "OPTION = '--migrations'\n")
    base = place.commit()
    place.deploy(base, "ledger", "payments", "partner")
    place.may("ledger", base)
    place.write(f"{SOURCES}/ledger/{NOW.migrations}/ledger_0002_wider.py", WIDER)
    wider = place.commit()
    place.bank.breaks_at = {base: ("partner-ledger",), wider: ("none",)}

    verdict = place.may("ledger", wider)

    (no,) = [each for each in verdict.reasons if each.answer is GateAnswer.NO]
    assert f"ledger@{base[:10]} over the schema of {wider[:10]} breaks partner@" in no.why
    assert "only add" in no.todo
