"""`python -m cbs.tools.release.pacts.program FOLDER` writes all pacts into a new folder."""

import sys
from pathlib import Path

from cbs.tools.release.pacts.all_pacts import written

if __name__ == "__main__":
    written(Path(sys.argv[1]))
