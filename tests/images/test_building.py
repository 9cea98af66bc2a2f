"""The images themselves, of real PEXes: the same bytes twice, nothing to abuse, and one answers."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cbs.tools.cli import __main__ as program
from cbs.tools.images.commands import IMAGES
from cbs.tools.local.plan import SOURCE
from tests.signing import Signer

ROOT = Path(__file__).parents[2]
DIST = next((place for place in (ROOT, ROOT / "dist") if (place / "cbs/ledger.pex").exists()), None)
MISSING = [tool for tool in ("buildah", "mmdebstrap") if shutil.which(tool) is None]
READY_SECONDS_MAX = 90
ABUSED = {"sh", "bash", "dash", "gcc", "cc", "apt", "apt-get", "dpkg", "su", "mount", "perl", "pip"}
assert program  # run as `python -m cbs.tools.cli` below

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="buildah is tried as root only"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(DIST is None, reason="no PEXes: ./pants package :: first"),
    pytest.mark.timeout(800),
]


def built(out, *services):
    words = ["images", "build", *services, "--json", "--dist", str(DIST), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cbs.tools.cli", *words],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "CBS_SHA": "a" * 40},
        capture_output=True,
        text=True,
        timeout=700,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {image["service"]: image for image in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return built(tmp_path_factory.mktemp("images"))


def parts_of(file):
    """The configuration and every member of an OCI archive's layers."""
    with tarfile.open(file) as tar:

        def blob(name):
            found = tar.extractfile(name.replace("sha256:", "blobs/sha256/"))
            assert found is not None, name
            return found

        manifest = json.load(blob(json.load(blob("index.json"))["manifests"][0]["digest"]))
        members = []
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=blob(layer["digest"])) as opened:
                members += opened.getmembers()
        return json.load(blob(manifest["config"]["digest"])), members


@pytest.mark.parametrize("service", IMAGES)
def test_an_image_holds_nothing_to_abuse_and_says_what_it_is(images, service):
    config, members = parts_of(images[service]["file"])

    files = {Path(m.name).name for m in members if not m.isdir()}
    assert "python3.11" in files and files & ABUSED == set()
    assert [m.name for m in members if m.mode & 0o6000] == []
    if service == "gateway":
        assert [m.mode & 0o111 for m in members if m.name.endswith("/envoy/_bin/envoy")] == [0o111]
    assert config["config"]["User"] == "65534:65534"
    labels = config["config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == f"cbs-{service}"
    assert labels["org.opencontainers.image.revision"] == "a" * 40


def test_the_same_inputs_give_the_same_bytes(images, tmp_path):
    assert built(tmp_path, "ledger")["ledger"]["digest"] == images["ledger"]["digest"]


@pytest.fixture
def container(images, tmp_path):
    store = ["--root", f"{tmp_path}/root", "--runroot", f"{tmp_path}/run"]

    def buildah(*words):
        return ["buildah", *store, "--storage-driver", "vfs", *words]

    image = f"oci-archive:{images['ledger']['file']}"
    made = subprocess.run(buildah("from", image), capture_output=True, text=True, check=True)
    name = made.stdout.split()[-1]
    yield buildah, name
    subprocess.run(buildah("rm", name), capture_output=True, check=False)


@pytest.fixture
def said(database, nats_url, tmp_path):
    """What a ledger is told, and where its keys are outside."""
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o755)
    Signer().jwks(keys).chmod(0o644)
    return keys, {
        "CBS_HTTP_PORT": str(free_port()),
        "CBS_POSTGRES_URL": database("ledger").runtime_url,
        "CBS_NATS_URL": nats_url,
        "CBS_JWKS_FILE": "/keys/jwks.json",
    }


START = ("/usr/bin/python3.11", "-I", "-B", "/opt/cbs", "serve")


def answers_as_nobody(argv, port, log, meanwhile=lambda: None):
    with log.open("w") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out)
    try:
        assert ready(port, process) == 200, log.read_text()
        assert users_of(port) == {65534}
        meanwhile()
    finally:
        stop(process, port)


def test_a_ledger_from_its_image_is_nobody_and_answers_ready(container, said, tmp_path):
    buildah, name = container
    keys, told = said
    env = [f"--env={name}={value}" for name, value in told.items()]
    words = ["--isolation", "chroot", "--network", "host", *env, f"--volume={keys}:/keys:ro"]

    argv = buildah("run", *words, name, "--", *START)

    answers_as_nobody(argv, told["CBS_HTTP_PORT"], tmp_path / "log")


# As an engine does it: the image read-only whole, and in it only what the kernel gives.
READ_ONLY = """
mount --bind "$1" "$1" && mount --bind "$2" "$1/keys" && mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev" && mount -o remount,bind,ro "$1"
shift 2; exec "$@"
"""


def test_a_ledger_runs_where_nothing_can_be_written(container, said, tmp_path):
    buildah, name = container
    keys, told = said
    mounted = subprocess.run(buildah("mount", name), capture_output=True, text=True, check=True)
    root = mounted.stdout.strip()
    for folder in ("keys", "proc", "dev"):
        (Path(root) / folder).mkdir(exist_ok=True)
    env = ["env", "-i", *(f"{name}={value}" for name, value in told.items())]
    enter = ["/usr/sbin/chroot", "--userspec=65534:65534", root]

    def nothing_is_written():
        (place,) = of_port(told["CBS_HTTP_PORT"])
        rows = [row.split() for row in (place / "mountinfo").read_text().splitlines()]
        assert [row[5].split(",")[0] for row in rows if row[4] == "/"] == ["ro"]

    argv = ["unshare", "--mount", "sh", "-ec", READ_ONLY, "sh", root, str(keys)]
    argv += [*env, *enter, *START]
    answers_as_nobody(argv, told["CBS_HTTP_PORT"], tmp_path / "log", nothing_is_written)


def free_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def ready(port, process):
    until = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready") as answer:
                return answer.status
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    return None


def of_port(port):
    """Processes that run /opt/cbs on this port, by their environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            mine = f"CBS_HTTP_PORT={port}".encode() in (folder / "environ").read_bytes()
        except OSError:
            continue
        if mine and words[0] == b"/usr/bin/python3.11":
            yield folder


def users_of(port):
    return {folder.stat().st_uid for folder in of_port(port)}


def stop(process, port):
    for folder in of_port(port):
        os.kill(int(folder.name), signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
