"""Bytes as they are on the wire: no client library stands between a test and what it wants sent."""

import json
import select
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httptools

ANSWER_SECONDS_MAX = 20.0


@dataclass(slots=True)
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def problem(self) -> str:
        """The code of the problem document that this is; asserts that it is one."""
        assert self.headers.get("content-type") == "application/problem+json", self
        said: dict[str, Any] = json.loads(self.body)
        assert said["title"] and said["status"] == self.status, self
        return str(said["type"]).removeprefix("urn:cbs:")


class Answers(list[Answer]):
    """What came back on a connection, as far as it came."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = 0
        self._parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self.append(Answer())

    def on_header(self, name: bytes, value: bytes) -> None:
        self[-1].headers[name.decode().lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self[-1].status = self._parser.get_status_code()

    def on_body(self, part: bytes) -> None:
        self[-1].body += part

    def on_message_complete(self) -> None:
        if self[-1].status == 100:
            self.pop()
        else:
            self.whole += 1

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)


def exchange(
    port: int,
    *parts: bytes,
    pause: float = 0,
    half_close: bool = False,
    answers: int = 1,
    seconds: float = ANSWER_SECONDS_MAX,
) -> Answers:
    """Send the parts, then read until so many answers came, or the other side hung up."""
    found = Answers()
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        # Hung up on, what was answered before that counts.
        with suppress(ConnectionError):
            _send(connection, parts, pause)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while found.whole < answers and (data := connection.recv(65536)):
                found.feed(data)
    return found


def _send(connection: socket.socket, parts: Iterable[bytes], pause: float) -> None:
    for number, part in enumerate(parts):
        if number and pause and select.select([connection], [], [], pause)[0]:
            return  # answered already
        connection.sendall(part)


def request(
    method: str,
    path: str | bytes,
    *,
    token: str = "",
    headers: Iterable[str | bytes] = (),
    body: bytes | None = None,
    version: str = "1.1",
) -> bytes:
    """A request as it should be; what is wrong with it is in the arguments."""
    target = path if isinstance(path, bytes) else path.encode()
    lines: list[bytes] = [b" ".join([method.encode(), target, f"HTTP/{version}".encode()])]
    given = [line if isinstance(line, bytes) else line.encode("latin-1") for line in headers]
    names = {line.partition(b":")[0].strip().lower() for line in given}
    for name, value in {
        "Host": "bank",
        "Connection": "close",
        "Authorization": f"Bearer {token}",
        "Idempotency-Key": f"fuzz-{time.monotonic_ns()}",
        **({"Content-Type": "application/json"} if body is not None else {}),
    }.items():
        if name.lower().encode() not in names:
            lines.append(f"{name}: {value}".encode())
    if body is not None and not names & {b"content-length", b"transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}".encode())
    return b"\r\n".join([*lines, *given]) + b"\r\n\r\n" + (body or b"")
