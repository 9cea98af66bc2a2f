"""Who releases has tokens of their own, which read no secret and touch no rule."""

from collections.abc import Iterator
from pathlib import Path

from cbs.tools.cluster import namespaces
from cbs.tools.cluster.api import Api, NoCluster
from cbs.tools.cluster.rules import ROOT, ClusterChange
from cbs.tools.local.folder import Folder, write_whole

NAME = "cbs-deployer"
TOKENS = {"consul": "consul-deployer.token", "nomad": "nomad-deployer.token"}
POLICY = ROOT / "nomad" / "policies" / f"{NAME}.hcl"


def changes(consul: Api, nomad: Api, folder: Folder) -> Iterator[ClusterChange]:
    """Nomad's namespaces and policy, and a token of each; Consul's policy is one of
    consul/policies. A token that works is left alone."""
    for name, description in namespaces.DESCRIPTIONS.items():
        if nomad.get(f"/v1/namespace/{name}") is None:
            space = {"Name": name, "Description": description}

            def add(space: dict[str, str] = space) -> None:
                nomad.put("/v1/namespace", space)

            yield ClusterChange(f"nomad namespace {name}", "new", add)
    wanted = {"Name": NAME, "Description": "Who releases.", "Rules": POLICY.read_text()}
    found = nomad.get(f"/v1/acl/policy/{NAME}")
    if found is None or found["Rules"] != wanted["Rules"]:
        how = "new" if found is None else "differs"
        yield ClusterChange(
            f"nomad policy {NAME}", how, lambda: nomad.put(f"/v1/acl/policy/{NAME}", wanted)
        )
    bodies = {
        "consul": {"Description": NAME, "Policies": [{"Name": NAME}]},
        "nomad": {"Name": NAME, "Type": "client", "Policies": [NAME]},
    }
    for api in (consul, nomad):
        file = folder.secret(TOKENS[api.name])
        if not _works(api, file):

            def make(api: Api = api, file: Path = file) -> None:
                write_whole(file, api.put("/v1/acl/token", bodies[api.name])["SecretID"])

            yield ClusterChange(f"{api.name} token {NAME}", "new", make)


def _works(api: Api, file: Path) -> bool:
    if not file.exists():
        return False
    try:
        own = Api.at(api.name, api.url, file.read_text().strip()).get("/v1/acl/token/self")
    except NoCluster:
        return False
    return own is not None and NAME in str(own["Policies"])
