"""What a migration keeps waiting while it runs is squawk's to say: it knows PostgreSQL's locks."""

import subprocess

import msgspec

from cbs.tools.local.process import installed
from cbs.tools.release.migration_lint.modules import written

# Of squawk's rules those about locks and rewrites; the others are about taste, or what
# statements_of says with more knowledge of what is deployed.
RULES = {
    "adding-field-with-default",
    "adding-foreign-key-constraint",
    "adding-not-nullable-field",
    "adding-serial-primary-key-field",
    "ban-concurrent-index-creation-in-transaction",
    "changing-column-type",
    "constraint-missing-not-valid",
    "disallowed-unique-constraint",
    "require-concurrent-index-creation",
    "require-concurrent-index-deletion",
}
SQUAWK = ("--pg-version", "18.0", "--assume-in-transaction", "--reporter", "json")
SQUAWK_SECONDS_MAX, SAID_CHARACTERS_MAX = 30, 300


class LockFinding(msgspec.Struct):
    line: int
    rule_name: str
    message: str
    help: str | None = None


def locks(module_text: str) -> list[str]:
    """A sentence for each statement of a migration that keeps readers or writers waiting for as
    long as a table is large. What is made in the same migration is empty, and keeps nobody."""
    script = ";\n".join(piece for piece in written(module_text) if isinstance(piece, str))
    done = subprocess.run(
        [installed("squawk"), *SQUAWK],
        input=script,
        capture_output=True,
        text=True,
        timeout=SQUAWK_SECONDS_MAX,
    )
    try:
        found = msgspec.json.decode(done.stdout, type=list[LockFinding])
    except msgspec.DecodeError:
        why = (done.stderr or done.stdout).strip()[:SAID_CHARACTERS_MAX]
        return [f"squawk cannot say what it keeps waiting, so look yourself: {why}"]
    lines = script.splitlines()
    return [
        f"{lines[each.line].strip()}: {' '.join(filter(None, (each.message, each.help)))}"
        for each in found
        if each.rule_name in RULES
    ]
