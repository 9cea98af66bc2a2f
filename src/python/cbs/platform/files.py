"""A file that others read is replaced, never written to."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write for the owner alone; a reader sees the old text or the new, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
