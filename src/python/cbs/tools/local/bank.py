"""A bank comes up in this order: servers, roles and databases, migrations, services, edge."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import not_
from secrets import token_bytes

import asyncpg

from cbs.bank import SERVICES
from cbs.gateway.places import Place, write_endpoints
from cbs.tools.local import databases, health, nats_server, postgres, secrets
from cbs.tools.local.folder import Folder
from cbs.tools.local.orphans import sweep
from cbs.tools.local.parts import Parts
from cbs.tools.local.plan import StartPlan
from cbs.tools.local.postgres import without_user
from cbs.tools.local.process import CannotStart
from cbs.tools.local.program import run_to_end, together
from cbs.tools.local.supervisor import Supervisor
from cbs.tools.local.waiting import until

MIGRATIONS_AT_ONCE_MAX = 2
ROUTES_SECONDS_MAX = 20


def clear_up(folder: Folder) -> None:
    """Remove what a crash may have left: children, and what they said of themselves."""
    sweep(folder)
    for entry in folder["registry"].glob("*/*"):
        entry.unlink()


async def erase_external(folder: Folder, plan: StartPlan) -> None:
    """Remove the bank from servers of the user's own; raises AnothersBank if it is not there."""
    if plan.postgres_url:
        await databases.claim(plan.postgres_url, folder.id)
        await databases.erase(plan.postgres_url, SERVICES)
    if plan.nats_url:
        seed = (
            secrets.nkey_seed(folder, nats_server.ADMIN)
            if nats_server.wants_nkey(plan.nats_url)
            else None
        )
        await nats_server.erase(plan.nats_url, SERVICES, seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBank:
    parts: Parts
    supervisor: Supervisor

    async def bring_up(self) -> None:
        """Returns when every part is ready and the edge routes to it; raises CannotStart."""
        self._describe()
        plan, parts, supervisor = self.parts.plan, self.parts, self.supervisor
        servers = [] if plan.postgres_url else [parts.postgres()]
        await supervisor.start(*servers, *([] if plan.nats_url else [parts.nats()]))
        await supervisor.waiting("roles and databases", self._databases())
        told: dict[str, list[Place]] = {}
        self._tell_edge(told)
        supervisor.tick = lambda: self._tell_edge(told)
        at_once = asyncio.Semaphore(MIGRATIONS_AT_ONCE_MAX)
        services = [self._migrated(service, at_once) for service in SERVICES]
        await together(*services)
        # Stopping goes backwards: first nobody can come in any more, then the services drain.
        await together(
            supervisor.start(*(parts.service(service) for service in SERVICES)),
            supervisor.start(parts.edge()),
        )
        await supervisor.waiting("routes", self._routes())

    def _describe(self) -> None:
        state, plan = self.supervisor.state, self.parts.plan
        state.edge_url = f"http://127.0.0.1:{self.parts.ports['edge']}"
        state.postgres_url = without_user(self.parts.admin_url)
        state.nats_url = without_user(self.parts.nats_url)
        state.from_pex = str(plan.dist or "")
        state.sha = plan.sha
        state.external = list(plan.external)

    @contextmanager
    def _told_of_postgres(self) -> Iterator[None]:
        """What PostgreSQL refuses, and where to look, as CannotStart."""
        try:
            yield
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            raise CannotStart(self._refused(error)) from None

    def _refused(self, error: Exception) -> str:
        folder, external = self.parts.folder, self.parts.plan.postgres_url
        said = f"PostgreSQL at {without_user(self.parts.admin_url)}: {str(error) or repr(error)}"
        if external:
            return f"{said}\nnext: see that CBS_POSTGRES_URL is an administrator's of that server"
        if isinstance(error, asyncpg.InvalidPasswordError):
            file = secrets.pgpass(folder, postgres.ADMIN)
            return f"{said}\n{file} does not hold its password\n{secrets.LOST}"
        return f"{said}\nnext: see {folder.log('postgres')}"

    async def _databases(self) -> None:
        with self._told_of_postgres():
            await self._make_databases()

    async def _make_databases(self) -> None:
        folder, admin_url = self.parts.folder, self.parts.admin_url
        await databases.check_durable(admin_url)
        await databases.claim(admin_url, folder.id)
        await databases.make_roles(
            admin_url,
            {
                role: secrets.scram_verifier(secrets.password(folder, role), token_bytes(16))
                for role in databases.roles_of(SERVICES)
            },
        )
        for service in SERVICES:
            await databases.make_database(admin_url, service)

    async def _migrated(self, service: str, at_once: asyncio.Semaphore) -> None:
        """Migrate, unless this very program has migrated this database before."""
        admin_url = self.parts.admin_url
        async with at_once:
            fingerprint = await asyncio.to_thread(self.parts.plan.fingerprint, service)
            with self._told_of_postgres():
                if await databases.program_of(admin_url, service) == fingerprint:
                    return
            migration = self.parts.migration(service)
            await self.supervisor.waiting(migration.name, run_to_end(migration))
            with self._told_of_postgres():
                await databases.note_program(admin_url, service, fingerprint)

    def _tell_edge(self, told: dict[str, list[Place]]) -> None:
        for service in SERVICES:
            found = self.parts.seen_by_edge(service)
            if told.get(service) != found:
                write_endpoints(self.parts.folder["edge"], service, found)
                told[service] = found

    async def _routes(self) -> None:
        admin_port = self.parts.ports["edge-admin"]

        async def missing() -> set[str]:
            return set(SERVICES) - await asyncio.to_thread(health.routes_to, admin_port)

        if left := await until(missing, done=not_, seconds=ROUTES_SECONDS_MAX):
            logs = ", ".join(str(self.parts.folder.log(each)) for each in ("edge", *sorted(left)))
            raise CannotStart(f"the edge finds no {', '.join(sorted(left))}\nnext: see {logs}")
