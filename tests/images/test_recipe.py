"""What an image is made of, and what is said when it cannot be made; all without a tool."""

import io
import json
import os
import shutil
import tarfile
from zipfile import ZipFile, ZipInfo

import pytest
from typer.testing import CliRunner

from cbs.tools.images import commands, contents, debian, engine
from cbs.tools.images.engine import CannotBuild, Engine, containerfile


def content(tar, name):
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def tar_of(path, members):
    """`members`: name -> (mode, type, body or link)."""
    with tarfile.open(path, "w") as tar:
        for name, (mode, kind, body) in members.items():
            entry = tarfile.TarInfo(name)
            entry.mode, entry.type, entry.mtime, entry.uid = mode, kind, 1_700_000_000, 1000
            if kind == tarfile.REGTYPE:
                entry.size = len(body)
                tar.addfile(entry, io.BytesIO(body))
            else:
                entry.linkname = body
                tar.addfile(entry)
    return path


FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
RAW = {
    "./usr/bin/python3.11": (0o755, FILE, b"python"),
    "./usr/bin/su": (0o4755, FILE, b"su"),
    "./bin/sh": (0o755, FILE, b"sh"),
    "./usr/lib/x86/helper": (0o6755, FILE, b"set-id"),
    "./usr/lib/python3.11/os.py": (0o644, FILE, b"os"),
    "./usr/lib/python3.11/test/a.py": (0o644, FILE, b"test"),
    "./usr/share/zoneinfo/Asia/Kolkata": (0o644, FILE, b"zone"),
    "./usr/share/zoneinfo/Asia/Calcutta": (0o644, HARD, "./usr/share/zoneinfo/Asia/Kolkata"),
    "./usr/share/doc/x/copyright": (0o644, FILE, b"doc"),
    "./usr/share/ca-certificates/mozilla/b.crt": (0o644, FILE, b"B\n"),
    "./usr/share/ca-certificates/mozilla/a.crt": (0o644, FILE, b"A\n"),
    "./var/log/apt/history.log": (0o644, FILE, b"log"),
    "./etc/machine-id": (0o644, FILE, b"id"),
    "./lib64/ld.so": (0o777, LINK, "../lib/ld.so"),
}


def test_the_base_keeps_what_python_needs_and_nothing_that_tells_or_helps(tmp_path):
    debian.trimmed(tar_of(tmp_path / "raw", RAW), tmp_path / "out")

    with tarfile.open(tmp_path / "out") as tar:
        members = {m.name: m for m in tar.getmembers()}
        body = lambda name: content(tar, name)
        assert body(debian.BUNDLE) == b"A\nB\n"
        assert body("usr/share/zoneinfo/Asia/Calcutta") == b"zone"
    files = {name for name, m in members.items() if not m.isdir()}
    assert files == {
        *("usr/bin/python3.11", "usr/lib/x86/helper", "usr/lib/python3.11/os.py", "lib64/ld.so"),
        *("usr/share/zoneinfo/Asia/Kolkata", "usr/share/zoneinfo/Asia/Calcutta"),
        *("usr/share/ca-certificates/mozilla/a.crt", "usr/share/ca-certificates/mozilla/b.crt"),
        *debian.FILES,
        debian.BUNDLE,
    }
    assert not any(m.mode & 0o6000 for m in members.values())
    assert {(m.mtime, m.uid, m.gid) for m in members.values()} == {(0, 0, 0)}
    assert members["tmp"].mode == 0o1777


def test_the_base_is_the_same_bytes_in_whatever_order_it_came(tmp_path):
    other = dict(reversed([*RAW.items()][:-7])) | dict([*RAW.items()][-7:])
    debian.trimmed(tar_of(tmp_path / "raw", RAW), tmp_path / "one")
    debian.trimmed(tar_of(tmp_path / "raw", other), tmp_path / "two")

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_of_the_machines_apt_sources_only_debians_suites_are_kept(tmp_path):
    new, old = tmp_path / "debian.sources", tmp_path / "old.list"
    ours = f"Types: deb\nURIs: mirror:\nSuites: {debian.SUITE} {debian.SUITE}-updates"
    new.write_text(f"# said\n{ours}\n\nTypes: deb\nURIs: other:\nSuites: nodistro\n")
    line = f"deb [signed-by=/a key] mirror: {debian.SUITE}-security main"
    old.write_text(f"{line}\n# deb mirror: {debian.SUITE} main\ndeb other: stable main\n")

    assert debian.sources([new, old]) == [ours, line]


def test_another_recipe_has_another_name(monkeypatch):
    before = debian.recipe(["a"])
    assert debian.recipe(["b"]) != before == debian.recipe(["a"])
    monkeypatch.setattr(debian, "PACKAGES", (*debian.PACKAGES, "more"))
    assert debian.recipe(["a"]) != before


def pex(path, **wheels):
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(path, "w") as archive:
        info = {
            "code_hash": "c0de",
            "entry_point": "cbs.x.main:main",
            "distributions": {f"{name}.whl": f"sha-{name}" for name in wheels},
        }
        archive.writestr("PEX-INFO", json.dumps(info))
        archive.writestr("__main__.py", "boot")
        archive.writestr(".bootstrap/pex/x.py", "boot")
        archive.writestr("cbs/x/main.py", "def main(): pass")
        for name, body in wheels.items():
            archive.writestr(f".deps/{name}.whl/shared.py", body)
            archive.writestr(f".deps/{name}.whl/{name}.py", "X = 1")
            archive.writestr(f".deps/{name}.whl/.layout.json", name)
            program = ZipInfo(f".deps/{name}.whl/{name}_bin/{name}")
            program.external_attr = 0o100755 << 16
            archive.writestr(program, b"\x7fELF")
    return path


def test_a_pex_is_laid_out_flat_compiled_and_started_by_its_entry_point(tmp_path):
    made = pex(tmp_path / "x.pex", a="S = 1", b="S = 1")
    for out in ("one", "two"):
        contents.lay_out(made, tmp_path / out, wheels=tmp_path / f"wheels-{out}")

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with tarfile.open(tmp_path / "one") as tar:
        files = {m.name.removeprefix("opt/cbs/") for m in tar.getmembers() if m.isreg()}
        start = content(tar, "opt/cbs/__main__.py")
        runnable = {m.name for m in tar.getmembers() if m.isreg() and m.mode & 0o111}
    sources = {"cbs/x/main.py", "a.py", "b.py", "shared.py"}
    programs = {"a_bin/a", "b_bin/b"}
    assert {n for n in files if "__pycache__" not in n} == {*sources, *programs, "__main__.py"}
    assert runnable == {f"opt/cbs/{program}" for program in programs}
    assert sum(name.endswith(".cpython-311.pyc") for name in files) == len(sources)
    assert start == b"from cbs.x.main import main\n\nmain()\n"


def test_packages_that_differ_in_one_file_are_refused(tmp_path):
    made = pex(tmp_path / "x.pex", a="S = 1", b="S = 2")

    with pytest.raises(contents.NoPex, match=r"differ in .*shared"):
        contents.lay_out(made, tmp_path / "out", wheels=tmp_path / "wheels")


def test_an_image_runs_as_nobody_and_needs_no_shell():
    said = containerfile("base", "pex.tar", {"b": 'with "quotes"', "a": "1"}).splitlines()

    assert "USER 65534:65534" in said and not any(line.startswith("RUN") for line in said)
    assert said[2:4] == ['LABEL a="1"', 'LABEL b="with \\"quotes\\""']
    assert 'ENTRYPOINT ["/usr/bin/python3.11", "-I", "-B", "/opt/cbs"]' in said


@pytest.mark.parametrize(
    ("there", "chosen"),
    [(engine.ENGINES, "buildah"), (("docker", "podman"), "podman"), (("docker",), "docker")],
)
def test_the_first_tool_that_is_there_builds(monkeypatch, tmp_path, there, chosen):
    monkeypatch.setattr(shutil, "which", lambda name: name if name in there else None)

    argv = Engine.found(tmp_path).argv(tmp_path, tmp_path / "x", epoch=7, base=None)

    assert argv[0] == chosen
    when = "SOURCE_DATE_EPOCH=7" if chosen == "docker" else "7"
    assert when in argv


def test_without_a_tool_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda _name: None)

    with pytest.raises(CannotBuild, match="apt install buildah"):
        Engine.found(tmp_path)
    with pytest.raises(debian.NoBase, match="--base"):
        debian.base_archive(tmp_path)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["build", "nosuch"], 2, "no image: nosuch"),
        (["build", "ledger", "--dist", "{tmp}"], 1, "./pants package ::"),
        (["list", "--out", "{tmp}"], 1, "./cbs images build"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(tmp_path, words, code, said):
    done = CliRunner().invoke(commands.app, [word.format(tmp=tmp_path) for word in words])

    assert done.exit_code == code, done.output
    assert said in done.output


def test_with_no_tool_at_all_the_command_cannot_say(monkeypatch, tmp_path):
    pex(tmp_path / "cbs/ledger.pex")
    monkeypatch.setitem(os.environ, "PATH", str(tmp_path))

    done = CliRunner().invoke(commands.app, ["build", "ledger", "--dist", str(tmp_path)])

    assert done.exit_code == 3 and "apt install buildah" in done.output
