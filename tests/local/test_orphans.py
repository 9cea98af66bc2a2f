"""What a crash leaves is found and ended, and nothing that is another bank's."""

import os
import subprocess
from pathlib import Path

import pytest

from cbs.tools.local.folder import Folder
from cbs.tools.local.orphans import ALLOCATION, sweep

# A Docker that keeps its containers in a file: CONTAINER ALLOCATION.
DOCKER = """#!/bin/sh
cd "$(dirname "$0")"
shift 2  # --host and where
echo "$@" >> asked
case "$1" in
  ps) cat containers ;;
  rm) shift 2; for each in "$@"; do sed -i "/^$each /d" containers; done ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder.at(tmp_path / "bank")
    folder.found()
    return folder


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "bin"
    place.mkdir()
    (place / "docker").write_text(DOCKER)
    (place / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    return place


def test_containers_of_the_folders_allocations_go_and_those_of_others_stay(folder, docker):
    for node, allocation in (("nomad", "a-1"), ("nomad-2", "a-2")):
        (folder.root / node / "data" / "alloc" / allocation).mkdir(parents=True)
    (docker / "containers").write_text("c1 a-1\nc2 a-2\nc3 a-3\n")

    sweep(folder)

    assert (docker / "containers").read_text() == "c3 a-3\n"
    assert f"label={ALLOCATION}" in (docker / "asked").read_text()


def test_docker_is_not_asked_for_a_bank_that_was_never_on_nomad(folder, docker):
    sweep(folder)

    assert not (docker / "asked").exists()


def test_a_docker_that_does_not_answer_keeps_nothing_from_being_swept(folder, docker):
    (folder.root / "nomad" / "data" / "alloc" / "a-1").mkdir(parents=True)

    sweep(folder)  # there is no file of containers: `ps` fails

    (asked,) = (docker / "asked").read_text().splitlines()
    assert asked.startswith("ps ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_what_a_crash_left_mounted_in_the_folder_is_gone_and_another_banks_is_not(folder, tmp_path):
    places = [folder.root / "nomad" / "secrets", tmp_path / "bank-2"]
    for place in places:
        place.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)
    try:
        sweep(folder)
        mounted = [place for place in places if place.is_mount()]
    finally:
        subprocess.run(["umount", "--lazy", *map(str, places)], check=False, capture_output=True)

    assert mounted == places[1:]
