"""Buses of named services on one server, for tests."""

from pathlib import Path

from cbs.platform.auth import Tokens
from cbs.platform.bus import Bus
from tests.signing import Signer


async def bus_of(
    service: str, url: str, folder: Path, signer: Signer, *, nkey_file: Path | None = None
) -> Bus:
    bus = Bus(
        service=service,
        tokens=Tokens.of_file(signer.jwks(folder)),
        own_token=signer.token(service, "internal", kind="service"),
    )
    await bus.open(url=url, nkey_file=nkey_file)
    return bus
