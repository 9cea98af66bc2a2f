"""What a user chose goes before what an environment says, key by key."""

import pytest

from cbs.tools.cluster import overrides, rules
from cbs.tools.cluster.jobs import ENVIRONMENTS
from cbs.tools.local.folder import Folder


@pytest.fixture
def folder(tmp_path):
    folder = Folder.at(tmp_path / "bank")
    folder.root.mkdir()
    return folder


def kept(folder, tmp_path, text):
    file = tmp_path / "mine.hcl"
    file.write_text(text)
    overrides.keep(folder, file)
    return overrides.values(folder, "laptop")


def test_without_a_choice_there_is_nothing(folder):
    assert overrides.values(folder, "laptop") == {}


def test_of_a_map_the_rest_is_as_it_was(folder, tmp_path):
    usual = rules.read(ENVIRONMENTS / "laptop.hcl", {})["services"]

    found = kept(folder, tmp_path, "services = { ledger = { count = 2 } }\ngateway_port = 0\n")

    assert found == {
        "services": usual | {"ledger": usual["ledger"] | {"count": 2}},
        "gateway_port": 0,
    }
    assert usual["ledger"]["count"] == 1


def test_it_stays_until_it_is_chosen_anew(folder, tmp_path):
    kept(folder, tmp_path, "nats_replicas = 3\n")
    assert overrides.values(folder, "laptop") == {"nats_replicas": 3}
    assert kept(folder, tmp_path, "nats_port = 0\n") == {"nats_port": 0}
