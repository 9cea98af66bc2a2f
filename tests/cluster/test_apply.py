"""What is applied to a real Consul and Nomad is there afterwards, once, and only that."""

import json
import os
import subprocess
from typing import Any
from uuid import uuid4

import pytest

from cbs.bank import SERVICES
from cbs.platform.declaration import declaration_of
from cbs.tools.cluster import agents, binaries, deployer, environments, variables
from cbs.tools.cluster.api import Api, Declined, NoCluster, keep, kept
from cbs.tools.cluster.apply import ClusterApply
from cbs.tools.cluster.artifacts import KEPT_MAX, PROGRAMS, Artifact, gather
from cbs.tools.cluster.jobs import FOLDER, Jobs, NomadJob, assigned
from cbs.tools.cluster.namespaces import FORMER
from cbs.tools.cluster.rules import Rules
from cbs.tools.cluster.running import RELEASE, SHA, left_behind, package_of, sha_of
from cbs.tools.local.folder import write_whole
from tests.cluster.conftest import found

LOOSE = 'namespace "*" {\n  policy = "write"\n}\n'
OWN = {
    "artifacts_url": "http://127.0.0.1:1",
    "consul_url": "http://127.0.0.1:8500",
    "gateway_port": 8080,
    "nats_port": 4222,
    "nats_url": "nats://127.0.0.1:4222",
    "nats_folder": "/nonexistent",
    "postgres": "127.0.0.1:5432",
    "python": "/usr/bin/python3.11",
    "user": "nobody",
    "uid": 65534,
    "gid": 65534,
    "sha": "0" * 40,
    "version": "1",
    "service": "ledger",
    "artifact_url": "http://127.0.0.1:1/ledger.pex",
    "artifact_sha256": "0" * 64,
    "postgres_artifact_url": "http://127.0.0.1:1/postgres.tar.gz",
    "postgres_artifact_sha256": "0" * 64,
    "nats_artifact_url": "http://127.0.0.1:1/nats",
    "nats_artifact_sha256": "0" * 64,
}


@pytest.fixture
def rules(real) -> Rules:
    return Rules(real.consul, {"nomad_url": real.nomad.url})


@pytest.fixture
def jobs(real) -> Jobs:
    return Jobs(nomad=real.nomad, values=values("laptop"))


def values(environment: str) -> str:
    text = (environments.ENVIRONMENTS / f"{environment}.hcl").read_text()
    needs = {service: declaration_of(service).needs for service in SERVICES}
    return assigned(OWN | environments.values(text, {}, needs))


def test_consul_holds_what_the_files_say_and_a_second_time_nothing_differs(rules):
    for change in rules.changes():
        change.make()

    assert [change.what for change in rules.changes()] == []


@pytest.mark.parametrize(
    ("place", "body", "said"),
    [
        (
            "/v1/config",
            {
                "Kind": "service-intentions",
                "Name": "*",
                "Sources": [{"Name": "*", "Action": "allow"}],
            },
            "consul service-intentions *",
        ),
        (
            "/v1/config",
            {
                "Kind": "service-intentions",
                "Name": "cbs-ledger",
                "Sources": [
                    {"Name": "cbs-gateway", "Action": "allow"},
                    {"Name": "stranger", "Action": "allow"},
                ],
            },
            "consul service-intentions cbs-ledger",
        ),
    ],
)
def test_what_somebody_loosened_in_consul_is_seen_and_put_right(real, rules, place, body, said):
    for change in rules.changes():
        change.make()
    real.consul.put(place, body)

    (change,) = rules.changes()
    assert (change.what, change.how) == (said, "differs")
    change.make()

    assert not list(rules.changes())


def test_a_weight_that_an_operator_set_is_left_alone(real, rules):
    keep(real.consul, "cbs/routes/ledger/canary-percent", "7")

    for change in rules.changes():
        change.make()

    assert kept(real.consul, "cbs/routes/ledger/canary-percent") == "7"


def test_consul_and_nomad_tell_a_stranger_nothing(real):
    stranger = Api.at("consul", real.consul.url, "")
    assert not stranger.get("/v1/catalog/services")
    with pytest.raises(NoCluster, match="refuses this token"):
        stranger.put("/v1/kv/cbs/routes/ledger/canary-percent", b"100")
    with pytest.raises(NoCluster, match="refuses this token"):
        Api.at("nomad", real.nomad.url, "").get("/v1/jobs")


def test_nomads_own_token_may_not_read_keys_nor_write_rules(real):
    secret = agents.token(real.folder, agents.NOMAD_AGENT)
    nomads = Api.at("consul", real.consul.url, secret)
    with pytest.raises(NoCluster, match="refuses this token"):
        nomads.get("/v1/kv/cbs/routes/ledger/canary-percent")
    with pytest.raises(NoCluster, match="refuses this token"):
        nomads.put("/v1/acl/policy", {"Name": "mine", "Rules": 'acl = "write"'})


def test_secrets_are_written_once_and_no_change_shows_one(real):
    wanted = variables.wanted(real.folder)
    first = list(variables.changes(real.nomad, wanted))
    said = " ".join(change.what + change.how for change in first)
    assert not [value for items in wanted.values() for value in items.values() if value in said]
    for change in first:
        change.make()

    assert not list(variables.changes(real.nomad, wanted))
    assert {change.what for change in first} >= {"nomad variable nomad/jobs/cbs-ledger"}


def test_a_secret_that_somebody_else_writes_meanwhile_is_not_overwritten(real):
    job = {"cbs-elsewhere": {"token": "first"}}
    (late,) = variables.changes(real.nomad, job)
    (early,) = variables.changes(real.nomad, {"cbs-elsewhere": {"token": "second"}})
    early.make()

    with pytest.raises(Declined):
        late.make()


def test_a_secret_that_was_made_anew_replaces_the_old_one(real):
    for token in ("first", "second"):
        job = {"cbs-renewed": {"token": token}}
        (change,) = variables.changes(real.nomad, job)
        change.make()

        assert not [*variables.changes(real.nomad, job)]


def test_who_deploys_has_tokens_that_are_made_once_and_made_anew_when_they_are_gone(real, rules):
    for change in rules.changes():
        change.make()
    for change in deployer.changes(real.consul, real.nomad, real.folder):
        change.make()
    assert not [*deployer.changes(real.consul, real.nomad, real.folder)]

    real.folder.secret(deployer.TOKENS["consul"]).unlink()
    write_whole(real.folder.secret(deployer.TOKENS["nomad"]), str(uuid4()))
    made = [*deployer.changes(real.consul, real.nomad, real.folder)]
    assert [each.what for each in made] == ["consul token cbs-deployer", "nomad token cbs-deployer"]
    for change in made:
        change.make()

    assert not [*deployer.changes(real.consul, real.nomad, real.folder)]
    real.nomad.put("/v1/acl/policy/cbs-deployer", {"Name": "cbs-deployer", "Rules": LOOSE})
    (change,) = deployer.changes(real.consul, real.nomad, real.folder)
    assert (change.what, change.how) == ("nomad policy cbs-deployer", "differs")
    change.make()


def test_no_service_is_given_what_another_enters_with(real):
    wanted = variables.wanted(real.folder)
    seeds = [wanted[f"cbs-{service}"]["nkey"] for service in ("ledger", "payments", "audit")]
    assert len(set(seeds)) == 3
    assert "vault" not in wanted["cbs-ledger"] and "vault" in wanted["cbs-customers"]
    assert not [seed for seed in seeds if seed in json.dumps(wanted["cbs-nats"])]


@pytest.mark.parametrize("more", [{}, {"vault": "kv/data/cbs"}], ids=["nomad", "vault"])
@pytest.mark.parametrize("environment", ["laptop", "production"])
@pytest.mark.parametrize("file", sorted(each.name for each in FOLDER.glob("*.hcl")))
def test_every_job_is_valid_in_every_environment(real, file, environment, more):
    jobs = Jobs(nomad=real.nomad, values=values(environment) + assigned(more))
    job = jobs.parse(file.removesuffix(".nomad.hcl"))
    if job.wanted:
        said = real.nomad.post("/v1/validate/job", {"Job": job.body})
        assert not said["ValidationErrors"], said
        assert not said["Warnings"], said


def test_a_service_runs_from_its_image_where_an_environment_names_one(real):
    image = {"name": "registry.bank.example/cbs-ledger", "sha256": "a" * 64}
    text = values("production") + assigned({"images": {"ledger": image}})
    said = {}
    for service in ("ledger", "payments"):
        named = text.replace('service = "ledger"', f'service = "{service}"')
        body = Jobs(nomad=real.nomad, values=named).parse("service").body
        assert not real.nomad.post("/v1/validate/job", {"Job": body})["ValidationErrors"]
        said[service] = body["TaskGroups"][0]["Tasks"][0]

    ledger, payments = said["ledger"], said["payments"]
    assert (ledger["Driver"], payments["Driver"]) == ("docker", "exec")
    assert ledger["Config"] == {
        "image": f"{image['name']}@sha256:{image['sha256']}",
        "args": ["serve"],
        "network_mode": "host",
        "readonly_rootfs": True,
        "cap_drop": ["all"],
        "security_opt": ["no-new-privileges"],
    }
    assert (ledger["User"], payments["User"]) == ("65534:65534", "nobody")
    assert payments["Config"]["command"] == "/usr/bin/python3.11"
    assert (ledger["Artifacts"], len(payments["Artifacts"])) == (None, 1)
    assert ledger["Env"].keys() == payments["Env"].keys()


def test_a_plan_says_what_would_change_and_nothing_when_nothing_would(real, jobs):
    job = jobs.parse("migrate")
    how, index = jobs.plan(job)
    assert how.startswith("added")
    jobs.register(job, index)

    assert jobs.plan(job)[0] == ""
    job.body["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMB"] += 1
    how, index = jobs.plan(job)
    assert "edited" in how and "MemoryMB" in how
    jobs.register(job, index)
    with pytest.raises(Declined, match="modify index"):
        jobs.register(job, index)


PROGRAM = {"artifact_url", "artifact_sha256", "sha", "version", "service"}


def at_hand(real: Any, digest: str, sha: str, *, replaces: bool = True) -> ClusterApply:
    """What `cbs cluster up` would apply, with the same PEX for every program."""
    own = {name: value for name, value in OWN.items() if name not in PROGRAM}
    return ClusterApply(
        consul=real.consul,
        nomad=real.nomad,
        environment="laptop",
        folder=real.folder,
        artifacts={name: Artifact(f"{name}-{digest}.pex", digest) for name in PROGRAMS},
        admin_url="",
        sha=sha,
        own=own,
        replaces=replaces,
    )


def change_of(apply: ClusterApply) -> tuple[Jobs, NomadJob, str, int]:
    job = apply._program(apply.jobs, apply.values, "payments")
    return apply.jobs, job, *apply.jobs.plan(job)


def test_the_same_bytes_of_a_later_commit_restart_nothing(real):
    jobs, job, _, index = change_of(at_hand(real, "a" * 64, "1" * 40))
    jobs.register(job, index)

    assert change_of(at_hand(real, "a" * 64, "2" * 40))[2] == ""
    _, other, how, _ = change_of(at_hand(real, "b" * 64, "2" * 40))
    assert "edited" in how
    assert (package_of(other.body)[1], sha_of(other.body)) == ("b" * 64, "2" * 40)


def test_what_runs_is_replaced_by_a_release_alone_but_on_ones_own_machine(real):
    jobs, job, _, index = change_of(at_hand(real, "8" * 64, "8" * 40))
    jobs.register(job, index)
    other = at_hand(real, "9" * 64, "9" * 40, replaces=False)

    _, same, how, _ = change_of(other)

    assert how == ""
    assert (package_of(same.body)[1], sha_of(same.body)) == ("8" * 64, "8" * 40)
    assert other.held_back()["payments"] == "8" * 40
    assert "payments" not in at_hand(real, "8" * 64, "8" * 40, replaces=False).held_back()
    real.nomad.ask("DELETE", "/v1/job/cbs-payments")
    assert package_of(change_of(other)[1].body)[1] == "8" * 64
    assert package_of(change_of(at_hand(real, "9" * 64, "9" * 40))[1].body)[1] == "9" * 64
    assert "edited" in change_of(at_hand(real, "9" * 64, "9" * 40))[2]


def test_what_a_release_has_put_there_only_a_release_replaces(real):
    jobs, job, _, index = change_of(at_hand(real, "c" * 64, "3" * 40))
    job.body["Meta"] = {**(job.body["Meta"] or {}), RELEASE: "r-1", SHA: "3" * 40}
    jobs.register(job, index)

    _, same, how, _ = change_of(at_hand(real, "d" * 64, "4" * 40))

    assert how == ""
    assert (package_of(same.body)[1], sha_of(same.body)) == ("c" * 64, "3" * 40)
    assert same.body["Meta"][RELEASE] == "r-1"


NAMES = sorted(
    {*SERVICES, *(each.name.split(".")[0] for each in FOLDER.glob("*.hcl"))} - {"service"}
)


@pytest.mark.parametrize("name", NAMES)
def test_nomads_own_command_plans_a_job_with_the_values_that_it_declares(real, tmp_path, name):
    apply = at_hand(real, "e" * 64, "5" * 40)
    file = tmp_path / "values.hcl"
    file.write_text(apply.variables_of(name))
    job = FOLDER / f"{'service' if name in SERVICES else name}.nomad.hcl"
    nomad = [str(found(binaries.NOMAD)), "job", "plan", f"-address={real.nomad.url}"]
    token = {"NOMAD_TOKEN": agents.token(real.folder, agents.MANAGEMENT["nomad"])}

    said = subprocess.run(
        [*nomad, f"-var-file={file}", str(job)], env=token, capture_output=True, text=True
    )

    # 1: it would change something; what cannot be planned is 255.
    assert said.returncode in (0, 1), said.stderr
    assert not said.stderr and "Warning" not in said.stdout


def test_a_bank_of_before_the_namespaces_is_moved_into_them_as_it_was(real):
    apply = at_hand(real, "f" * 64, "6" * 40)
    old = apply._program(apply.jobs, apply.values, "ledger").body
    old |= {"Namespace": FORMER, "Meta": {RELEASE: "r-7", SHA: "7" * 40}}
    real.nomad.post("/v1/jobs", {"Job": old})
    variable = {"Path": "nomad/jobs/cbs-ledger", "Items": {"token": "old"}}
    real.nomad.put("/v1/var/nomad/jobs/cbs-ledger", variable, namespace=FORMER)
    others = old | {"ID": "cbs-website", "Name": "cbs-website"}
    real.nomad.post("/v1/jobs", {"Job": others})
    assert left_behind(real.nomad) == ["cbs-ledger"]

    done: list[tuple[str, str]] = []
    apply._move(apply.jobs, done)

    assert [what for what, _ in done] == ["job cbs-ledger"]
    assert left_behind(real.nomad) == []
    assert not real.nomad.get("/v1/vars", namespace=FORMER)
    moved = apply._program(apply.jobs, apply.values, "ledger").body
    assert (moved["Namespace"], moved["Meta"][RELEASE]) == ("cbs", "r-7")
    assert package_of(moved)[1] == "f" * 64
    # What is another's, and only begins so, goes on.
    assert not real.nomad.get("/v1/job/cbs-website", namespace=FORMER)["Stop"]
    real.nomad.ask("DELETE", "/v1/job/cbs-website", namespace=FORMER)


def test_what_a_release_goes_back_to_is_not_cleared_away(tmp_path):
    dist, folder = tmp_path / "dist", tmp_path / "artifacts"
    (dist / "cbs").mkdir(parents=True)
    folder.mkdir()
    for n in range(KEPT_MAX + 2):
        brought = folder / f"ledger-{n:064}.pex"
        brought.write_text("brought by a release")
        os.utime(brought, (n, n))
    for name in PROGRAMS:
        (dist / "cbs" / f"{name}.pex").write_text(f"{name} at hand")

    found = gather(dist, folder, servers=False)

    left = {file.name for file in folder.glob("ledger-*")}
    assert left == {
        found["ledger"].file,
        *(f"ledger-{n:064}.pex" for n in range(2, KEPT_MAX + 2)),
    }
