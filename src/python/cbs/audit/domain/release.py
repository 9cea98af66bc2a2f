"""What the release gate said is kept as a fact, so that its proof is that of every other fact."""

from dataclasses import dataclass

from cbs.kernel.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseJudged(Event):
    """The gate gave a verdict on a version for an environment.

    `verdict` is the very text that was signed; `key` and `signature` are Ed25519's (RFC 8032), in
    hexadecimal. Whoever knows the operators' keys checks them; this service does not.
    """

    fact = "release-judged"
    about = "application"

    application: str
    version: str
    environment: str
    answer: str
    pex_sha256: str
    verdict: str
    key: str
    signature: str
