"""`python -m cbs.release.expecting.program FOLDER` writes all pacts into a new folder."""

import sys
from pathlib import Path

from cbs.release.expecting.pacts import written

if __name__ == "__main__":
    written(Path(sys.argv[1]))
