"""A JetStream object store is memory enough for a gate that many share: no other server is needed.

The connection is kept between calls, whose loop stands still meanwhile; what was idle for so long
that the server may have given it up is opened anew.
"""

import asyncio
import atexit
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import nkeys
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import (
    BadObjectMetaError,
    BucketNotFoundError,
    DigestMismatchError,
    NotFoundError,
    ObjectNotFoundError,
)
from nats.js.object_store import ObjectStore

from cbs.tools.release.gate.records import StoreUnreachable

BUCKET, BUCKET_BYTES_MAX = "CBS_RELEASE", 256 << 20
CALL_SECONDS_MAX, IDLE_SECONDS_MAX = 10.0, 30.0
NKEY_FILE = "CBS_RELEASE_NATS_NKEY_FILE"
# Always both: a server that refuses a user may close before it is heard why.
TODO = (
    f"see that it runs, with JetStream, and that {NKEY_FILE} names the seed of a user that may use"
    " it, or name another place with --store"
)

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class NatsBlobs:
    """The bucket is made if it is missing. `nkey_file` holds the seed of a user of the server."""

    url: str
    nkey_file: Path | None = None
    seconds_max: float = CALL_SECONDS_MAX
    _runner: asyncio.Runner | None = None
    _client: Client | None = None
    _bucket: ObjectStore | None = None
    _used_at: float = 0.0
    _said: list[str] = field(default_factory=list)

    def get(self, name: str) -> bytes | None:
        async def read(bucket: ObjectStore) -> bytes | None:
            try:
                return (await bucket.get(name)).data
            except ObjectNotFoundError:
                return None

        try:
            return self._ask(read)
        except (BadObjectMetaError, DigestMismatchError):
            raise StoreUnreachable(f"{name} is damaged in {self._where}: remove it") from None

    def put(self, name: str, body: bytes) -> None:
        async def write(bucket: ObjectStore) -> None:
            await bucket.put(name, body)

        self._ask(write)

    def names(self, prefix: str) -> list[str]:
        async def read(bucket: ObjectStore) -> list[str]:
            try:
                found = await bucket.list(ignore_deletes=True)
            except NotFoundError:
                return []
            return sorted(each.name for each in found if each.name.startswith(prefix))

        return self._ask(read)

    def close(self) -> None:
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        atexit.unregister(self.close)
        with runner, suppress(NatsError, OSError, TimeoutError):
            runner.run(asyncio.wait_for(self._closed(), self.seconds_max))

    def _ask(self, what: Callable[[ObjectStore], Awaitable[T]]) -> T:
        if self._runner is None:
            self._runner = asyncio.Runner()
            atexit.register(self.close)
        try:
            return self._runner.run(self._within(what))
        except (BadObjectMetaError, DigestMismatchError):
            raise
        except (NatsError, OSError, TimeoutError, nkeys.NkeysError, ValueError) as error:
            slow = f"no answer in {self.seconds_max:g} s"
            own = slow if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            why = self._said[-1] if self._said else own
            raise StoreUnreachable(f"{self._where}: {why}; {TODO}") from None

    async def _within(self, what: Callable[[ObjectStore], Awaitable[T]]) -> T:
        self._said.clear()
        async with asyncio.timeout(self.seconds_max):
            done = await what(await self._opened())
        self._used_at = time.monotonic()
        return done

    async def _opened(self) -> ObjectStore:
        is_fresh = time.monotonic() - self._used_at < IDLE_SECONDS_MAX
        if self._bucket is not None and self._connected and is_fresh:
            return self._bucket
        await self._closed()
        self._client = await self._connect()
        stream = self._client.jetstream(timeout=self.seconds_max)
        try:
            self._bucket = await stream.object_store(BUCKET)
        except BucketNotFoundError:
            self._bucket = await stream.create_object_store(BUCKET, max_bytes=BUCKET_BYTES_MAX)
        return self._bucket

    @property
    def _connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    async def _connect(self) -> Client:
        seed, client = self._seed(), Client()
        try:
            await client.connect(
                self.url,
                name="cbs-release",
                nkeys_seed_str=seed,
                connect_timeout=max(1, int(self.seconds_max / 2)),
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                error_cb=self._hear,
            )
        except (NatsError, OSError, TimeoutError, asyncio.CancelledError):
            await client.close()  # it leaves its socket open
            raise
        return client

    def _seed(self) -> str | None:
        try:
            return self.nkey_file.read_text().strip() if self.nkey_file else None
        except OSError as error:
            raise StoreUnreachable(f"{NKEY_FILE} names no file to read: {error}") from None

    async def _closed(self) -> None:
        client, self._client, self._bucket = self._client, None, None
        if client is not None:
            await client.close()

    async def _hear(self, error: Exception) -> None:
        """What is not permitted is told by the server beside the call, which gets no answer."""
        self._said.append(str(error) or type(error).__name__)

    @property
    def _where(self) -> str:
        """Without a user and a password that the URL may have."""
        parts = urlsplit(self.url)
        return f"the object store at {parts.hostname}:{parts.port or 4222}"
