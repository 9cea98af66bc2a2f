"""Where an environment names a Vault, a job's secrets lie there, and only that job reads them."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cbs.tools.cluster import rules
from cbs.tools.cluster.api import Api, NoCluster
from cbs.tools.cluster.namespaces import namespace_of
from cbs.tools.cluster.rules import ROOT, ClusterChange

FOLDER = ROOT / "nomad" / "vault"
# Nomad's own defaults: where its tasks log in, and for whom their identities are.
AUTH_METHOD, AUDIENCE = "jwt-nomad", "vault.io"
WRITER = "cbs-writer"
PREFIX = re.compile(r"\w[\w/-]*/data/[\w/-]*\w")


@dataclass(frozen=True, slots=True)
class VaultServer:
    """`prefix` is what templates are told, such as kv/data/cbs: a path of a KV of version 2."""

    api: Api
    prefix: str

    @classmethod
    def of(cls, prefix: str, environ: Mapping[str, str] = os.environ) -> "VaultServer":
        """The one that VAULT_ADDR names. Raises NoCluster."""
        if "VAULT_ADDR" not in environ:
            raise NoCluster(
                f"the environment keeps its secrets in Vault, at {prefix}: name it in VAULT_ADDR,"
                " and in VAULT_TOKEN_FILE the file of a token that may write there"
            )
        if not PREFIX.fullmatch(prefix):
            raise NoCluster(f"vault = {prefix!r} is no path of a KV of version 2: kv/data/cbs is")
        return cls(Api.of("vault", environ), prefix)

    def changes(
        self, wanted: Mapping[str, Mapping[str, str]], say: Callable[[str], None] = print
    ) -> Iterator[ClusterChange]:
        """Job -> items. Nothing of a value is in what a change says, and another's write in
        between is refused. Policies and roles are left to others where the token may not."""
        self._check()
        if self._governs():
            yield from self._policies(wanted)
            yield from self._roles(wanted)
        else:
            say("vault: policies and roles (nomad/vault) are not this token's to see to")
        for job, items in wanted.items():
            yield from self._secret(job, items)

    def _governs(self) -> bool:
        places = ["sys/policies/acl/cbs-x", f"auth/{AUTH_METHOD}/role/cbs-x"]
        found = self.api.post("/v1/sys/capabilities-self", {"paths": places})["data"]
        return all({"root", "update"} & {*found[place]} for place in places)

    def _check(self) -> None:
        """Vault's own command asks the same before it writes; a KV of version 1 has no versions."""
        mount = self.prefix.partition("/data/")[0]
        try:
            found = self.api.get(f"/v1/sys/internal/ui/mounts/{mount}")
        except NoCluster as error:
            raise NoCluster(f"{error}; or there is nothing at {mount}/") from None
        if not found or (found["data"].get("options") or {}).get("version") != "2":
            raise NoCluster(f"{mount}/ in Vault is no KV of version 2")

    def _filled(self, text: str, job: str) -> str:
        metadata = self.prefix.replace("/data/", "/metadata/", 1)
        for name, value in {"prefix": self.prefix, "metadata": metadata, "job": job}.items():
            text = text.replace(f"${{{name}}}", value)
        return text

    def _policies(self, jobs: Mapping[str, object]) -> Iterator[ClusterChange]:
        files = {**dict.fromkeys(jobs, "policy"), WRITER: WRITER}
        for name, file in files.items():
            place = f"/v1/sys/policies/acl/{name}"
            wanted = {"policy": self._filled((FOLDER / f"{file}.hcl").read_text(), name)}
            yield from self._written(f"policy {name}", place, wanted)

    def _roles(self, jobs: Mapping[str, object]) -> Iterator[ClusterChange]:
        for job in jobs:
            place = f"/v1/auth/{AUTH_METHOD}/role/{job}"
            wanted = rules.read(FOLDER / "role.hcl", {"job": job, "namespace": namespace_of(job)})
            yield from self._written(f"role {job}", place, wanted)

    def _written(self, what: str, place: str, wanted: Mapping[str, Any]) -> Iterator[ClusterChange]:
        found = self.api.get(place)
        if found is None or rules.differs(wanted, found["data"]):
            how = "new" if found is None else "differs"
            yield ClusterChange(f"vault {what}", how, lambda: self.api.put(place, wanted))

    def _secret(self, job: str, items: Mapping[str, str]) -> Iterator[ClusterChange]:
        path = f"{self.prefix}/{job}"
        found = self.api.get(f"/v1/{path}")
        if found and found["data"]["data"] == items:
            return
        version = found["data"]["metadata"]["version"] if found else self._last(path)
        body = {"options": {"cas": version}, "data": dict(items)}
        how = f"{'differs' if found else 'new'}: {', '.join(sorted(items))}"
        yield ClusterChange(f"vault secret {path}", how, lambda: self.api.post(f"/v1/{path}", body))

    def _last(self, path: str) -> int:
        """The version of what was deleted, by which the next one is written; 0 if nothing was."""
        found = self.api.get(f"/v1/{path.replace('/data/', '/metadata/', 1)}")
        return int(found["data"]["current_version"]) if found else 0
