"""A connection to the bus belongs to no server: it knows them all, and leaves one that is silent.

The first that answers tells of the others (INFO), so one that is reached is enough to begin with.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import nats
import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

CONNECT_SECONDS_MAX, RECONNECT_SECONDS, PAUSE_SECONDS_MAX = 2, 0.2, 5.0
# A node that is gone closes nothing: silence must say it. nats-py would wait for six minutes.
PING_SECONDS, UNANSWERED_PINGS_MAX = 2, 3
PENDING_BYTES_MAX = 8 * 1024 * 1024

log = structlog.get_logger()


def servers(url: str) -> list[str]:
    """Of `nats://one:4222,nats://other:4222`; one alone is a list of one."""
    return [each.strip() for each in url.split(",") if each.strip()]


async def connected(
    url: str,
    *,
    service: str,
    nkey_file: Path | None,
    inbox: str,
    on_error: Callable[[Exception], Awaitable[None]],
    patiently: bool = False,
) -> Client:
    """Reconnects for ever, to whichever server answers. `patiently` also waits for the first."""
    pause = 0.1
    while True:
        try:
            return await nats.connect(
                servers(url),
                name=f"cbs-{service}",
                nkeys_seed=str(nkey_file) if nkey_file else None,
                inbox_prefix=inbox.encode(),
                connect_timeout=CONNECT_SECONDS_MAX,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_SECONDS,
                ping_interval=PING_SECONDS,
                max_outstanding_pings=UNANSWERED_PINGS_MAX,
                pending_size=PENDING_BYTES_MAX,
                error_cb=on_error,
            )
        except (TimeoutError, OSError, NatsError) as error:
            if not patiently:
                raise
            log.warning("bus-unreachable", error=repr(error), again_in_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
