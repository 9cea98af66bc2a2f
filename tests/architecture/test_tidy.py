"""House rules a formatter cannot know. Each rule is proved by a planted offence."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from cbs.bank import SERVICES

SOURCE = Path(__file__).parents[2] / "src" / "python" / "cbs"
COLUMNS_MAX, FUNCTION_LINES_MAX, FILE_LINES_MAX = 100, 50, 300
PURE = {"kernel", "domain", "application"}
BANNED_NAMES = {"utils", "helpers", "common", "misc", "base", "manager", "types"}
TAKE_NOW, TAKE_NEW_ID = "take `now` as a collaborator", "take `new_id` as a collaborator"
BANNED_CALLS = {
    "datetime.now": TAKE_NOW,
    "datetime.utcnow": TAKE_NOW,
    "date.today": TAKE_NOW,
    "time.time": TAKE_NOW,
    "uuid1": TAKE_NEW_ID,
    "uuid4": TAKE_NEW_ID,
    "print": "say it in an event or a refusal",
    "float": "money is whole minor units",
}
CATCH_ALL = {"", "Exception", "BaseException"}
# What a service's folder may hold, each as a file or as a folder of that name.
OBLIGATORY = {
    *("__init__", "service", "main", "domain", "application", "http", "store", "tables"),
    *("invariants", "migrations"),
}
OPTIONAL = {"BUILD", "bus", "clients", "consumer", "memory", "outdated", "tasks"}
# Plain nouns that look like what somebody is doing.
NOUNS_IN_ING = {"building", "meeting", "string", "thing"}
# Names that stand for several things, only ever fewer. A consumer's own view of what another
# service has may be called as there, and pacts are made of such views.
DOUBLE_NAMES_MAX = 8
# A listener sets aside what cannot be digested, whatever the reason, and hears on.
MUST_GO_ON = Path("cbs/platform/consumer.py")


def offences(path: Path, text: str) -> Iterator[str]:
    if path.stem in BANNED_NAMES:
        yield "name the file after what is in it"
    if path.name == "__init__.py" and text:
        yield "__init__.py stays empty"
    lines = text.splitlines()
    if len(lines) > FILE_LINES_MAX:
        yield f"{len(lines)} lines are more than {FILE_LINES_MAX}"
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            yield f"line {number} is wider than {COLUMNS_MAX} columns"
    pure = bool(PURE & set(path.parts))
    goes_on = path.parts[-3:] == MUST_GO_ON.parts
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler) and swallows(node) and not goes_on:
            yield f"line {node.lineno}: swallows every error; name those you expect, or raise again"
        yield from offences_of(node, pure=pure)


def misplaced(service: str, names: Iterable[str]) -> Iterator[str]:
    """Of what lies in a service's folder."""
    counted = Counter(Path(name).stem for name in names)
    for name in sorted(counted.keys() - OBLIGATORY - OPTIONAL):
        yield f"{service}: {name} is no room of a service: {sorted(OBLIGATORY | OPTIONAL)} are"
    for name in sorted(OBLIGATORY - counted.keys()):
        yield f"{service}: every service has {name}"
    for name in sorted(name for name, times in counted.items() if times > 1):
        yield f"{service}: {name} is a file and a folder: one of them, please"


def doings(folders: Iterable[str]) -> Iterator[str]:
    for folder in sorted(folders):
        if folder.endswith("ing") and folder not in NOUNS_IN_ING:
            yield f"{folder}: name a folder by what it holds (a noun), not by what somebody does"


def double_names(classes: Mapping[Path, Iterable[str]]) -> dict[str, list[Path]]:
    """Class names that mean several things, and where they are defined. `classes`: below cbs."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path, names in classes.items():
        for name in set(names) if path.parts[:3] != ("tools", "release", "pacts") else ():
            found[name].append(path)
    return {name: paths for name, paths in found.items() if _means_several(paths)}


def _means_several(paths: list[Path]) -> bool:
    of_services = Counter(path.parts[0] for path in paths if path.parts[0] in SERVICES)
    others = len(paths) - of_services.total()
    return others + max(of_services.values(), default=0) > 1


def offences_of(node: ast.AST, *, pure: bool) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        assert node.end_lineno is not None
        if node.end_lineno - node.lineno >= FUNCTION_LINES_MAX:
            yield f"line {node.lineno}: {node.name} is longer than {FUNCTION_LINES_MAX} lines"
        if "Args:" in (ast.get_docstring(node) or ""):
            yield f"line {node.lineno}: let the signature say what the arguments are"
    if pure and isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        for banned, instead in BANNED_CALLS.items():
            if called == banned or called.endswith(f".{banned}"):
                yield f"line {node.lineno}: {called}: {instead}"


def swallows(handler: ast.ExceptHandler) -> bool:
    named = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    if not any((ast.unparse(name) if name else "") in CATCH_ALL for name in named):
        return False
    return not any(isinstance(node, ast.Raise) for node in ast.walk(handler))


def test_the_source_is_tidy():
    # Under Pants only what BUILD names is there to be read.
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 20 and SOURCE / "kernel" / "money.py" in files

    found = [
        f"{path.relative_to(SOURCE)}: {offence}"
        for path in files
        for offence in offences(path, path.read_text())
    ]

    assert not found, "\n".join(found)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_rooms_of_a_service(service):
    # Python leaves its own behind, and under Pants only sources are there.
    names = [each.name for each in (SOURCE / service).iterdir() if each.name != "__pycache__"]

    assert list(misplaced(service, names)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"helpers.py"}, "helpers is no room"),
        ({"api"}, "api is no room"),
        ({"bus.py", "bus"}, "bus is a file and a folder"),
        ({"invariants.py"}, "every service has invariants"),
    ],
)
def test_each_offence_of_a_room_is_told(change, said):
    names = {f"{name}.py" for name in OBLIGATORY} | {"BUILD"}

    assert list(misplaced("cards", names)) == []
    assert any(said in offence for offence in misplaced("cards", names ^ change))


def test_folders_are_named_by_what_they_hold():
    folders = {path.name for path in SOURCE.rglob("*") if path.is_dir()}
    assert {"ledger", "provider_verification"} <= folders

    assert list(doings(folders)) == []
    assert "verifying: name a folder by" in next(doings({"ledger", "verifying", "building"}))


def test_a_class_name_means_one_thing():
    found = double_names(
        {
            path.relative_to(SOURCE): [
                node.name
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ClassDef)
            ]
            for path in sorted(SOURCE.rglob("*.py"))
        }
    )

    said = [f"{name}: {', '.join(map(str, paths))}" for name, paths in sorted(found.items())]
    assert len(found) <= DOUBLE_NAMES_MAX, "\n".join(["rename one of them", *said])


@pytest.mark.parametrize(
    ("places", "several"),
    [
        (("ledger/domain/account.py", "payments/clients.py"), False),
        (("ledger/domain/account.py", "tools/release/pacts/partner.py"), False),
        (("ledger/domain/account.py", "ledger/http.py"), True),
        (("ledger/domain/account.py", "tools/local/state.py"), True),
        (("tools/local/state.py", "tools/cluster/jobs.py"), True),
        (("tools/local/state.py",), False),
    ],
)
def test_who_means_another_thing_by_a_name_is_told(places, several):
    found = double_names({Path(place): ["Account", place] for place in places})

    assert list(found) == (["Account"] if several else [])


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("cbs/cards/utils.py", "", "name the file"),
        ("cbs/cards/__init__.py", "X = 1", "stays empty"),
        ("cbs/cards/api/http.py", "\n" * 301, "more than 300"),
        ("cbs/x.py", f"X = '{'y' * 100}'", "wider than 100"),
        ("cbs/x.py", "def f():\n" + "    pass\n" * 50, "longer than 50"),
        ("cbs/x.py", "async def f():\n" + "    pass\n" * 50, "longer than 50"),
        ("cbs/x.py", 'def f():\n    """Do.\n\n    Args:\n        x: x\n    """', "signature"),
        ("cbs/x.py", "try: f()\nexcept Exception: pass", "swallows"),
        ("cbs/x.py", "try: f()\nexcept: pass", "swallows"),
        ("cbs/cards/hearing.py", "try: f()\nexcept Exception: pass", "swallows"),
        ("cbs/x.py", "try: f()\nexcept (OSError, Exception): pass", "swallows"),
        ("cbs/cards/domain/x.py", "at = datetime.now(UTC)", "`now`"),
        ("cbs/cards/domain/x.py", "at = datetime.date.today()", "`now`"),
        ("cbs/cards/application/x.py", "id = uuid.uuid4()", "`new_id`"),
        ("cbs/cards/domain/x.py", "amount = float(row)", "minor units"),
        ("cbs/kernel/x.py", "print(1)", "event"),
    ],
)
def test_every_rule_can_be_broken(path, text, said):
    assert any(said in offence for offence in offences(Path(path), text))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("cbs/x.py", "def f():\n" + "    pass\n" * 49),
        ("cbs/x.py", "try: f()\nexcept Exception as error: raise Broken from error"),
        ("cbs/x.py", "try: f()\nexcept OSError: pass"),
        ("cbs/platform/x.py", "at = datetime.now(UTC)"),
        ("cbs/platform/consumer.py", "try: f()\nexcept Exception: pass"),
    ],
)
def test_what_is_tidy_is_left_alone(path, text):
    assert not list(offences(Path(path), text))
