"""A bank may lie in a folder of any name that can be read."""

import pytest

from tests.local.machine import machine_at


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    with machine_at(tmp_path_factory.mktemp("names"), 4) as machine:
        yield machine


def test_a_bank_of_the_real_services_starts_verifies_and_stops_in_a_folder_with_an_accent(machine):
    name = "bänk é"
    up = machine.run("up", "--detach", bank=name)
    assert up.returncode == 0, up.stdout + up.stderr
    for words in (("status",), ("verify",), ("down",)):
        done = machine.run(*words, bank=name)
        assert done.returncode == 0, (words, done.stdout + done.stderr)


@pytest.mark.parametrize("name", ["日本 銀行", "a 'b\"c\\d % $e #f;g"])
def test_a_bank_starts_answers_and_stops_in_a_folder_of_any_name(machine, name):
    machine.up(bank=name)
    assert machine.run("status", bank=name).returncode == 0
    assert machine.run("down", bank=name).returncode == 0


@pytest.mark.parametrize("name", ["a\nb", "a\x1bb", "a\udcffb"])
def test_a_name_that_nobody_can_read_is_refused(machine, name):
    refused = machine.run("up", "--detach", "--from-pex", str(machine.dist), bank=name)
    assert refused.returncode == 1
    assert "next: choose one that can be read" in refused.stderr
