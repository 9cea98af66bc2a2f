"""What a process says of itself, on loopback or on another host."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from cbs.gateway.places import routed

ANSWER_BYTES_MAX = 1 << 20


def get(port: int, path: str, *, seconds: float = 1) -> tuple[int, bytes]:
    return get_at(f"http://127.0.0.1:{port}", path, seconds=seconds)


def get_at(url: str, path: str, *, seconds: float) -> tuple[int, bytes]:
    """Status and body of one plain GET; status 0, and why, when nobody answered."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error).encode()
    finally:
        connection.close()


def readiness(port: int) -> tuple[bool, dict[str, Any]]:
    """Whether a service says that it is ready, and all that it said."""
    status, body = get(port, "/health/ready", seconds=2)
    try:
        said = json.loads(body)
    except ValueError:
        said = {}
    return status == 200, said if isinstance(said, dict) else {}


def routes_to(admin_port: int) -> frozenset[str]:
    """The services for which the edge knows an instance at this moment."""
    return routed(get(admin_port, "/clusters")[1].decode())
