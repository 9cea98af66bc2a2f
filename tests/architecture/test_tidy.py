"""House rules a formatter cannot know. Each rule is proved by a planted offence."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

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
