"""The parts of a bank as programs: how each is started, and when it is ready."""

import asyncio
import re
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes

from cbs.bank import SERVICES
from cbs.gateway import envoy
from cbs.gateway.places import Place, endpoints
from cbs.platform.declaration import Permissions, declaration_of, permissions
from cbs.tools.local import databases, health, nats_server, postgres, secrets
from cbs.tools.local.folder import Folder, write_whole
from cbs.tools.local.plan import StartPlan
from cbs.tools.local.ports import is_open
from cbs.tools.local.process import CannotStart, mortal
from cbs.tools.local.program import Program

MARK = "CBS_BANK"


def replaced(data: Path) -> Path:
    """Where a restore puts the data that was there, for the moment that the change takes."""
    return data.with_name(f"{data.name}.replaced")


def nats_users(folder: Folder) -> dict[str, tuple[str, Permissions]]:
    """Each user's public key and permissions: the services, and an administrator."""
    may = {service: permissions(declaration_of(service)) for service in SERVICES}
    return {
        user: (secrets.public_nkey(secrets.nkey_seed(folder, user).read_text()), allowed)
        for user, allowed in (may | {nats_server.ADMIN: nats_server.EVERYTHING}).items()
    }


def _answers(name: str, port: int) -> Callable[[float], Awaitable[bool]]:
    return lambda seconds: health.answers(name, port, seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """`admin_url` and `nats_url` may hold a password: they stay out of files and arguments."""

    folder: Folder
    plan: StartPlan
    ports: Mapping[str, int]
    admin_url: str
    nats_url: str
    nkeys: bool
    password_lost: bool = False

    @classmethod
    def of(cls, folder: Folder, plan: StartPlan) -> "Parts":
        """With secrets and ports made as far as they are missing. The caller has the lock."""
        has_password = secrets.pgpass(folder, postgres.ADMIN).exists()
        secrets.make_all(folder)
        ports = folder.claim_ports(without=tuple(plan.external))
        admin_url = plan.postgres_url
        if not admin_url:
            password = secrets.password(folder, postgres.ADMIN)
            place = f"127.0.0.1:{ports['postgres']}"
            admin_url = f"postgresql://{postgres.ADMIN}:{password}@{place}/postgres"
        return cls(
            folder=folder,
            plan=plan,
            ports=ports,
            admin_url=admin_url,
            nats_url=plan.nats_url or f"nats://127.0.0.1:{ports['nats']}",
            password_lost=not has_password,
            nkeys=not plan.nats_url or nats_server.wants_nkey(plan.nats_url),
        )

    def postgres(self) -> Program:
        data = self.folder["postgres"] / "data"
        settings = postgres.BANK | postgres.archiving(self.folder.archive)

        def prepare() -> None:
            if not data.exists():
                if replaced(data).exists():
                    raise CannotStart("a restore was interrupted: do ./cbs restore again")
                file = self.folder.secret("postgres.password")
                write_whole(file, secrets.password(self.folder, postgres.ADMIN))
                postgres.create(data, password_file=file)
                file.unlink()
            postgres.clear_stale_lock(data)
            if self.password_lost:
                password = secrets.password(self.folder, postgres.ADMIN)
                postgres.set_password(data, secrets.scram_verifier(password, token_bytes(16)))

        async def ready() -> bool:
            return postgres.is_ready(data)

        return Program(
            name="postgres",
            argv=postgres.command(data, self.ports["postgres"], settings),
            env=self._environment(),
            log=self.folder.log("postgres"),
            before=lambda: asyncio.to_thread(prepare),
            is_ready=ready,
            answers=_answers("postgres", self.ports["postgres"]),
            # Of a disk that stands still nothing gets better by a crash, and its repair after it.
            replaced_if_hung=False,
            advice=f"see whether the disk of {data} is at work, and {self.folder.log('postgres')};"
            " ./cbs restore puts a backup in its place",
            port=self.ports["postgres"],
            stop=signal.SIGINT,  # PostgreSQL's fast shutdown: ends sessions, writes a checkpoint
            stop_seconds_max=60,
        )

    def nats(self) -> Program:
        port, conf = self.ports["nats"], self.folder["nats"] / "nats.conf"
        write_whole(
            conf,
            nats_server.bank_conf(
                port=port, store=conf.parent / "store", users=nats_users(self.folder)
            ),
        )

        async def ready() -> bool:
            return is_open(port)

        return Program(
            name="nats",
            argv=nats_server.command(conf),
            env=self._environment(),
            log=self.folder.log("nats"),
            is_ready=ready,
            answers=_answers("nats", port),
            advice=f"see {self.folder.log('nats')}; {conf.parent / 'store'} may be moved away: what"
            " it holds is made again from what the services keep",
            port=port,
        )

    def edge(self) -> Program:
        port, admin_port = self.ports["edge"], self.ports["edge-admin"]
        conf = self.folder["edge"] / "envoy.json"
        write_whole(
            conf,
            envoy.bootstrap(
                edge=conf.parent, port=port, admin_port=admin_port, jwks=self.folder.jwks
            ),
        )

        async def ready() -> bool:
            return (await asyncio.to_thread(health.get, admin_port, "/ready"))[0] == 200

        return Program(
            name="edge",
            argv=envoy.command(conf),
            env=self._environment(),
            log=self.folder.log("edge"),
            is_ready=ready,
            answers=_answers("edge", port),
            port=port,
        )

    def migration(self, service: str) -> Program:
        """Runs to its end, as the owner of the service's schema."""
        return self._of(service, "migrate", databases.owner_of(service))

    def service(self, service: str) -> Program:
        return self._of(service, "serve", databases.runtime_of(service))

    def _of(self, service: str, verb: str, role: str) -> Program:
        port, registry = self.ports[service], self.folder["registry"]

        async def ready() -> bool:
            if Place("127.0.0.1", port) not in endpoints(registry, service):
                return False
            return (await asyncio.to_thread(health.readiness, port))[0]

        named = {
            "CBS_HTTP_HOST": "127.0.0.1",
            "CBS_HTTP_PORT": str(port),
            "CBS_POSTGRES_URL": postgres.with_database(
                self._by_link(f"{service} postgres", self.admin_url),
                databases.runtime_of(service),
                role,
            ),
            "CBS_NATS_URL": self._by_link(f"{service} nats", self.nats_url),
            "CBS_REGISTRY_FOLDER": str(registry),
            "PGPASSFILE": str(secrets.pgpass(self.folder, role)),
        }
        return Program(
            name=service if verb == "serve" else f"{service} {verb}",
            argv=mortal(self.plan.argv(service, verb)),
            env=self._environment()
            | named
            | secrets.files_of(self.folder, service, nkey=self.nkeys),
            log=self.folder.log(service),
            is_ready=ready,
            answers=_answers(service, port),
            port=port,
            stop_seconds_max=30,
        )

    def seen_by_edge(self, service: str) -> list[Place]:
        """Where the edge finds the instances of a service that are ready."""
        found = endpoints(self.folder["registry"], service)
        link = self.plan.links.get(f"edge {service}")
        return [Place("127.0.0.1", link)] if found and link else found

    def _by_link(self, name: str, url: str) -> str:
        link = self.plan.links.get(name)
        return url if link is None else re.sub(r":\d+(?=/|$)", f":{link}", url, count=1)

    def _environment(self) -> dict[str, str]:
        return self.plan.environment() | {MARK: str(self.folder.root)}
