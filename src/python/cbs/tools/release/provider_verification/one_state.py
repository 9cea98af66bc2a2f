"""Brings about one state of this tree, in a bank that another commit's verification has brought up.

    python -m cbs.tools.release.provider_verification.one_state FOLDER PROVIDER NAME PARAMS

A state that is new comes with the commit that wants it. It does so in a process of its own: code of
the commit that is judged is not let into the process that judges it. Prints, as JSON, what the
provider made (ids), by name; exit 1 and why if it could not be brought about.
"""

import sys
from pathlib import Path

import msgspec

from cbs.tools.local.folder import Folder
from cbs.tools.local.process import CannotStart
from cbs.tools.release.provider_verification.states import bring_about
from cbs.tools.release.provider_verification.world import NotAsAsked, joined

DONE, NO, USAGE = 0, 1, 2


def main() -> int:
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        return USAGE
    folder, provider, name, params = sys.argv[1:]
    try:
        with joined(Folder.at(Path(folder))) as bank:
            values = bring_about(bank, provider, name, msgspec.json.decode(params))
    except (NotAsAsked, CannotStart) as error:
        print(error, file=sys.stderr)
        return NO
    print(msgspec.json.encode(values).decode())
    return DONE


if __name__ == "__main__":
    sys.exit(main())
