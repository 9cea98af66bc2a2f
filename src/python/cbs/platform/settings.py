"""Settings come from the environment once, at start-up, and a missing one stops the service."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

PREFIX = "CBS_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service needs to run; field `http_port` is `CBS_HTTP_PORT`. Secrets are files.

    `nats_url` may name several servers of a cluster, with commas between them; `nats_replicas` of
    them keep the service's facts, so that a majority survives the loss of the rest.
    """

    http_host: str = "127.0.0.1"
    http_port: int = 0
    postgres_url: str
    postgres_connections_max: int = 8
    nats_url: str
    nats_nkey_file: Path | None = None
    nats_replicas: Literal[1, 3, 5] = 1
    jwks_file: Path
    service_token_file: Path | None = None
    registry_folder: Path | None = None
    log_level: str = "info"
    sha: str = ""
    trace_ratio: float = 0.0


S = TypeVar("S", bound=msgspec.Struct)


class Misconfigured(Exception):
    """The environment does not make sense; the message says which variable and why."""


def load(cls: type[S], environ: Mapping[str, str] = os.environ) -> S:
    values = {
        field.name: environ[name]
        for field in msgspec.structs.fields(cls)
        if environ.get(name := PREFIX + field.name.upper())
    }
    try:
        return msgspec.convert(values, cls, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"{error}: set it in the environment as {PREFIX}<NAME>") from None


def _path(cls: type, text: str) -> Path:
    """msgspec converts no paths by itself."""
    if cls is not Path:
        raise NotImplementedError(cls)
    return Path(text)
