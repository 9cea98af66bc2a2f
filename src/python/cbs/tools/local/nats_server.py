"""NATS with JetStream from its wheel; a user may do what its service declares and nothing else."""

import json
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import nats
from nats.js.errors import NotFoundError

from cbs.platform.declaration import Permissions
from cbs.platform.nats_connect import servers
from cbs.tools.local.ports import choose, is_open
from cbs.tools.local.process import installed, mortal, running

ADMIN = "admin"
EVERYTHING = Permissions(publish=(), subscribe=())
GREETING_BYTES_MAX = 16_384
# As in nomad/jobs/nats.nomad.hcl. By default a client or a server whose node is gone would for
# minutes be sent its share of the requests: silence is noticed within 8 s.
LIMITS = {
    "max_payload": 1 << 20,
    "write_deadline": "10s",
    "ping_interval": "2s",
    "ping_max": 3,
    "lame_duck_duration": "30s",
    "lame_duck_grace_period": "1s",
}
TEST_ACCOUNTS = 64
TEST_PASSWORD = "test"  # of servers that live as long as a test run, on loopback


def program() -> str:
    return installed("nats-server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A server of a cluster on loopback: its name stays with its store. `others` are the ports."""

    name: str
    port: int
    others: tuple[int, ...]
    password: str

    def conf(self) -> dict[str, object]:
        """As in nomad/jobs/nats.nomad.hcl."""
        who = {"user": "cluster", "password": self.password}
        return {
            "name": "cbs",
            "listen": f"127.0.0.1:{self.port}",
            "authorization": who,
            "routes": [f"nats://cluster:{self.password}@127.0.0.1:{each}" for each in self.others],
        }


def bank_conf(
    *,
    port: int,
    store: Path,
    users: Mapping[str, tuple[str, Permissions]],
    member: Member | None = None,
) -> str:
    """The server's file; `users` are service -> (public nkey, permissions). Alone, it holds no
    secret; as a `member` of a cluster, the password that its servers share.

    A user without subjects to publish is the administrator, who may do anything.
    """
    bank = {"jetstream": "enabled", "users": users_of(users)}
    return _conf(port=port, store=store, accounts={"BANK": bank}, member=member)


def users_of(users: Mapping[str, tuple[str, Permissions]]) -> list[dict[str, object]]:
    """The users of the bank's account, as in the server's file."""
    return [_user(*user) for user in users.values()]


def _user(public: str, may: Permissions) -> dict[str, object]:
    if not may.publish:
        return {"nkey": public}
    return {
        "nkey": public,
        "permissions": {
            "publish": list(may.publish),
            "subscribe": list(may.subscribe),
            "allow_responses": True,
        },
    }


def _conf(
    *, port: int, store: Path, accounts: Mapping[str, object], member: Member | None = None
) -> str:
    # JetStream syncs to disk every two minutes by default and is left so: a service's outbox is
    # the source of truth, from which a stream that a power cut shortened is filled again.
    whole = {
        "host": "127.0.0.1",
        "port": port,
        **LIMITS,
        "jetstream": {
            "store_dir": str(store),
            "max_memory_store": 256 << 20,
            "max_file_store": 64 << 30,
        },
        "accounts": accounts,
    }
    if member is not None:
        whole |= {"server_name": member.name, "cluster": member.conf()}
    # NATS reads no \uXXXX: a folder's name is written as it is.
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def wants_nkey(url: str) -> bool:
    """Whether servers of the user's own ask for nkeys: then they hold our users' public keys.

    The first that answers is asked; raises OSError if none does.
    """
    *first, last = servers(url)
    for each in first:
        with suppress(OSError):
            return _asks_for_nkey(each)
    return _asks_for_nkey(last)


def _asks_for_nkey(url: str) -> bool:
    parts = urlsplit(url)
    if parts.username or parts.hostname is None:
        return False
    with socket.create_connection((parts.hostname, parts.port or 4222), timeout=5) as server:
        greeting = server.makefile("rb").readline(GREETING_BYTES_MAX)
    said = json.loads(greeting.removeprefix(b"INFO "))
    return bool(said.get("auth_required") and said.get("nonce"))


async def erase(url: str, services: Iterable[str], seed: Path | None) -> None:
    """Delete the streams of the services, with the facts in them."""
    client = await nats.connect(servers(url), nkeys_seed=str(seed) if seed else None)
    try:
        for service in services:
            with suppress(NotFoundError):
                await client.jetstream().delete_stream(f"CBS_{service.upper()}")
    finally:
        await client.close()


def command(conf: Path) -> list[str]:
    return mortal([program(), "--config", str(conf)])


@contextmanager
def throwaway() -> Iterator[str]:
    """A server for tests with TEST_ACCOUNTS separate accounts; yields its URL without a user.

    Account n is entered as `t<n>` with TEST_PASSWORD and sees nothing of the others.
    """
    folder = Path(tempfile.mkdtemp(prefix="cbs-nats-"))
    claim = choose(14222)
    accounts = {
        f"T{n}": {
            "jetstream": "enabled",
            "users": [{"user": f"t{n}", "password": TEST_PASSWORD}],
        }
        for n in range(TEST_ACCOUNTS)
    }
    conf = folder / "nats.conf"
    conf.write_text(_conf(port=claim.port, store=folder / "store", accounts=accounts))
    try:
        with running(command(conf), log=folder / "log", is_ready=lambda: is_open(claim.port)):
            yield f"nats://127.0.0.1:{claim.port}"
    finally:
        claim.release()
        shutil.rmtree(folder, ignore_errors=True)
