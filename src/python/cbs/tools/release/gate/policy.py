"""What a bank decided about its releases, in `contracts/release.toml` of what was promoted last: so
no candidate names its own judge, and nobody makes himself a signer.

    verifier = "promoted"            # or a tag or a commit: whose program verifies a candidate

    [signers.asha]
    key = "…"                        # the public half, as ./cbs release key FILE prints it
    environments = ["prod"]          # "*" is any; where nobody is named, any key counts
    retired = ["…"]                  # keys before it: what they signed counts
    revoked = ["…"]                  # lost keys: nothing that they signed counts
"""

from enum import StrEnum

import msgspec

from cbs.tools.release.gate.history import SHORT, GitHistory, NoSuchVersion
from cbs.tools.release.layout import NOW

FILE, PROMOTED, ANY = "contracts/release.toml", "promoted", "*"
Key = str


class NotAPolicy(NoSuchVersion):
    """The policy of a promoted commit cannot be followed; it says why."""


class Signing(StrEnum):
    """What a key's signature is worth in an environment."""

    GOOD = "good"
    RETIRED = "retired"
    REVOKED = "revoked"
    STRANGER = "stranger"


class Signer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: Key
    environments: list[str]
    retired: list[Key] = []
    revoked: list[Key] = []


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    verifier: str = PROMOTED
    signers: dict[str, Signer] = {}

    def signing(self, key: Key, environment: str) -> Signing:
        signers = self.signers.values()
        if any(key in each.revoked for each in signers):
            return Signing.REVOKED
        here = [e for e in signers if {environment, ANY} & set(e.environments)]
        if not here or any(key == each.key for each in here):
            return Signing.GOOD
        if any(key in each.retired for each in here):
            return Signing.RETIRED
        return Signing.STRANGER


def policy_of(history: GitHistory, promoted: str) -> Policy:
    """Raises NotAPolicy. One that says nothing, of a commit that has none."""
    text = history.file(promoted, FILE) if promoted else None
    try:
        return msgspec.toml.decode(text or b"", type=Policy)
    except ValueError as error:  # msgspec's are ValueErrors, too
        raise NotAPolicy(f"{FILE} of {promoted[:SHORT]} cannot be followed: {error}") from None


def verifier(history: GitHistory, policy: Policy, promoted: str) -> str:
    """The commit whose program verifies what is not promoted; "" if there is none that could."""
    if not promoted:
        return ""
    sha = promoted if policy.verifier == PROMOTED else history.sha(policy.verifier)
    return sha if history.layout(sha) is NOW else ""


def why(environment: str, promoted: str) -> str:
    """Why there is none."""
    if not promoted:
        return f"nothing is promoted in {environment} whose program could"
    return f"the program of {promoted[:SHORT]} knows only banks that are laid out as it is"
