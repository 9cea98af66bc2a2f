"""A job's secrets are a Nomad variable of its own name; they are written when they differ."""

import json
from collections.abc import Iterable, Iterator, Mapping
from secrets import token_hex

from cbs.bank import SERVICES
from cbs.tools.cluster.api import Api
from cbs.tools.cluster.namespaces import FORMER
from cbs.tools.cluster.rules import ClusterChange
from cbs.tools.local import databases, nats_server, postgres, secrets
from cbs.tools.local.folder import Folder, write_whole
from cbs.tools.local.parts import nats_users

CLUSTER_PASSWORD = "nats-cluster.password"


def wanted(folder: Folder) -> dict[str, dict[str, str]]:
    """Job -> items, of a bank's folder; what is missing there is made."""
    secrets.make_all(folder)
    jobs = {f"cbs-{service}": _of(folder, service) for service in SERVICES}
    owners = {
        service: secrets.pgpass(folder, databases.owner_of(service)).read_text()
        for service in SERVICES
    }
    return jobs | {
        "cbs-migrate": owners,
        "cbs-nats": {
            "users": json.dumps(nats_server.users_of(nats_users(folder))),
            "cluster_password": _cluster_password(folder),
        },
        "cbs-postgres": {"password": secrets.password(folder, postgres.ADMIN)},
        "cbs-gateway": {"jwks": folder.jwks.read_text()},
        "cbs-verify": {"pgpass": secrets.pgpass(folder, databases.VERIFY).read_text()},
        "cbs-backup": {"pgpass": secrets.pgpass(folder, databases.BACKUP).read_text()},
    }


def _of(folder: Folder, service: str) -> dict[str, str]:
    keys = secrets.keys_of(folder, service)
    return {
        "jwks": folder.jwks.read_text(),
        "nkey": secrets.nkey_seed(folder, service).read_text(),
        "pgpass": secrets.pgpass(folder, databases.runtime_of(service)).read_text(),
        "token": secrets.service_token(folder, service).read_text(),
        **{name: file.read_text() for name, file in keys.items()},
    }


def _cluster_password(folder: Folder) -> str:
    path = folder.secret(CLUSTER_PASSWORD)
    if not path.exists():
        write_whole(path, token_hex(24))
    return path.read_text()


def changes(nomad: Api, jobs: Mapping[str, Mapping[str, str]]) -> Iterator[ClusterChange]:
    """Nothing of a value is in what a change says. Another's write in between is refused."""
    for job, items in jobs.items():
        path = f"nomad/jobs/{job}"
        found = nomad.get(f"/v1/var/{path}")
        if found and found["Items"] == items:
            continue
        index = found["ModifyIndex"] if found else 0
        body = {"Path": path, "Items": dict(items)}

        def write(path: str = path, body: object = body, index: int = index) -> None:
            nomad.put(f"/v1/var/{path}", body, cas=index)

        said = ", ".join(sorted(items))
        yield ClusterChange(
            f"nomad variable {path}", f"{'differs' if found else 'new'}: {said}", write
        )


def forget_former(nomad: Api, jobs: Iterable[str]) -> None:
    """Nobody reads them where these jobs were before the bank had its namespaces."""
    for job in jobs:
        nomad.ask("DELETE", f"/v1/var/nomad/jobs/{job}", namespace=FORMER)
