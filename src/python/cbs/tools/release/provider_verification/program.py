"""Verifies pacts against the bank of this tree, as a process of its own.

    python -m cbs.tools.release.provider_verification.program OUT PACT...
        [--from-pex DIST] [--tree FOLDER] [--states FOLDER] [--migrations FOLDER]

Another commit's gate runs this commit's program, so its words and what it writes to OUT are an
interface: a Report in JSON. With --tree the bank is another commit's, and with --states what this
program knows no state for comes from there. With --migrations those of a newer commit have run for
the pacts' providers, too, while the bank was up.
Progress goes to standard error, pact's own words into OUT's log.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec

from cbs.tools.local.process import CannotStart
from cbs.tools.release.provider_verification.report import VerificationReport
from cbs.tools.release.provider_verification.verification import (
    NothingToVerify,
    provider_of,
    verify,
)
from cbs.tools.release.provider_verification.world import world

DONE, USAGE = 0, 2


def main() -> int:
    words = sys.argv[1:]
    dist, tree = _taken_out(words, "--from-pex"), _taken_out(words, "--tree")
    candidate, newer = _taken_out(words, "--states"), _taken_out(words, "--migrations")
    if len(words) < 2:
        print(__doc__, file=sys.stderr)
        return USAGE
    out, *pacts = map(Path, words)
    report = VerificationReport()
    with _quietly(out.with_suffix(".log")) as say:
        try:
            say("bringing up the bank of this version")
            with world(dist, tree, candidate) as bank:
                if newer is not None:
                    for service in sorted({*map(provider_of, pacts)}):
                        say(f"the migrations of {service} that are newer")
                        bank.migrate(service, newer)
                for n, pact in enumerate(pacts, 1):
                    say(f"{n} of {len(pacts)}: {pact.stem}")
                    report.verified.append(verify(bank, pact))
        except CannotStart as error:
            report.error = f"the bank of this version does not come up: {error}"
        except NothingToVerify as error:
            report.error = str(error)
    out.write_bytes(msgspec.json.encode(report))
    return DONE


def _taken_out(words: list[str], option: str) -> Path | None:
    if option not in words:
        return None
    at = words.index(option)
    _, value = words[at : at + 2]
    del words[at : at + 2]
    return Path(value)


@contextmanager
def _quietly(log: Path) -> Iterator[Callable[[str], None]]:
    """pact writes to the file descriptors themselves; what it says goes into the log."""
    with suppress(ValueError):
        sys.stdout.flush()
    told = os.fdopen(os.dup(2), "w", buffering=1)
    with log.open("wb") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        yield partial(print, file=told)


if __name__ == "__main__":
    sys.exit(main())
