"""What a process says of itself, on loopback or on another host."""

import asyncio
import http.client
import json
import struct
from typing import Any
from urllib.parse import urlsplit

from cbs.gateway.places import routed

ANSWER_BYTES_MAX = 1 << 20
# NATS speaks first; PostgreSQL says a letter to who asks for encryption, without knowing who it is.
OPENINGS = {"nats": b"", "postgres": struct.pack("!II", 8, 80877103)}
HTTP_OPENING = b"GET /health/live HTTP/1.1\r\nHost: bank\r\nConnection: close\r\n\r\n"


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


async def answers(name: str, port: int, *, seconds: float) -> bool:
    """Whether a part does anything when it is spoken to, be it that it refuses or hangs up: who has
    too much to do is at work. A part that stands still lets one wait; a drained one is not there.
    """
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(OPENINGS.get(name, HTTP_OPENING))
                await reader.read(1)
            finally:
                writer.close()
    except (ConnectionRefusedError, TimeoutError):
        return False
    except OSError:
        return True  # it hung up; or we cannot ask, which says nothing about it
    return True


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
