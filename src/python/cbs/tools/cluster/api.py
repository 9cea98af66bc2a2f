"""Nomad, Consul and Vault are asked over HTTP alone: a token goes in a header, from a file."""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from cbs.tools.cluster import namespaces

ANSWER_SECONDS_MAX = 30
TOKEN_HEADERS = {
    "consul": "X-Consul-Token",
    "nomad": "X-Nomad-Token",
    "vault": "X-Vault-Token",
}
TOKENS = {"consul": "CONSUL_HTTP_TOKEN", "nomad": "NOMAD_TOKEN", "vault": "VAULT_TOKEN"}
ADDRESSES = {"consul": "CONSUL_HTTP_ADDR", "nomad": "NOMAD_ADDR", "vault": "VAULT_ADDR"}
USUAL = {
    "consul": "http://127.0.0.1:8500",
    "nomad": "http://127.0.0.1:4646",
    "vault": "https://127.0.0.1:8200",
}
STARTED = dict.fromkeys(("consul", "nomad"), ", or start one with ./cbs cluster dev")


class NoCluster(RuntimeError):
    """Nomad, Consul or Vault does not answer, or not to us; the message says what to do."""


class Declined(RuntimeError):
    """One of them said no to what was asked; `status` is of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def token_of(name: str, environ: Mapping[str, str]) -> str:
    """The token in the file that NOMAD_TOKEN_FILE, … names, or else in NOMAD_TOKEN, …"""
    variable = TOKENS[name]
    if file := environ.get(f"{variable}_FILE"):
        try:
            return Path(file).read_text().strip()
        except OSError as error:
            raise NoCluster(f"{variable}_FILE: {error}") from None
    return environ.get(variable, "")


@dataclass(frozen=True, slots=True)
class Api:
    """One of the three; `name` is consul, nomad or vault."""

    name: str
    client: httpx.Client

    @classmethod
    def at(cls, name: str, url: str, token: str, authority: str = "") -> "Api":
        """`authority` is a file of certificates beside those that everybody trusts."""
        headers = {TOKEN_HEADERS[name]: token} if token else {}
        # No connection is kept: there is nothing to close, and few are made.
        none = httpx.Limits(max_keepalive_connections=0)
        try:
            trusted = httpx.create_ssl_context(trust_env=False)
            if authority:
                trusted.load_verify_locations(authority)
        except OSError as error:
            raise NoCluster(f"{name.upper()}_CACERT: {authority}: {error}") from None
        client = httpx.Client(
            base_url=url,
            headers=headers,
            timeout=ANSWER_SECONDS_MAX,
            limits=none,
            trust_env=False,
            verify=trusted,
        )
        return cls(name, client)

    @classmethod
    def of(cls, name: str, environ: Mapping[str, str] = os.environ) -> "Api":
        """The one that NOMAD_ADDR, … names, with what NOMAD_TOKEN_FILE, NOMAD_CACERT, … name."""
        url = environ.get(ADDRESSES[name]) or USUAL[name]
        url = url if "://" in url else f"http://{url}"
        authority = environ.get(f"{name.upper()}_CACERT", "")
        return cls.at(name, url, token_of(name, environ), authority)

    @property
    def url(self) -> str:
        return str(self.client.base_url).rstrip("/")

    def ask(self, method: str, path: str, body: object = None, **query: str | int) -> Any:
        """The answer decoded, None if it is empty or 404 to a GET; raises NoCluster, Declined.

        Of Nomad a job of the bank is asked in its own namespace, unless another is named.
        """
        if self.name == "nomad":
            query = {**namespaces.scope(method, path), **query}
        content = body if isinstance(body, bytes) else None if body is None else _encoded(body)
        try:
            answer = self.client.request(method, path, content=content, params=query)
        except httpx.HTTPError as error:
            raise NoCluster(
                f"no {self.name} answers at {self.url} ({error}): name yours in"
                f" {ADDRESSES[self.name]}{STARTED.get(self.name, '')}"
            ) from None
        if answer.status_code == 404 and method == "GET":
            return None
        if answer.status_code == 403:
            raise NoCluster(
                f"{self.name} at {self.url} refuses this token ({method} {path}): name the file of"
                f" one that may, in {TOKENS[self.name]}_FILE"
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
