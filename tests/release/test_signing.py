"""What was not signed by who may, or is not as it was signed, counts for nothing."""

import json
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cbs.tools.release.gate import signatures
from cbs.tools.release.gate.environments import environment
from cbs.tools.release.gate.history import GitHistory
from cbs.tools.release.gate.matrix import FORGED, matrix_of, only
from cbs.tools.release.gate.records import GateAnswer, PutAs, Result
from cbs.tools.release.gate.signatures import public_half
from cbs.tools.release.layout import SOURCES
from tests.release.place import Place

ASHA, BINA, CARL = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))


def policy(place: Place, **asha: object) -> str:
    """Promoted: only Asha signs for prod."""
    signer = {"key": public_half(ASHA), "environments": ["prod"], **asha}
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in signer.items())
    place.write("contracts/release.toml", f"[signers.asha]\n{text}\n")
    sha = place.commit()
    place.deploy(sha, "payments", "ledger", "partner", key=ASHA)
    return sha


def result_files(place: Place) -> list[Path]:
    return sorted((place.root.with_name("store") / "results").iterdir())


def changed(place: Place) -> str:
    place.write(f"{SOURCES}/ledger/main.py", "changed = True\n")
    return place.commit()


def edited(file: Path) -> None:
    text = file.read_text()
    assert '"held":false' in text
    file.write_text(text.replace('"held":false', '"held":true').replace("$.x is gone", ""))


def resigned(file: Path, key: Ed25519PrivateKey) -> None:
    result = msgspec.json.decode(file.read_bytes(), type=Result)
    for outcome in result.outcomes:
        outcome.held = True
    signatures.sign(result, key)
    file.write_bytes(msgspec.json.encode(result))


def test_a_result_that_was_edited_does_not_count(place: Place, base: str):
    place.bank.breaks = ("payments-ledger", "partner-ledger")
    sha = changed(place)
    assert place.may("ledger", sha, key=ASHA).answer is GateAnswer.NO
    for file in result_files(place):
        edited(file)

    assert place.may("ledger", sha, run=False, key=ASHA).answer is GateAnswer.UNKNOWN
    assert place.may("ledger", sha, key=ASHA).answer is GateAnswer.NO
    assert place.may("ledger", sha, run=False, key=BINA).answer is GateAnswer.NO


def test_one_that_nobody_signed_is_made_again(place: Place, base: str):
    sha = changed(place)
    place.may("ledger", sha, key=None)
    before = len(place.bank.asked)

    place.may("ledger", sha, key=ASHA)
    place.may("ledger", sha, key=ASHA)

    assert len(place.bank.asked) == before + 1


@pytest.mark.parametrize(
    ("by", "asha", "counts"),
    [
        (BINA, {}, False),
        (BINA, {"retired": [public_half(BINA)]}, True),
        (BINA, {"revoked": [public_half(BINA)]}, False),
        (ASHA, {}, True),
    ],
)
def test_who_signed_a_result_decides_whether_it_counts(
    place: Place, base: str, by: Ed25519PrivateKey, asha: dict[str, object], counts: bool
):
    policy(place, **asha)
    place.bank.breaks = ("payments-ledger", "partner-ledger")
    sha = changed(place)
    place.may("ledger", sha, key=ASHA)
    for file in result_files(place):
        resigned(file, by)

    wanted = GateAnswer.YES if counts else GateAnswer.UNKNOWN
    assert place.may("ledger", sha, run=False, key=ASHA).answer is wanted


@pytest.mark.parametrize(
    ("key", "asha", "told"),
    [
        (BINA, {}, "(stranger)"),
        (BINA, {"retired": [public_half(BINA)]}, "(retired)"),
        (BINA, {"revoked": [public_half(BINA)], "environments": ["*"]}, "(revoked)"),
    ],
)
def test_who_may_not_sign_for_an_environment_gets_no_yes(
    place: Place, base: str, key: Ed25519PrivateKey, asha: dict[str, object], told: str
):
    sha = policy(place, **asha)

    verdict = place.may("ledger", sha, key=key)

    assert verdict.answer is GateAnswer.UNKNOWN
    (reason,) = [each for each in verdict.reasons if each.answer is GateAnswer.UNKNOWN]
    assert "may not sign for prod" in reason.why and told in reason.why
    assert place.may("ledger", sha, key=ASHA).answer is GateAnswer.YES


def test_nobody_makes_himself_a_signer(place: Place, base: str):
    policy(place)
    signer = {"key": public_half(CARL), "environments": ["*"]}
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in signer.items())
    place.write("contracts/release.toml", f"[signers.carl]\n{text}\n")

    verdict = place.may("ledger", place.commit(), key=CARL)

    assert verdict.answer is GateAnswer.UNKNOWN


def records(place: Place) -> list[Path]:
    return sorted((place.root.with_name("store") / "deployments" / "prod").iterdir())


@pytest.mark.parametrize("key", [None, BINA])
def test_that_a_consumer_is_gone_is_believed_of_who_may_say_so(
    place: Place, base: str, key: Ed25519PrivateKey | None
):
    policy(place)
    place.bank.breaks = ("partner-ledger",)
    sha = changed(place)
    place.deploy("", "partner", way=PutAs.UNDEPLOYED, key=key)

    refused = place.may("ledger", sha, key=ASHA)

    assert refused.answer is GateAnswer.NO
    assert "that partner is gone from prod nobody said who may (stranger)" in refused.notes
    place.deploy("", "partner", way=PutAs.UNDEPLOYED, key=ASHA)
    assert place.may("ledger", sha, key=ASHA).answer is GateAnswer.YES


def test_a_record_that_was_edited_takes_nothing_away(place: Place, base: str):
    policy(place)
    place.bank.breaks = ("partner-ledger",)
    place.deploy(base, "payments", key=ASHA)
    newest = records(place)[-1]
    text = newest.read_text()
    newest.write_text(text.replace('"payments"', '"partner"').replace('"deployed"', '"undeployed"'))

    verdict = place.may("ledger", changed(place), key=ASHA)

    assert verdict.answer is GateAnswer.NO
    assert any("is gone from prod nobody said who may (forged)" in each for each in verdict.notes)


def test_nobody_promotes_his_own_policy_with_a_record(place: Place, base: str):
    policy(place)
    signer = {"key": public_half(CARL), "environments": ["*"]}
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in signer.items())
    place.write("contracts/release.toml", f"[signers.carl]\n{text}\n")
    own = place.commit()
    place.deploy(own, "ledger", key=CARL)

    verdict = place.may("ledger", own, key=CARL)

    assert verdict.answer is GateAnswer.UNKNOWN
    assert "was recorded in prod by nobody who may (stranger)" in " ".join(verdict.notes)


def test_the_matrix_has_the_newest_of_each_pair_first_and_can_be_narrowed(place: Place, base: str):
    sha = changed(place)
    place.may("ledger", sha, key=ASHA)
    history = GitHistory(place.root)
    prod = environment("prod", place.store.recorded("prod"), None, history)

    whole = matrix_of(history, place.store, sha, [prod])
    pairs = [(each.consumer, each.provider) for each in whole.cells]
    narrow = only(whole, consumer="payments", provider="ledger", environment="")
    there = only(whole, consumer="payments", provider="ledger", environment="prod")

    assert pairs == sorted(pairs)
    versions = [(each.consumer_version, each.provider_version) for each in narrow.cells]
    assert versions == [(sha, sha), (sha, base), (base, sha), (base, base)]
    assert {(each.consumer_version, each.provider_version) for each in there.cells} == {
        (base, base)
    }
    assert all(each.by for each in narrow.cells if each.at)


def test_the_matrix_shows_what_was_forged(place: Place, base: str):
    place.bank.breaks = ("payments-ledger", "partner-ledger")
    sha = changed(place)
    place.may("ledger", sha, key=ASHA)
    for file in result_files(place):
        edited(file)
    history = GitHistory(place.root)
    prod = environment("prod", place.store.recorded("prod"), None, history)

    cells = matrix_of(history, place.store, sha, [prod]).cells

    forged = [each for each in cells if each.result == FORGED]
    assert {each.consumer for each in forged} == {"payments", "partner"}
