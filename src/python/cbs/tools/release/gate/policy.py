"""By whose program a candidate is verified: that of a commit which passed the gate before it.

`contracts/release.toml` may name another (`verifier = "v7"`, a tag or a commit), read from the
promoted commit, too: no candidate can name its own judge.
"""

import tomllib

from cbs.tools.release.gate.environments import Environment
from cbs.tools.release.gate.history import SHORT, GitHistory, NoSuchVersion
from cbs.tools.release.layout import NOW

FILE, PROMOTED = "contracts/release.toml", "promoted"


class NotAPolicy(NoSuchVersion):
    """The policy of a promoted commit cannot be followed; it says why."""


def verifier(history: GitHistory, promoted: str) -> str:
    """The commit whose program verifies what is not promoted; "" if there is none that could."""
    if not promoted:
        return ""
    named = _named(history, promoted)
    sha = promoted if named == PROMOTED else history.sha(named)
    return sha if history.layout(sha) is NOW else ""


def why(environment: Environment) -> str:
    """Why there is none."""
    if not environment.promoted:
        return f"nothing is promoted in {environment.name} whose program could"
    return (
        f"the program of {environment.promoted[:SHORT]} knows only banks that are laid out as it is"
    )


def _named(history: GitHistory, promoted: str) -> str:
    text = (history.file(promoted, FILE) or b"").decode(errors="replace")
    try:
        named = tomllib.loads(text).get("verifier", PROMOTED)
    except tomllib.TOMLDecodeError as error:
        raise NotAPolicy(f"{FILE} of {promoted[:SHORT]} cannot be read: {error}") from None
    if not isinstance(named, str):
        raise NotAPolicy(f"{FILE} of {promoted[:SHORT]}: verifier is no string")
    return named
