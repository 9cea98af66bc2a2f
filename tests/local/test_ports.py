"""Ports that are taken are left alone."""

import socket

import pytest

from cbs.tools.local import ports
from cbs.tools.local.folder import USUAL_PORTS, Folder


@pytest.fixture
def listening():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_port_that_somebody_listens_on_is_passed_over(listening):
    claim = ports.choose(listening)
    assert claim.port > listening
    claim.release()


def test_a_port_claimed_by_another_bank_is_passed_over_before_it_is_bound(listening):
    first, second = ports.choose(listening), ports.choose(listening)
    assert first.port != second.port
    first.release()
    third = ports.choose(listening)
    assert third.port == first.port
    second.release()
    third.release()


def test_two_banks_have_no_port_in_common_and_each_gets_its_own_again(tmp_path):
    one, other = Folder.at(tmp_path / "one"), Folder.at(tmp_path / "other")
    one.found()
    other.found()
    had, others = one.claim_ports(), other.claim_ports()
    assert set(had) == set(others) == set(USUAL_PORTS)
    assert not set(had.values()) & set(others.values())
    one.release_ports()
    assert one.claim_ports() == had
    one.release_ports()
    other.release_ports()
