"""A verdict is kept as it was signed, or not at all."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.audit.refusals import SAID, verdict

OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
TEXT = json.dumps(SAID)


async def answer(served, body: dict[str, str]) -> tuple[int, str]:
    async with served.client("gate", "audit.record") as client:
        kept = await client.post(
            "/v1/audit/verdicts", json=body, headers={"Idempotency-Key": "verdict-0001"}
        )
    return kept.status_code, kept.json().get("type", "").rpartition(":")[2]


async def test_what_was_signed_is_kept(served):
    assert await answer(served, verdict()) == (201, "")


@pytest.mark.parametrize(
    "forged",
    [
        verdict(verdict=TEXT.replace('"yes"', '"no"'), answer="no"),
        verdict(key=OTHER.public_key().public_bytes_raw().hex()),
        verdict(key="f" * 64),
        verdict(signature=OTHER.sign(TEXT.encode()).hex()),
        verdict(signature="0" * 128),
        verdict(text="[]"),
        verdict(text="no JSON at all"),
        verdict(text="{}"),
        *(
            verdict(**{name: value})
            for name, value in {
                "application": "payments",
                "version": "1" * 40,
                "environment": "laptop",
                "answer": "no",
                "pex_sha256": "a" * 64,
            }.items()
        ),
    ],
)
async def test_what_was_not_is_refused_and_no_fact(served, forged):
    assert await answer(served, forged) == (409, "not-signed")

    outbox = await served.service.runtime.postgres.fetch("SELECT subject FROM outbox")
    assert not [row for row in outbox if "release-judged" in row["subject"]]
