"""PEXes that unpack themselves for the first time, and at once, can undo each other's work.

PEX 2.1.137 clears all that it knows of interpreters where it finds nothing of this system, which is
also what another's first steps look like; the other then fails. Where the system has its place
before any of them starts, nobody clears anything.
"""

import hashlib
import platform
from pathlib import Path


def make(root: Path) -> list[Path]:
    """Folders for PEX_ROOT, those that PEXes are to write to among them."""
    system = f"{platform.release()}{platform.version()}".encode()
    known = root / "interpreters"
    place = known / hashlib.sha1(system, usedforsecurity=False).hexdigest()
    place.mkdir(parents=True, exist_ok=True)
    return [root, known, place]
