"""On a real Vault: what is written is what jobs read, each its own, and no other's write is lost.

Without a Vault on PATH or in CBS_VAULT_BINARY only what needs none is tried.
"""

import json
import os
import time
from dataclasses import replace
from uuid import uuid4

import pytest

from cbs.tools.cluster import variables
from cbs.tools.cluster.api import Declined, NoCluster
from cbs.tools.cluster.jobs import Jobs, assigned
from cbs.tools.cluster.vault import AUTH_METHOD, WRITER, VaultServer
from tests.cluster.test_apply import values

SECONDS_MAX, POLL_SECONDS = 120, 0.2
JOB = {"cbs-elsewhere": {"token": "first"}}
# Shows what a task is given, and waits.
SHOW = 'cd "$NOMAD_TASK_DIR"; env > env; ls "$NOMAD_SECRETS_DIR" > files; touch done; sleep 300'


def test_an_environment_with_a_vault_and_none_named_is_told_what_to_name():
    with pytest.raises(NoCluster, match=r"VAULT_ADDR.*VAULT_TOKEN_FILE"):
        VaultServer.of("kv/data/cbs", {})


@pytest.mark.parametrize("prefix", ["kv/cbs", "/kv/data/cbs", "kv/data/cbs/", "kv/data/+/x"])
def test_a_path_that_is_none_of_the_second_version_is_refused(prefix):
    with pytest.raises(NoCluster, match="kv/data/cbs is"):
        VaultServer.of(prefix, {"VAULT_ADDR": "http://127.0.0.1:1"})


@pytest.fixture
def vault(own_vault):
    if own_vault is None:
        pytest.skip("no Vault is installed: name one in CBS_VAULT_BINARY")
    if f"{AUTH_METHOD}/" not in own_vault.api.get("/v1/sys/auth"):
        own_vault.api.post(f"/v1/sys/auth/{AUTH_METHOD}", {"type": "jwt"})
    return VaultServer.of(f"secret/data/cbs-{uuid4().hex[:8]}", own_vault.environ)


@pytest.fixture
def with_policy(own_vault, vault, tmp_path):
    """The same Vault, asked with a token of one policy."""

    def made(policy):
        asked = {"policies": [policy], "ttl": "10m"}
        said = own_vault.api.post("/v1/auth/token/create", asked)
        (tmp_path / policy).write_text(said["auth"]["client_token"])
        environ = own_vault.environ | {"VAULT_TOKEN_FILE": str(tmp_path / policy)}
        return VaultServer.of(vault.prefix, environ)

    return made


def applied(vault, wanted):
    changes = list(vault.changes(wanted))
    for change in changes:
        change.make()
    return changes


def test_secrets_policies_and_roles_are_written_once_and_no_change_shows_a_value(vault, real):
    wanted = variables.wanted(real.folder)
    first = applied(vault, wanted)

    assert {each.what for each in first} >= {
        f"vault secret {vault.prefix}/cbs-ledger",
        "vault policy cbs-ledger",
        f"vault policy {WRITER}",
        "vault role cbs-ledger",
    }
    said = " ".join(each.what + each.how for each in first)
    assert not [value for items in wanted.values() for value in items.values() if value in said]
    assert [each.what for each in vault.changes(wanted)] == []
    found = vault.api.get(f"/v1/{vault.prefix}/cbs-customers")["data"]["data"]
    assert found == wanted["cbs-customers"]


def test_a_secret_that_was_made_anew_replaces_the_old_one_and_nothing_else(vault):
    applied(vault, JOB)
    (change,) = applied(vault, {"cbs-elsewhere": {"token": "second"}})

    assert change.how == "differs: token"
    assert vault.api.get(f"/v1/{vault.prefix}/cbs-elsewhere")["data"]["metadata"]["version"] == 2


def test_a_secret_that_somebody_else_writes_meanwhile_is_not_overwritten(vault):
    applied(vault, JOB)
    (late,) = vault.changes({"cbs-elsewhere": {"token": "mine"}})
    applied(vault, {"cbs-elsewhere": {"token": "another's"}})

    with pytest.raises(Declined, match="check-and-set"):
        late.make()


def test_one_that_appears_meanwhile_is_not_overwritten_either(vault):
    applied(vault, {"cbs-other": {"token": "x"}})
    late = [each for each in vault.changes(JOB) if "secret" in each.what]
    applied(vault, {"cbs-elsewhere": {"token": "another's"}})

    with pytest.raises(Declined, match="check-and-set"):
        late[0].make()


def test_a_secret_that_was_deleted_is_written_again(vault):
    applied(vault, JOB)
    vault.api.ask("DELETE", f"/v1/{vault.prefix}/cbs-elsewhere")

    (change,) = applied(vault, JOB)
    assert change.how == "new: token"
    assert not list(vault.changes(JOB))


def test_what_somebody_loosened_is_seen_and_put_right(vault):
    applied(vault, JOB)
    policy, role = "/v1/sys/policies/acl/cbs-elsewhere", f"auth/{AUTH_METHOD}/role/cbs-elsewhere"
    found = vault.api.get(f"/v1/{role}")["data"]
    vault.api.put(policy, {"policy": 'path "*" {\n  capabilities = ["read"]\n}\n'})
    vault.api.put(f"/v1/{role}", found | {"bound_claims": {"nomad_namespace": "default"}})

    changes = applied(vault, JOB)
    assert [(each.what, each.how) for each in changes] == [
        ("vault policy cbs-elsewhere", "differs"),
        ("vault role cbs-elsewhere", "differs"),
    ]
    assert not list(vault.changes(JOB))


def test_who_only_writes_secrets_leaves_policies_and_roles_to_others(vault, with_policy):
    applied(vault, JOB)
    writer = with_policy(WRITER)
    said: list[str] = []

    (change,) = writer.changes({"cbs-elsewhere": {"token": "second"}}, said.append)
    change.make()

    assert "policies and roles" in said[0]
    assert not list(writer.changes({"cbs-elsewhere": {"token": "second"}}, said.append))
    with pytest.raises(NoCluster, match="refuses this token"):
        writer.api.put("/v1/sys/policies/acl/cbs-elsewhere", {"policy": ""})
    with pytest.raises(NoCluster, match="refuses this token"):
        writer.api.ask("DELETE", f"/v1/{vault.prefix}/cbs-elsewhere")


def test_a_jobs_policy_reads_its_own_and_no_others(vault, with_policy):
    applied(vault, JOB | {"cbs-other": {"token": "x"}})
    held = with_policy("cbs-elsewhere").api

    assert held.get(f"/v1/{vault.prefix}/cbs-elsewhere")["data"]["data"] == {"token": "first"}
    for path in (f"{vault.prefix}/cbs-other", f"{vault.prefix.replace('/data/', '/metadata/')}/"):
        with pytest.raises(NoCluster, match="refuses this token"):
            held.get(f"/v1/{path}")
    with pytest.raises(NoCluster, match="refuses this token"):
        held.post(f"/v1/{vault.prefix}/cbs-elsewhere", {"data": {}})


def test_a_token_that_may_nothing_and_a_place_that_is_not_there_are_said(vault, with_policy):
    with pytest.raises(NoCluster, match=r"refuses this token.*nothing at secret/"):
        list(with_policy("default").changes(JOB))
    with pytest.raises(NoCluster, match="nothing at nowhere/"):
        list(replace(vault, prefix="nowhere/data/cbs").changes(JOB))


def test_a_kv_of_the_first_version_is_refused(vault):
    vault.api.post("/v1/sys/mounts/first", {"type": "kv", "options": {"version": "1"}})
    with pytest.raises(NoCluster, match="first/ in Vault is no KV of version 2"):
        list(replace(vault, prefix="first/data/cbs").changes(JOB))


def test_a_vault_that_is_not_trusted_is_not_asked(own_vault, vault):
    strange = {name: value for name, value in own_vault.environ.items() if "CACERT" not in name}
    with pytest.raises(NoCluster, match="CERTIFICATE_VERIFY_FAILED"):
        list(VaultServer.of(vault.prefix, strange).changes(JOB))
    with pytest.raises(NoCluster, match="VAULT_CACERT"):
        VaultServer.of(vault.prefix, strange | {"VAULT_CACERT": "/nonexistent"})


@pytest.fixture
def ledger(real, vault):
    """The ledger's job with its templates and its `vault` block; instead of the PEX it shows what
    it is given."""
    vault.api.post(
        f"/v1/auth/{AUTH_METHOD}/config",
        {"jwks_url": f"{real.nomad.url}/.well-known/jwks.json", "jwt_supported_algs": ["RS256"]},
    )
    named = {"uid": os.geteuid(), "gid": os.getegid(), "vault": vault.prefix}
    text = values("laptop") + assigned(named)
    body = Jobs(nomad=real.nomad, values=text).parse("service").body
    (group,) = body["TaskGroups"]
    (task,) = group["Tasks"]
    group |= {"Services": None, "RestartPolicy": {"Mode": "fail", "Attempts": 0}}
    body["Update"] = group["Update"] = None
    task |= {
        "Artifacts": None,
        "Consul": None,
        "User": "",
        "Resources": {"CPU": 50, "MemoryMB": 50},
    }
    task["Config"] = {"command": "/bin/sh", "args": ["-c", SHOW]}
    task["Templates"] = [each for each in task["Templates"] if "secret" in each["EmbeddedTmpl"]]
    return body


def alloc_of(nomad, job_id, wanted):
    def ask():
        return [a for a in nomad.get(f"/v1/job/{job_id}/allocations") or [] if wanted(a)]

    (alloc, *_) = until(ask, lambda: Jobs(nomad=nomad, values="").wrong_with(job_id))
    return alloc


def ended(nomad, job_id):
    """No process of it outlives Nomad."""
    Jobs(nomad=nomad, values="").stop([job_id], SECONDS_MAX)
    nomad.ask("DELETE", f"/v1/job/{job_id}", purge="true")


def until(ask, why):
    deadline = time.monotonic() + SECONDS_MAX
    while not (found := ask()):
        assert time.monotonic() < deadline, why()
        time.sleep(POLL_SECONDS)
    return found


def given(real, alloc):
    """The secrets that a task finds, by name."""
    secrets = real.folder["nomad"] / "data" / "alloc" / alloc["ID"] / "service" / "secrets"
    return {path.name: path for path in secrets.glob("[!.]*")}


def test_a_task_gets_its_own_jobs_secrets_in_its_files_and_no_token(real, vault, ledger):
    wanted = variables.wanted(real.folder)
    applied(vault, wanted)
    real.nomad.post("/v1/jobs", {"Job": ledger})
    try:
        alloc = alloc_of(real.nomad, "cbs-ledger", lambda each: each["ClientStatus"] == "running")
        files = given(real, alloc)
        assert {name: path.read_text() for name, path in files.items()} == wanted["cbs-ledger"]
        assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o400}
        shown = files["token"].parents[1] / "local"
        listed = until(lambda: (shown / "done").exists(), lambda: "the task shows nothing")
        assert listed and (shown / "files").read_text().split() == sorted(wanted["cbs-ledger"])
        assert "\nVAULT_TOKEN=" not in (shown / "env").read_text()
    finally:
        ended(real.nomad, "cbs-ledger")


def test_another_job_that_asks_for_the_ledgers_role_gets_nothing(real, vault, ledger):
    applied(vault, variables.wanted(real.folder))
    stranger = json.loads(json.dumps(ledger)) | {"ID": "cbs-stranger", "Name": "cbs-stranger"}
    real.nomad.post("/v1/jobs", {"Job": stranger})
    try:
        alloc = alloc_of(
            real.nomad, "cbs-stranger", lambda each: "claim" in json.dumps(each["TaskStates"])
        )
        assert alloc["ClientStatus"] != "running"
        assert not given(real, alloc)
    finally:
        ended(real.nomad, "cbs-stranger")
