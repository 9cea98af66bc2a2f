"""Job and Consul files keep the house's rules; each rule is seen to catch its offence."""

import pytest

from cbs.bank import SERVICES
from cbs.tools.cluster.rules import written
from tests.nomad_jobs import rules
from tests.nomad_jobs.declared import texts

JOBS = texts("nomad/jobs", "*.nomad.hcl")
ENVIRONMENTS = texts("nomad/env", "*.hcl")
POLICIES = texts("nomad/policies", "*.hcl")
CONSUL = texts("consul", "**/*.hcl")
SERVICE, NATS = "nomad/jobs/service.nomad.hcl", "nomad/jobs/nats.nomad.hcl"
PRODUCTION = "nomad/env/production.hcl"


def test_there_is_something_to_look_at():
    assert SERVICE in JOBS
    assert ENVIRONMENTS
    assert CONSUL


@pytest.mark.parametrize("path", JOBS)
def test_a_job_keeps_the_rules(path):
    assert list(rules.of_job(path, JOBS[path])) == []


def test_who_deploys_may_deploy_and_look():
    assert POLICIES
    assert not [each for path in POLICIES for each in rules.of_policy(path, POLICIES[path])]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('"dispatch-job"]', '"dispatch-job", "alloc-exec"]'), "may alloc-exec"),
        (('namespace "cbs"', 'namespace "*"'), "other namespaces"),
        (('["read-job", "dispatch-job"]', '["read-job", "submit-job"]'), "submit-job in cbs-base"),
        (("  capabilities", '  policy = "write"\n  capabilities'), "besides capabilities"),
        (("namespace", 'node {\n  policy = "write"\n}\n\nnamespace'), "may touch node"),
    ],
)
def test_each_offence_of_a_policy_is_told(change, told):
    path, (good, bad) = "nomad/policies/cbs-deployer.hcl", change
    head, block, rest = POLICIES[path].partition('namespace "')
    planted = head + (block + rest).replace(good, bad, 1)

    assert any(told in offence for offence in rules.of_policy(path, planted))


@pytest.mark.parametrize("path", ENVIRONMENTS)
def test_variables_of_an_environment_are_some_jobs_and_no_secrets(path):
    assert list(rules.of_environment(path, ENVIRONMENTS[path], JOBS)) == []


def test_consul_denies_what_is_not_allowed():
    assert list(rules.of_consul(CONSUL)) == []


def test_a_canary_gets_some_of_the_requests_and_less_than_half():
    weights = [each["Defaults"] for each in written(CONSUL["consul/kv.hcl"], {})]
    named = {key.strip('"'): int(value) for each in weights for key, value in each.items()}

    assert set(named) == {f"cbs/routes/{service}/canary-percent" for service in SERVICES}
    assert all(0 < percent < 50 for percent in named.values())


OFFENCES = {
    ("datacenters = var.datacenters", 'datacenters = ["dc1"]'): "datacenters are not",
    ('namespace   = "cbs"', 'namespace = "default"'): "namespace is not cbs",
    ('priority    = var.service == "ledger" ? 80 : 70', ""): "no priority",
    ("auto_revert       = true", "auto_revert = false"): "not taken back",
    ('health_check      = "checks"', 'health_check = "task_states"'): "counts as well",
    ("max_parallel      = 1", "max_parallel = 2"): "more than one instance",
    ("canary            = 1", "canary = 0"): "meets everybody at once",
    ("auto_promote      = false", "auto_promote = true"): "nobody judges",
    ("  spread {", "  affinity {"): "may lie on one node",
    ("    restart {", "    disconnect {"): "how it is restarted",
    ("    reschedule {", "    disconnect {"): "how it is rescheduled",
    ("    migrate {", "    disconnect {"): "is drained",
    ('shutdown_delay = "3s"', ""): "before callers know",
    ('provider = "consul"', 'provider = "nomad"'): "not in Consul",
    ('name     = "cbs-${var.service}"', 'name = "${var.service}"'): "is not called cbs-",
    ("      check {", "      check_restart {"): "has no check",
    ('interval = "2s"', ""): "no interval",
    ('"/health/ready"', '"/"'): "does not ask for /health/ready",
    (
        "        sha        = var.sha\n        pex_sha256 = var.artifact_sha256\n      }",
        "      }",
    ): "in meta",
    ('canary     = "true"', 'canary = "false"'): "do not say that they are",
    ("memory = var.services[var.service].memory", ""): "no limit of cpu and memory",
    ('kill_timeout = "20s"', 'kill_timeout = "10s"'): "killed while it drains",
    (": var.driver", ': "raw_exec"'): "leave its driver",
    ("@sha256:${config.value.sha256}", ":latest"): "image of task service is not pinned",
    ("readonly_rootfs = true", ""): "may write into its image",
    ('["all"]', '["kill"]'): "may come by rights",
    ('["no-new-privileges"]', "[]"): "may come by rights",
    ('"${var.uid}:${var.gid}"', '"nobody"'): "may be nobody's there",
    (" : var.user\n", ' : "root"\n'): "task service runs as root",
    ("= var.user", '= "root"'): "runs as root",
    ("      logs {", "      lifecycle {"): "log without end",
    ('checksum = "sha256:${var.artifact_sha256}"', ""): "not pinned",
    ("source      = var.artifact_url", 'source = "https://example.org/x"'): "from a variable",
    (
        'CBS_NATS_NKEY_FILE     = "${NOMAD_SECRETS_DIR}/',
        'CBS_NATS_NKEY_FILE = "/etc/',
    ): "no file in",
    ('destination = "${NOMAD_SECRETS_DIR}/', 'destination = "${NOMAD_TASK_DIR}/'): "outside",
    ('perms       = "0400"', 'perms = "0644"'): "lets others read",
    ("postgresql://cbs_${var.service}@", "postgresql://cbs:geheim@"): "looks like a secret",
    ("  type = number\n", "  default = 1\n"): "has no type",
    ("render_templates = true", ""): "servers that it began with",
    ('var.mesh ? "loopback" : "default"', '"default"'): "answers the network past",
    ('var.mesh ? "mesh" : "http"', '"http"'): "is found past its sidecar",
    ('          port     = "mesh"\n', '          port = "http"\n'): "found without its sidecar",
    ("          sidecar = true\n", ""): "ends before what it stands for",
    ("memory = var.sidecar.memory", ""): "no limit of cpu",
}
OF_NATS = {
    ('path     = "/healthz"', 'path     = "/healthz?js-enabled-only=true"'): "has caught up",
    ('ping_interval: "2s"', 'ping_interval: "2m"'): "ping_interval of NATS is 2m here",
    ("          max_payload: 1048576\n", ""): "max_payload of NATS is None here",
    ('"SIGUSR2" : ', '"SIGTERM" : '): "hangs up on all clients",
    ('kill_timeout = "45s"', 'kill_timeout = "30s"'): "killed before it has sent",
}


@pytest.mark.parametrize(
    ("path", "change", "told"),
    [
        *((SERVICE, change, told) for change, told in OFFENCES.items()),
        *((NATS, change, told) for change, told in OF_NATS.items()),
    ],
    ids=lambda each: str(each)[:40],
)
def test_each_offence_of_a_job_is_told(path, change, told):
    good, bad = change
    assert good in JOBS[path]
    planted = JOBS[path].replace(good, bad)

    offences = list(rules.of_job(path, planted))

    assert any(told in offence for offence in offences)


UPKEEP_OFFENCES = {
    ("prohibit_overlap = true", ""): "while another goes on",
    ("time_zone        = var.time_zone", ""): "of no zone",
    ("crons            = var.verify.crons", 'crons = ["@daily"]'): "hours are not a variable",
    ("    restart {\n      attempts = 0", "    restart {\n      attempts = 2"): "is tried away",
    ("    reschedule {\n      attempts  = 0", "    reschedule {\n      attempts = 1"): "tried away",
}


@pytest.mark.parametrize(
    ("change", "told"), UPKEEP_OFFENCES.items(), ids=lambda each: str(each)[:40]
)
def test_each_offence_of_what_comes_by_itself_is_told(change, told):
    path, (good, bad) = "nomad/jobs/verify.nomad.hcl", change
    assert good in JOBS[path]

    assert any(told in offence for offence in rules.of_job(path, JOBS[path].replace(good, bad)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("nats_replicas     = 3", "nats_replicas = 5"), "of 3 servers: nothing could be kept"),
        (("nats_replicas     = 3", "nats_replicas = 1"), "facts that go with it"),
        (("nats_replicas     = 3", "nats_replicas = 2"), "nats_replicas is 2"),
        (("nats    = { count = 3", "nats    = { count = 4"), "nats.count is 4"),
        (("nats    = { count = 3", "nats    = { count = 1"), "stands still with its node"),
    ],
)
def test_an_environment_in_which_a_fact_could_be_lost_is_told(change, told):
    good, bad = change
    assert good in ENVIRONMENTS[PRODUCTION]
    planted = ENVIRONMENTS[PRODUCTION].replace(good, bad)

    assert any(told in each for each in rules.of_environment(PRODUCTION, planted, JOBS))


@pytest.mark.parametrize(
    "line",
    [
        'nkey = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"',
        'token = "0f5ba5a5-6b0e-4c0e-9d5a-000000000001"',
        'url = "nats://me:mine@127.0.0.1:4222"',
        'pem = "-----BEGIN PRIVATE KEY-----"',
        'jwt = "eyJhbGciOiJFZERTQSJ9.e30.x"',
    ],
)
def test_a_secret_is_seen_wherever_it_stands(line):
    for found in (
        rules.of_environment("nomad/env/planted.hcl", f"{line}\n", JOBS),
        rules.of_consul(CONSUL | {"consul/config/planted.hcl": f'Kind = "x"\nName = "y"\n{line}'}),
    ):
        assert any("looks like a secret" in offence for offence in found)


def test_a_variable_that_no_job_has_is_told():
    (offence,) = rules.of_environment("nomad/env/x.hcl", "copies = 3\n", JOBS)
    assert "no job has a variable copies" in offence


def test_a_service_that_the_bank_does_not_have_is_told():
    text = "services = { ledgers = { count = 3 } }\n"
    (offence,) = rules.of_environment("nomad/env/x.hcl", text, JOBS)
    assert "there is no service ledgers" in offence


@pytest.mark.parametrize(
    ("path", "change", "told"),
    [
        ("config/intentions-default", ("deny", "allow"), "is not denied"),
        ("config/intentions", ("cbs-gateway", "cbs-payments"), "to it alone"),
        ("config/defaults", ("cbs-${service}", "${service}"), "has no service-defaults"),
        ("binding-rules/cbs-service", ("${services}", "ledger"), "some service has no such token"),
        ("binding-rules/sidecars", ("${services}", "ledger"), "some service has no such token"),
        ("binding-rules/sidecars", ("nomad_task ==", "nomad_job_id !="), "its neighbours may"),
        ("auth-methods/nomad-workloads", ("Config =", 'MaxTokenTTL = "24h"\nConfig ='), "run out"),
        ("policies/cbs-gateway", ('key_prefix "cbs/routes/"', 'operator = "write"\nx "y"'), "oper"),
        ("policies/cbs-gateway", ('"cbs-" {\n  policy = "read"', '"" {\n  policy = "write"'), "ev"),
    ],
)
def test_each_offence_of_consul_is_told(path, change, told):
    path = f"consul/{path}.hcl"
    assert change[0] in CONSUL[path]
    planted = CONSUL | {path: CONSUL[path].replace(*change)}

    assert any(told in offence for offence in rules.of_consul(planted))
