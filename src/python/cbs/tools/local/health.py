"""What a process says of itself on loopback."""

import http.client
import json
from typing import Any

from cbs.gateway.places import routed

ANSWER_BYTES_MAX = 1 << 20


def get(port: int, path: str, *, seconds: float = 1) -> tuple[int, bytes]:
    """Status and body of one plain GET; status 0 when nobody answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException):
        return 0, b""
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
