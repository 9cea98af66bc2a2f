"""What a user chose goes before what an environment says, and that before what services need."""

import pytest

from cbs.platform.declaration import Needs
from cbs.tools.cluster import environments
from cbs.tools.local.folder import Folder

NEEDS = {"ledger": Needs(cpu_mhz=200), "cards": Needs(keys=("pan",))}
LEDGER = {"count": 1, "cpu": 200, "memory": 200, "keys": []}
CARDS = {"count": 1, "cpu": 100, "memory": 200, "keys": ["pan"]}


@pytest.fixture
def folder(tmp_path):
    folder = Folder.at(tmp_path / "bank")
    folder.root.mkdir()
    return folder


def kept(folder, tmp_path, text):
    file = tmp_path / "mine.hcl"
    file.write_text(text)
    environments.keep(folder, file)
    return environments.kept(folder)


def test_without_a_word_a_service_has_what_it_needs():
    assert environments.values("", {}, NEEDS) == {"services": {"ledger": LEDGER, "cards": CARDS}}


def test_an_environment_says_what_is_its_own():
    text = 'driver = "exec"\ninstances = 2\nservices = { ledger = { count = 3, cpu = 900 } }\n'

    assert environments.values(text, {}, NEEDS) == {
        "driver": "exec",
        "services": {"ledger": LEDGER | {"count": 3, "cpu": 900}, "cards": CARDS | {"count": 2}},
    }


def test_what_a_user_chose_goes_before_it_and_of_a_map_the_rest_is_as_it_was():
    text = "services = { ledger = { count = 3, cpu = 900 } }\nnats = { count = 1, cpu = 7 }\n"
    own = {"services": {"ledger": {"count": 2}}, "nats": {"count": 3}}

    found = environments.values(text, own, NEEDS)

    assert found["services"]["ledger"] == LEDGER | {"count": 2, "cpu": 900}
    assert found["nats"] == {"count": 3, "cpu": 7}


def test_it_stays_until_it_is_chosen_anew(folder, tmp_path):
    assert environments.kept(folder) == {}
    kept(folder, tmp_path, "nats_replicas = 3\n")
    assert environments.kept(folder) == {"nats_replicas": 3}
    assert kept(folder, tmp_path, "nats_port = 0\n") == {"nats_port": 0}
