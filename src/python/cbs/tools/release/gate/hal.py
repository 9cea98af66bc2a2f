"""A Pact Broker is reached by its own links, and its token goes nowhere else."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from cbs.tools.release.gate.records import StoreUnreachable

BASE_URL = "PACT_BROKER_BASE_URL"
TOKEN, USERNAME, PASSWORD = "PACT_BROKER_TOKEN", "PACT_BROKER_USERNAME", "PACT_BROKER_PASSWORD"
CALL_SECONDS_MAX, ANSWER_BYTES_MAX = 10.0, 32 << 20
SAID_CHARACTERS_SHOWN = 300

T = TypeVar("T")


class BrokerRefused(StoreUnreachable):
    """The broker is there, and did not do it."""

    def __init__(self, status: int, said: str, message: str) -> None:
        super().__init__(message)
        self.status, self.said = status, said


@dataclass(frozen=True, slots=True, kw_only=True)
class Hal:
    """`base` is the broker's own URL. Raises StoreUnreachable, BrokerRefused among it."""

    base: str
    http: httpx.Client = field(repr=False)
    seconds_max: float

    @classmethod
    def of(cls, environ: Mapping[str, str], *, seconds_max: float = CALL_SECONDS_MAX) -> "Hal":
        """By the variables that every Pact tool knows."""
        base = environ[BASE_URL].rstrip("/")
        parts = urlsplit(base)
        if parts.username or parts.password:
            raise StoreUnreachable(f"{BASE_URL} has a password in it: {USERNAME} and {PASSWORD}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StoreUnreachable(f"{BASE_URL} is {base!r}, which is no http(s):// URL")
        headers, basic = {"Accept": "application/hal+json"}, None
        if token := environ.get(TOKEN):
            headers["Authorization"] = f"Bearer {token}"
        elif user := environ.get(USERNAME):
            basic = httpx.BasicAuth(user, environ.get(PASSWORD, ""))
        http = httpx.Client(headers=headers, auth=basic, timeout=seconds_max)
        return cls(base=base, http=http, seconds_max=seconds_max)

    def get(self, place: str, type_: type[T], **query: str) -> T | None:
        """None if there is no such thing. `place` is a path below the base, or a link's URL."""
        return self.ask(place, type_, list(query.items()))

    def ask(self, place: str, type_: type[T], query: list[tuple[str, str]]) -> T | None:
        """As `get`, for a query that names a thing more than once."""
        try:
            return self._decoded(place, self._call("GET", place, None, {}, query), type_)
        except BrokerRefused as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def send(
        self, method: str, place: str, body: Any, type_: type[T], *, kind: str = "application/json"
    ) -> T:
        headers = {"Content-Type": kind}
        answer = self._call(method, place, msgspec.json.encode(body), headers, [])
        return self._decoded(place, answer, type_)

    def _call(
        self,
        method: str,
        place: str,
        body: bytes | None,
        headers: dict[str, str],
        query: list[tuple[str, str]],
    ) -> bytes:
        url = self._url(place)
        ends = time.monotonic() + self.seconds_max
        answer = bytearray()
        try:
            request = self.http.build_request(
                method,
                url,
                content=body,
                headers=headers,
                params=httpx.QueryParams(tuple(query)) if query else None,
            )
            response = self.http.send(request, stream=True)
            try:
                for part in response.iter_bytes():
                    answer += part
                    if time.monotonic() > ends:
                        raise httpx.ReadTimeout(f"the answer took over {self.seconds_max:g} s")
                    if len(answer) > ANSWER_BYTES_MAX:
                        raise httpx.ReadError(f"the answer has over {ANSWER_BYTES_MAX} bytes")
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            todo = f"see that it runs and that {BASE_URL} is right, or name a folder with --store"
            raise StoreUnreachable(f"the Pact Broker at {self.base}: {why}; {todo}") from None
        if response.is_success:
            return bytes(answer)
        raise self._refused(response.status_code, f"{method} {urlsplit(url).path}", bytes(answer))

    def _url(self, place: str) -> str:
        """A link elsewhere is not followed: the token would go along."""
        if place.startswith("/"):
            return f"{self.base}{place}"
        if not place.startswith(f"{self.base}/"):
            where = urlsplit(place)
            raise StoreUnreachable(
                f"the Pact Broker at {self.base} links to {where.scheme}://{where.netloc}:"
                f" set its PACT_BROKER_BASE_URL (or ours) so that both are the same"
            )
        return place

    def _refused(self, status: int, what: str, answer: bytes) -> BrokerRefused:
        said = _said(answer)
        message = f"the Pact Broker at {self.base} answers {status} to {what}: {said}"
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            message += f"; set {TOKEN}, or {USERNAME} and {PASSWORD}, of one who may"
        elif status == httpx.codes.NOT_FOUND:
            message += f"; {BASE_URL} is a broker's, of version 2.86 or later?"
        return BrokerRefused(status, said, message)

    def _decoded(self, place: str, answer: bytes, type_: type[T]) -> T:
        try:
            return msgspec.json.decode(answer or b"{}", type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreUnreachable(
                f"{place} at {self.base} is damaged, or no Pact Broker's ({error})"
            ) from None


def path(*parts: str) -> str:
    """Each part as one segment, whatever is in it."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _said(answer: bytes) -> str:
    """What a broker says of an error, in any of its ways to say it."""
    try:
        body = msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return answer[:SAID_CHARACTERS_SHOWN].decode(errors="replace").strip() or "(nothing)"
    told = body.get("errors", body.get("error", body)) if isinstance(body, dict) else body
    return msgspec.json.encode(told).decode()[:SAID_CHARACTERS_SHOWN]
