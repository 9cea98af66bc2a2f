"""Nomad's variables or Vault: a job reads its own secrets alone; each rule catches its offence."""

import pytest

from tests.nomad_jobs import rules, secrets
from tests.nomad_jobs.declared import texts

JOBS = texts("nomad/jobs", "*.nomad.hcl")
VAULT = texts("nomad/vault", "*.hcl")
SERVICE, NATS = "nomad/jobs/service.nomad.hcl", "nomad/jobs/nats.nomad.hcl"


@pytest.mark.parametrize("path", JOBS)
def test_a_job_reads_its_own_secrets_from_where_the_environment_keeps_them(path):
    assert list(secrets.of_job(path, JOBS[path])) == []


def test_in_vault_a_job_may_read_what_is_its_own():
    assert list(secrets.of_vault(VAULT)) == []


BLOCK = """      dynamic "vault" {
        for_each = var.vault == "" ? [] : ["cbs-verify"]

        content {
          role         = vault.value
          env          = false
          disable_file = true
          change_mode  = "noop"
        }
      }
"""
OPENED = "with ${local.secrets} }}{{ index ${local.items}"
OFFENCES = {
    (BLOCK, ""): "may not: vault",
    (BLOCK, "      vault {}\n"): "where an environment has none",
    ('== "" ? [] : ["cbs-verify"]', '!= "" ? [] : ["cbs-verify"]'): "not of var.vault",
    ('[] : ["cbs-verify"]', '[] : ["cbs-nats"]'): "not of var.vault, for its own job",
    ("= vault.value", '= "cbs-nats"'): "role in Vault is not cbs-verify",
    ("env          = false", "env = true"): "kept from it: env",
    ("          disable_file = true\n", ""): "kept from it: disable_file",
    ('change_mode  = "noop"', 'change_mode = "restart"'): "kept from it: change_mode",
    ("jobs/cbs-verify", "jobs/cbs-nats"): "not lead to what is cbs-verify's own",
    ("${var.vault}/cbs-verify", "${var.vault}/cbs-nats"): "not lead to what is cbs-verify's own",
    ('"." : ".Data.data"', '"." : ".Data"'): "local.items does not lead",
    (OPENED, 'with nomadVar \\"nomad/jobs/cbs-verify\\" }}{{ index .'): "cannot choose",
    (OPENED, 'with secret \\"kv/data/cbs/cbs-verify\\" }}{{ index .Data.data'): "cannot choose",
    (OPENED, 'with key \\"pgpass\\" }}{{ index .'): "reads no secret",
}


@pytest.mark.parametrize(("change", "told"), OFFENCES.items(), ids=lambda each: str(each)[:40])
def test_each_offence_of_a_job_is_told(change, told):
    path, (good, bad) = "nomad/jobs/verify.nomad.hcl", change
    assert good in JOBS[path]

    assert any(told in each for each in secrets.of_job(path, JOBS[path].replace(good, bad)))


@pytest.mark.parametrize(
    "opened", ['nomadVar \\"x\\"', 'secret \\"kv/data/x\\"', "${local.secrets}"]
)
def test_a_secret_is_known_for_one_however_it_is_read(opened):
    planted = JOBS[SERVICE].replace("${local.secrets}", opened).replace('"0400"', '"0644"')

    assert any("lets others read" in each for each in rules.of_job(SERVICE, planted))


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("policy", ("/${job}", "/*"), "read what is its own"),
        ("policy", ('["read"]', '["read", "list"]'), "read what is its own"),
        ("role", (', nomad_job_id = "${job}"', ""), "not bound to one job"),
        ("role", ('nomad_namespace = "${namespace}", ', ""), "not bound to one job"),
        ("role", ('"string"', '"glob"'), "may match"),
        ("role", ('"vault.io"', '"consul.io"'), "for somebody else"),
        ("role", ('["${job}"]', '["cbs-writer"]'), "another's policy"),
        ("cbs-writer", ("${prefix}/*", "*"), "may touch *"),
        ("cbs-writer", ('"update"', '"delete"'), "write and look"),
    ],
)
def test_each_offence_of_vaults_files_is_told(file, change, told):
    path, (good, bad) = f"nomad/vault/{file}.hcl", change
    assert good in VAULT[path]

    found = secrets.of_vault(VAULT | {path: VAULT[path].replace(good, bad)})
    assert any(told in each for each in found)


def test_a_file_that_nobody_reads_is_told():
    assert any(
        "nobody reads" in each for each in secrets.of_vault(VAULT | {"nomad/vault/x.hcl": ""})
    )
