"""A port belongs to one bank on this machine from when it is chosen, not from when it is bound."""

import socket

TRIES_MAX = 400


class Claim:
    """Holds a port against other banks (not against strangers) until released or the process ends.

    An abstract Unix socket named after the port is the lock: the kernel drops it with its holder.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._lock = socket.socket(socket.AF_UNIX)
        try:
            self._lock.bind(f"\0cbs-port-{port}")
        except OSError:
            self._lock.close()
            raise

    def release(self) -> None:
        self._lock.close()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # A port in TIME_WAIT is free to a server; one that somebody listens on is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose(*wanted: int) -> Claim:
    """The first of the wanted ports that is free, or the next free one above the last of them."""
    for port in (*wanted, *range(wanted[-1] + 1, wanted[-1] + TRIES_MAX)):
        try:
            claim = Claim(port)
        except OSError:
            continue
        if is_free(port):
            return claim
        claim.release()
    raise OSError(f"no free port from {wanted[-1]} to {wanted[-1] + TRIES_MAX}")


def is_open(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=0.5).close()
    except OSError:
        return False
    return True
