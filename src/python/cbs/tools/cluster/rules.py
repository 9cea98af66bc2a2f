"""What Consul is to hold lies in consul/: it is compared, and only what differs is written."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hcl2
from hcl2.utils import SerializationOptions

from cbs.bank import SERVICES
from cbs.tools.cluster.api import Api, keep, kept

ROOT = Path(__file__).parents[5]
PLAIN = SerializationOptions(strip_string_quotes=True, explicit_blocks=False, with_comments=False)


@dataclass(frozen=True, slots=True)
class ClusterChange:
    """Something of the cluster that is not as our files say; `make` makes it so."""

    what: str
    how: str
    make: Callable[[], object]


def read(path: Path, values: Mapping[str, str]) -> dict[str, Any]:
    return loaded(path.read_text(), values)


def written(text: str, values: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """What a file of consul/ stands for: one that says `${service}`, for as many as there are."""
    each = [{"service": service} for service in SERVICES] if "${service}" in text else [{}]
    for service in each:
        yield loaded(text, {"services": "|".join(SERVICES), **values, **service})


def loaded(text: str, values: Mapping[str, str]) -> dict[str, Any]:
    """HCL with `${name}` replaced; `$${` stands for a literal `${`."""
    found = hcl2.loads(text, serialization_options=PLAIN)
    return {key: _filled(value, values) for key, value in found.items()}


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {_filled(k, values): _filled(v, values) for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(each, values) for each in value]
    if not isinstance(value, str):
        return value
    for name, text in values.items():
        value = value.replace(f"${{{name}}}", text)
    return value.replace("$${", "${").replace('\\"', '"')


def differs(wanted: Any, found: Any) -> bool:
    """Whether something wanted is not there; what Consul adds of its own does not count."""
    if isinstance(wanted, dict):
        return not isinstance(found, dict) or any(
            differs(value, found.get(key)) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            not isinstance(found, list)
            or len(wanted) != len(found)
            or any(differs(*pair) for pair in zip(wanted, found, strict=True))
        )
    return bool(wanted != found)


@dataclass(frozen=True, slots=True)
class Rules:
    """The folder consul/ against one Consul; `values` fill its files."""

    consul: Api
    values: Mapping[str, str]
    folder: Path = ROOT / "consul"

    def changes(self) -> Iterator[ClusterChange]:
        """In the order in which they are to be made."""
        yield from self._policies()
        yield from self._named("roles", "role", "/v1/acl/role")
        yield from self._named("auth-methods", "auth method", "/v1/acl/auth-method")
        yield from self._bindings()
        yield from self._entries()
        yield from self._defaults()

    def _files(self, kind: str) -> list[Path]:
        return sorted((self.folder / kind).glob("*.hcl"))

    def _read(self, kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        for path in self._files(kind):
            yield from ((path, wanted) for wanted in written(path.read_text(), self.values))

    def _policies(self) -> Iterator[ClusterChange]:
        for path in self._files("policies"):
            wanted = {"Name": path.stem, "Rules": path.read_text()}
            found = self.consul.get(f"/v1/acl/policy/name/{path.stem}")
            yield from self._written(f"policy {path.stem}", wanted, found, "/v1/acl/policy")

    def _named(self, folder: str, kind: str, place: str) -> Iterator[ClusterChange]:
        for _, wanted in self._read(folder):
            by_name = f"{place}/name/{wanted['Name']}" if kind == "role" else None
            found = self.consul.get(by_name or f"{place}/{wanted['Name']}")
            yield from self._written(f"{kind} {wanted['Name']}", wanted, found, place)

    def _bindings(self) -> Iterator[ClusterChange]:
        known = {
            (rule["AuthMethod"], rule["Description"]): rule
            for rule in self.consul.get("/v1/acl/binding-rules") or ()
        }
        for path, wanted in self._read("binding-rules"):
            found = known.get((wanted["AuthMethod"], wanted["Description"]))
            place = "/v1/acl/binding-rule"
            yield from self._written(f"binding rule {path.stem}", wanted, found, place)

    def _written(
        self, what: str, wanted: dict[str, Any], found: Any, place: str
    ) -> Iterator[ClusterChange]:
        if not differs(wanted, found):
            return
        if found and "ID" in found:
            wanted, place = wanted | {"ID": found["ID"]}, f"{place}/{found['ID']}"
        elif found:
            place = f"{place}/{wanted['Name']}"
        how = "differs" if found else "new"
        yield ClusterChange(f"consul {what}", how, lambda: self.consul.put(place, wanted))

    def _entries(self) -> Iterator[ClusterChange]:
        for _, wanted in self._read("config"):
            kind, name = wanted["Kind"], wanted["Name"]
            found = self.consul.get(f"/v1/config/{kind}/{name}")
            if differs(wanted, found):

                def write(wanted: dict[str, Any] = wanted) -> None:
                    self.consul.put("/v1/config", wanted)

                yield ClusterChange(f"consul {kind} {name}", "differs" if found else "new", write)

    def _defaults(self) -> Iterator[ClusterChange]:
        text = (self.folder / "kv.hcl").read_text()
        wanted = [each["Defaults"] for each in written(text, self.values)]
        for key, value in ((k.strip('"'), v) for each in wanted for k, v in each.items()):
            if kept(self.consul, key) is None:

                def write(key: str = key, value: str = value) -> None:
                    keep(self.consul, key, value)

                yield ClusterChange(f"consul key {key}", f"new: {value}", write)
