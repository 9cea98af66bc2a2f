"""What went wrong, and what to do about it, in a line for who has to do it."""

import errno

LET_IN = "let this user read and write it (chown, chmod)"
NEXT_STEPS = {
    errno.EACCES: LET_IN,
    errno.EPERM: LET_IN,
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room on its disk",
    errno.EROFS: "have its disk mounted so that it can be written, or name another --data",
    errno.EIO: "have its disk looked at",
    errno.EISDIR: "move away the folder that lies there instead of a file",
    errno.ENOTDIR: "move away the file that lies there instead of a folder",
    errno.EEXIST: "move away what lies there",
    errno.ENOTEMPTY: "move away what lies there",
    errno.ENAMETOOLONG: "name a shorter --data",
    errno.EMFILE: "allow this user more open files (ulimit -n)",
}


def explained(error: BaseException) -> str:
    """The error in its own words; of a file, with its name and the next step."""
    said = str(error) or repr(error)
    step = NEXT_STEPS.get(error.errno or 0) if isinstance(error, OSError) else None
    return f"{said}\nnext: {step}" if step else said
