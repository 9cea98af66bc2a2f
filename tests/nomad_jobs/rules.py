"""What every job and Consul file must say; each rule yields a sentence for each offence."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cbs.bank import SERVICES
from cbs.platform.process import DRAIN_SECONDS_MAX
from cbs.tools.cluster.namespaces import namespace_of
from cbs.tools.cluster.rules import written
from cbs.tools.local.nats_server import LIMITS
from tests.nomad_jobs.declared import labelled, read, seconds

Block = dict[str, Any]
READY = "/health/ready"
IN_SECRETS = "${NOMAD_SECRETS_DIR}"
SENSITIVE = re.compile(r"PASS|TOKEN|SEED|SECRET|NKEY|PRIVATE|_KEY")
SERVERS_OF_NATS = (1, 3, 5)
WELL_OF_NATS = "/healthz"  # with a question behind it, it would not look at what a server has
DRIVERS = re.compile(r"^\$\{(var\.driver|.* \? var\.image_driver : var\.driver)\}$")
ROOT = re.compile(r"\broot\b|^0|\"0[:\"]")
PINNED_IMAGE = re.compile(r"@sha256:\$\{[\w.]+\.sha256\}$")
READS_SECRETS = re.compile(r"\blocal\.secrets\b|\bnomadVar\b|\bsecret \\?\"")
PINNED = re.compile(r"sha256:(\$\{(var\.|NOMAD_META_)|[0-9a-f]{64}$)")
SECRETS = re.compile(
    r"-----BEGIN|eyJ[\w-]{10,}\.|\bS[UAONCX][A-Z2-7]{56}\b|://[^/\s:$]+:[^/\s@$]+@"
    r"|(?i:password|secret|token)\s*=\s*\"[^\"$/{]{6,}\""
)


def of_job(path: str, text: str) -> Iterator[str]:
    """Offences of a job's file against every rule, each with where it is."""
    file = read(text)
    for name, job in labelled(file["job"]).items():
        if job.get("namespace") != namespace_of(name):
            yield f"{path}, job {name}: its namespace is not {namespace_of(name)}"
        for rule in RULES:
            yield from (f"{path}, job {name}: {offence}" for offence in rule(job))
    for name, variable in labelled(file.get("variable", [])).items():
        if "type" not in variable:
            yield f"{path}: variable {name} has no type"
    yield from secrets_in(path, text)


def secrets_in(path: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if SECRETS.search(line):
            yield f"{path}:{number}: looks like a secret; a template reads it from a variable"


def of_environment(path: str, text: str, jobs: Mapping[str, str]) -> Iterator[str]:
    """Offences of a file of variables: each must be some job's."""
    known = {name for job in jobs.values() for name in labelled(read(job).get("variable", []))}
    # Of which `cbs cluster` makes each job's artifact, and each service's count.
    known |= {"artifacts_url", "instances"}
    for name in read(text):
        if name not in known:
            yield f"{path}: no job has a variable {name}"
    for service in {*read(text).get("services", {})} - {*SERVICES}:
        yield f"{path}: there is no service {service}"
    yield from secrets_in(path, text)
    for offence in _keeps_facts(read(text)):
        yield f"{path}: {offence}"


def _keeps_facts(values: Block) -> Iterator[str]:
    """Where there are several nodes, any one may go and take no fact with it."""
    servers, replicas = values.get("nats", {}).get("count", 1), values.get("nats_replicas", 1)
    for name, number in (("nats.count", servers), ("nats_replicas", replicas)):
        if number not in SERVERS_OF_NATS:
            yield f"{name} is {number}: an even number loses no more servers than one less"
    if replicas > servers:
        yield f"nats_replicas is {replicas}, of {servers} servers: nothing could be kept"
    if servers > 1 and replicas == 1:
        yield f"each of {servers} servers has facts that go with it: nats_replicas"
    if values.get("driver") == "exec" and servers < 3:
        yield "one server of NATS, and the bank stands still with its node: nats.count"


DEPLOYS = {
    "cbs": {"list-jobs", "parse-job", "read-job", "submit-job", "dispatch-job"},
    "cbs-base": {"read-job", "dispatch-job"},
}


def of_policy(path: str, text: str) -> Iterator[str]:
    """Offences of a policy of Nomad: it may deploy and look, and nothing else."""
    policy = read(text)
    for kind in policy.keys() - {"namespace"}:
        yield f"{path}: it may touch {kind}"
    for name, namespace in labelled(policy.get("namespace", [])).items():
        if name not in DEPLOYS:
            yield f"{path}: it may touch other namespaces: {name}"
        for what in namespace.keys() - {"capabilities"}:
            yield f"{path}: it has {what} besides capabilities"
        for each in sorted({*namespace.get("capabilities", ())} - DEPLOYS.get(name, set())):
            yield f"{path}: it may {each} in {name}"


def groups(job: Block) -> Iterator[tuple[str, Block]]:
    yield from labelled(job.get("group", [])).items()


def tasks(job: Block) -> Iterator[tuple[str, Block]]:
    for _, group in groups(job):
        yield from labelled(group.get("task", [])).items()
        for dynamic in group.get("dynamic", []):
            for content in dynamic.get("task", {}).get("content", []):
                yield str(dynamic["task"]["for_each"]), content


def _lasts(job: Block) -> bool:
    return bool(job.get("type", "service") == "service")


def _anywhere(job: Block) -> Iterator[str]:
    if not str(job.get("datacenters", "")).startswith("${var."):
        yield "its datacenters are not a variable"
    if "priority" not in job:
        yield "it has no priority: where room is short, it is as dear as anything else"


def _released(job: Block) -> Iterator[str]:
    """A release is tried on one instance, judged, and taken back by itself."""
    if not _lasts(job):
        return
    (update,) = job.get("update") or [{}]
    if update.get("auto_revert") is not True:
        yield "what fails is not taken back: update needs auto_revert = true"
    if update.get("health_check") != "checks":
        yield 'an instance counts as well when it runs: update needs health_check = "checks"'
    if update.get("max_parallel") != 1:
        yield "more than one instance is replaced at a time: update needs max_parallel = 1"
    if not job.get("spread") and not all(_keeps_to_its_node(group) for _, group in groups(job)):
        yield "its instances may lie on one node: it needs spread"
    if _canaried(job):
        if not update.get("canary"):
            yield "a release meets everybody at once: update needs canary = 1"
        if update.get("auto_promote") is not False:
            yield "nobody judges a canary: update needs auto_promote = false"


def _timed(job: Block) -> Iterator[str]:
    """What comes by itself comes once at a time, at the bank's hours, and its failure stays."""
    for periodic in job.get("periodic", []):
        if periodic.get("prohibit_overlap") is not True:
            yield "a run begins while another goes on: periodic needs prohibit_overlap = true"
        if not periodic.get("time_zone"):
            yield "its hours are of no zone: periodic needs time_zone"
        if not str(periodic.get("crons", "")).startswith("${var."):
            yield "its hours are not a variable: periodic needs crons"
        for name, group in groups(job):
            (restart,) = group.get("restart") or [{}]
            if not _keeps_to_its_node(group) or restart.get("attempts") != 0:
                yield f"a failure of {name} is tried away: restart and reschedule attempts = 0"


def _canaried(job: Block) -> bool:
    """A canary stands beside what is there: not on a port that a node has once."""
    return _is_ours(job) and not any(
        "static" in port
        for _, group in groups(job)
        for network in group.get("network", [])
        for port in labelled(network.get("port", [])).values()
    )


def _is_ours(job: Block) -> bool:
    """It runs a PEX, which answers READY."""
    artifacts = (a for _, task in tasks(job) for a in blocks(task, "artifact"))
    return any(str(artifact.get("destination")).endswith(".pex") for artifact in artifacts)


def _keeps_to_its_node(group: Block) -> bool:
    """What has its data on a node waits for that node, rather than to begin anew elsewhere."""
    (reschedule,) = group.get("reschedule") or [{}]
    return bool(reschedule.get("attempts") == 0)


def _services(group: Block) -> list[Block]:
    found: list[Block] = group.get("service", [])
    return found


def _grouped(job: Block) -> Iterator[str]:
    for name, group in groups(job):
        if "restart" not in group:
            yield f"group {name} does not say how it is restarted"
        if not _lasts(job):
            continue
        if "reschedule" not in group:
            yield f"group {name} does not say how it is rescheduled"
        if "migrate" not in group and not _keeps_to_its_node(group):
            yield f"group {name} does not say how it leaves a node that is drained: migrate"
        if _services(group) and seconds(group.get("shutdown_delay")) < 1:
            yield f"group {name} is told to stop before callers know: it needs shutdown_delay"


def _found(job: Block) -> Iterator[str]:
    for _, group in groups(job):
        for service in _services(group):
            name = str(service.get("name"))
            if not name.startswith("cbs-"):
                yield f"service {name} is not called cbs-…"
            if service.get("provider", "consul") != "consul":
                yield f"service {name} is not in Consul"
            checks = service.get("check", [])
            # Servers find each other under it before any of them is well.
            if not checks and not name.endswith("-cluster"):
                yield f"service {name} has no check"
            for check in checks:
                if _is_ours(job) and check.get("path") != READY:
                    yield f"a check of service {name} does not ask for {READY}"
                if not (seconds(check.get("interval")) and seconds(check.get("timeout"))):
                    yield f"a check of service {name} has no interval or timeout"
            (meta,) = service.get("meta") or [{}]
            (canary,) = service.get("canary_meta") or [{}]
            if _is_ours(job) and not {"version", "sha"} <= set(meta):
                yield f"service {name} does not say version and sha in meta"
            told = set(meta) <= set(canary) and canary.get("canary") == "true"
            if _canaried(job) and not told:
                yield f"canaries of service {name} do not say that they are: canary_meta"


def _meshed(job: Block) -> Iterator[str]:
    """With a sidecar beside it a service is asked through that alone."""
    for name, group in groups(job):
        if not any("task" in dynamic for dynamic in group.get("dynamic", [])):
            continue
        ports = {
            label: port
            for network in group["network"]
            for label, port in labelled(network["port"]).items()
        }
        if 'var.mesh ? "loopback"' not in str(ports["http"].get("host_network")):
            yield f"group {name} answers the network past its sidecar: host_network of port http"
        for service in _services(group):
            if 'var.mesh ? "mesh"' not in str(service.get("port")):
                yield f"service {service['name']} is found past its sidecar: port"
            checked = [each["check"]["content"] for each in service.get("dynamic", [])]
            if not any(check.get("port") == "mesh" for content in checked for check in content):
                yield f"service {service['name']} is found without its sidecar: check"
        for task, block in tasks(job):
            if "sidecar" in task and (block.get("lifecycle") or [{}])[0].get("sidecar") is not True:
                yield f"task {task} ends before what it stands for: lifecycle"


def _run(job: Block) -> Iterator[str]:
    for name, task in tasks(job):
        (resources,) = task.get("resources") or [{}]
        if not {"cpu", "memory"} <= set(resources):
            yield f"task {name} has no limit of cpu and memory"
        if seconds(task.get("kill_timeout")) <= DRAIN_SECONDS_MAX and _lasts(job):
            yield f"task {name} is killed while it drains: kill_timeout above {DRAIN_SECONDS_MAX}s"
        if not DRIVERS.search(str(task.get("driver"))):
            yield f"task {name} does not leave its driver to the environment"
        if ROOT.search(str(task.get("user", "root"))):
            yield f"task {name} runs as root: it needs user"
        if "logs" not in task:
            yield f"task {name} may log without end: it needs logs"


def _fetched(job: Block) -> Iterator[str]:
    for name, task in tasks(job):
        for config in blocks(task, "config"):
            if "image" in config and not PINNED_IMAGE.search(str(config["image"])):
                yield f"the image of task {name} is not pinned by its sha256"
            if "image" in config and config.get("readonly_rootfs") is not True:
                yield f"task {name} may write into its image: it needs readonly_rootfs = true"
            if "image" in config and not (
                config.get("cap_drop") == ["all"]
                and "no-new-privileges" in config.get("security_opt", ())
            ):
                yield f"task {name} may come by rights in its image: cap_drop and security_opt"
            if "image" in config and "${var.uid}:${var.gid}" not in str(task.get("user")):
                yield f"task {name} has a name in its image that may be nobody's there: user"
        for artifact in blocks(task, "artifact"):
            (options,) = artifact.get("options") or [{}]
            if not PINNED.match(str(options.get("checksum"))):
                yield f"an artifact of task {name} is not pinned by its sha256"
            if "${" not in str(artifact.get("source")) or "://" in str(artifact.get("source")):
                yield f"an artifact of task {name} does not come from a variable"


def _handed(job: Block) -> Iterator[str]:
    """Secrets reach a task through templates, into files that only it reads."""
    for name, task in tasks(job):
        for variable, value in _environment(task):
            if SENSITIVE.search(variable) and not (IN_SECRETS in value or "/dev/null" in value):
                yield f"task {name} has {variable}, which leads to no file in {IN_SECRETS}"
        for template in blocks(task, "template"):
            if READS_SECRETS.search(str(template.get("data"))):
                if not str(template.get("destination")).startswith((IN_SECRETS, "secrets/")):
                    yield f"a template of task {name} puts a secret outside {IN_SECRETS}"
                if template.get("perms") not in ("0400", "0600"):
                    yield f"a template of task {name} lets others read a secret: perms"


def _environment(task: Block) -> Iterator[tuple[str, str]]:
    """Of a block as well as of an expression that makes one."""
    env = task.get("env", {})
    for each in env if isinstance(env, list) else [env]:
        if isinstance(each, str):
            yield from re.findall(r'\b([A-Z][A-Z_]+) = ("[^"]*"|[^,}]+)', each)
        else:
            yield from ((name, str(value)) for name, value in each.items())


def blocks(task: Block, kind: str) -> Iterator[Block]:
    """Of a kind, and what is made of them by `dynamic`."""
    yield from task.get(kind, [])
    for dynamic in task.get("dynamic", []):
        yield from dynamic.get(kind, {}).get("content", [])


def _bus(job: Block) -> Iterator[str]:
    """NATS itself, and who asks Consul where it is."""
    for name, group in groups(job):
        (restart,) = group.get("restart") or [{}]
        checks = [check for service in _services(group) for check in service.get("check", [])]
        for _, task in labelled(group.get("task", [])).items():
            for template in blocks(task, "template"):
                data = str(template.get("data"))
                if (
                    template.get("env")
                    and "service \\" in data
                    and not restart.get("render_templates")
                ):
                    yield f"group {name} keeps to servers that it began with: render_templates"
                if "lame_duck_duration" in data:
                    yield from _of_nats(task, data, [str(check.get("path")) for check in checks])


def _of_nats(task: Block, conf: str, asked: list[str]) -> Iterator[str]:
    said = dict(re.findall(r"^ *(\w+): \"?(\w+)\"?$", conf, re.M))
    for name, value in LIMITS.items():
        if said.get(name) != str(value):
            yield f"{name} of NATS is {said.get(name)} here, and {value} for ./cbs up"
    if seconds(task.get("kill_timeout")) <= seconds(said.get("lame_duck_duration")):
        yield "NATS is killed before it has sent its clients to the others: kill_timeout"
    if "SIGUSR2" not in str(task.get("kill_signal")):
        yield "NATS hangs up on all clients at once: kill_signal, where there are others"
    if asked != [WELL_OF_NATS]:
        yield f"the next server leaves before this one has caught up: check {WELL_OF_NATS}"


RULES = (
    _anywhere,
    _released,
    _timed,
    _grouped,
    _found,
    _meshed,
    _run,
    _fetched,
    _handed,
    _bus,
)


def of_consul(files: Mapping[str, str]) -> Iterator[str]:
    """Offences of all of consul/ together: who may call whom, and who may do what."""
    entries = [e for path, text in files.items() if "/config/" in path for e in written(text, {})]
    intentions = {e["Name"]: e["Sources"] for e in entries if "Sources" in e}
    if intentions.get("*") != [{"Name": "*", "Action": "deny"}]:
        yield "consul: what no intention allows is not denied"
    for service in SERVICES:
        name = f"cbs-{service}"
        if intentions.get(name) != [{"Name": "cbs-gateway", "Action": "allow"}]:
            yield f"consul: {name} is not open to the gateway, and to it alone"
        if not any(e["Kind"] == "service-defaults" and e["Name"] == name for e in entries):
            yield f"consul: {name} has no service-defaults"
    for rule in ("cbs-service", "sidecars"):
        (found,) = written(files[f"consul/binding-rules/{rule}.hcl"], {})
        selector = found["Selector"]
        if f"({'|'.join(SERVICES)})" not in selector:
            yield f"consul: some service has no such token: binding-rules/{rule}"
        if "value.nomad_task ==" not in selector:
            yield f"consul: what one task may, its neighbours may: binding-rules/{rule}"
    for path, text in files.items():
        yield from secrets_in(path, text)
        if "/auth-methods/" in path and "MaxTokenTTL" in read(text):
            yield f"{path}: Nomad gets a token once, and it would run out: MaxTokenTTL"
        if "/policies/" in path:
            yield from (f"{path}: {offence}" for offence in _allowed(read(text)))


def _allowed(policy: Block) -> Iterator[str]:
    for kind in ("acl", "operator", "keyring", "mesh", "peering"):
        if kind in policy:
            yield f"it may touch {kind}"
    for kind, blocks in policy.items():
        if kind.startswith(("key", "service", "session", "event", "query")):
            for name, block in labelled(blocks).items():
                if name == "" and block.get("policy") != "read":
                    yield f"it may write every {kind.removesuffix('_prefix')}"
