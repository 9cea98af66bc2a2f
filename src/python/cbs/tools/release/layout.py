"""Where a commit has its things: up to 66ce025 they lay elsewhere, and such versions are deployed.

Whoever reads another commit than its own asks here.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cbs.platform.declaration import Needs

SOURCES, LOCK = "src/python/cbs", "3rdparty/python/runtime.lock"
# A tree that has it is laid out as this one.
MARK = f"{SOURCES}/bank.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """`declaration` and `migrations` lie in a service's folder, `verification` in SOURCES.
    `program` verifies pacts; `bank`, told `up`, brings a bank up."""

    declaration: str
    migrations: str
    verification: str
    program: str
    bank: str


NOW = Layout(
    declaration="service.py",
    migrations="migrations",
    verification="tools/release/provider_verification",
    program="cbs.tools.release.provider_verification.program",
    bank="cbs.tools.local",
)
BEFORE = Layout(
    declaration="connections.py",
    migrations="infrastructure/migrations",
    verification="release/verifying",
    program="cbs.release.verifying.program",
    bank="cbs.dev",
)


def layout_of(has: Callable[[str], bool]) -> Layout:
    """`has` says whether a path is there."""
    return NOW if has(MARK) else BEFORE


def calls_in(declaration: str) -> list[str]:
    """The `calls` of a declaration, read and not run: it may be of any commit."""
    return [call for value in _given(declaration, "calls") for call in ast.literal_eval(value)]


def needs_in(declaration: str) -> Needs:
    """What an instance of that version needs; nothing out of the ordinary before it was said."""
    return Needs(
        **{
            each.arg: ast.literal_eval(each.value)
            for value in _given(declaration, "needs")
            if isinstance(value, ast.Call)
            for each in value.keywords
            if each.arg
        }
    )


def _given(declaration: str, name: str) -> Iterator[ast.expr]:
    for node in ast.walk(ast.parse(declaration)):
        if isinstance(node, ast.keyword) and node.arg == name:
            yield node.value
