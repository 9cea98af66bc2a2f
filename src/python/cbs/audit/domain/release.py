"""What the release gate said is kept as a fact, so that its proof is that of every other fact."""

from dataclasses import dataclass

from cbs.kernel.event import Event
from cbs.kernel.refusal import Refusal


class NotSigned(Refusal):
    """The signature is not of this text by this key, or the text says something else."""

    code = "not-signed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseJudged(Event):
    """The gate gave a verdict on a version for an environment.

    `verdict` is the very text that was signed; `key` and `signature` are Ed25519's (RFC 8032), in
    hexadecimal, and are checked before it is kept. Whose key it is, who knows the operators tells.
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
