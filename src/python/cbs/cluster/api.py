"""Nomad and Consul are asked over their HTTP API alone: a token goes in a header, from a file."""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

ANSWER_SECONDS_MAX = 30
TOKEN_HEADERS = {"consul": "X-Consul-Token", "nomad": "X-Nomad-Token"}
USUAL = {"consul": "http://127.0.0.1:8500", "nomad": "http://127.0.0.1:4646"}


class NoCluster(RuntimeError):
    """Nomad or Consul does not answer, or not to us; the message says what to do."""


class Declined(RuntimeError):
    """Nomad or Consul said no to what was asked; `status` is of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def token_of(name: str, environ: Mapping[str, str]) -> str:
    """The token in NOMAD_TOKEN_FILE or CONSUL_HTTP_TOKEN_FILE, or in the variable of that name."""
    variable = {"consul": "CONSUL_HTTP_TOKEN", "nomad": "NOMAD_TOKEN"}[name]
    if file := environ.get(f"{variable}_FILE"):
        try:
            return Path(file).read_text().strip()
        except OSError as error:
            raise NoCluster(f"{variable}_FILE: {error}") from None
    return environ.get(variable, "")


@dataclass(frozen=True, slots=True)
class Api:
    """One of the two; `name` is consul or nomad."""

    name: str
    client: httpx.Client

    @classmethod
    def at(cls, name: str, url: str, token: str) -> "Api":
        headers = {TOKEN_HEADERS[name]: token} if token else {}
        # No connection is kept: there is nothing to close, and few are made.
        none = httpx.Limits(max_keepalive_connections=0)
        client = httpx.Client(
            base_url=url, headers=headers, timeout=ANSWER_SECONDS_MAX, limits=none, trust_env=False
        )
        return cls(name, client)

    @classmethod
    def of(cls, name: str, environ: Mapping[str, str] = os.environ) -> "Api":
        """The one that NOMAD_ADDR or CONSUL_HTTP_ADDR names, with the token beside it."""
        variable = {"consul": "CONSUL_HTTP_ADDR", "nomad": "NOMAD_ADDR"}[name]
        url = environ.get(variable) or USUAL[name]
        return cls.at(name, url if "://" in url else f"http://{url}", token_of(name, environ))

    @property
    def url(self) -> str:
        return str(self.client.base_url).rstrip("/")

    def ask(self, method: str, path: str, body: object = None, **query: str | int) -> Any:
        """The answer decoded, None if it is empty or 404 to a GET; raises NoCluster, Declined."""
        content = body if isinstance(body, bytes) else None if body is None else _encoded(body)
        try:
            answer = self.client.request(method, path, content=content, params=query)
        except httpx.HTTPError as error:
            raise NoCluster(
                f"no {self.name} answers at {self.url} ({error}): start one with ./cbs cluster dev,"
                " or name yours in NOMAD_ADDR and CONSUL_HTTP_ADDR"
            ) from None
        if answer.status_code == 404 and method == "GET":
            return None
        if answer.status_code == 403:
            raise NoCluster(
                f"{self.name} at {self.url} refuses this token ({method} {path}): name the file of"
                " one that may, in NOMAD_TOKEN_FILE and CONSUL_HTTP_TOKEN_FILE"
            )
        if answer.is_error:
            raise Declined(
                answer.status_code, f"{self.name} {method} {path}: {answer.text.strip()}"
            )
        try:
            return answer.json() if answer.content else None
        except ValueError:
            return answer.text

    def get(self, path: str, **query: str | int) -> Any:
        return self.ask("GET", path, **query)

    def put(self, path: str, body: object = None, **query: str | int) -> Any:
        return self.ask("PUT", path, body, **query)

    def post(self, path: str, body: object = None, **query: str | int) -> Any:
        return self.ask("POST", path, body, **query)

    def leader(self) -> str:
        """Who leads, "" while nobody does or answers; needs no token."""
        try:
            return str(self.get("/v1/status/leader") or "")
        except (NoCluster, Declined):
            return ""


def _encoded(body: object) -> bytes:
    return json.dumps(body).encode()


def kept(consul: Api, key: str) -> str | None:
    """A value of Consul's key/value store."""
    rows = consul.get(f"/v1/kv/{quote(key)}")
    return base64.b64decode(rows[0]["Value"] or "").decode() if rows else None


def keep(consul: Api, key: str, value: str) -> None:
    consul.put(f"/v1/kv/{quote(key)}", value.encode())
