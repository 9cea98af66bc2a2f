"""A bug is a few words of our own source, replaced for one test."""

import ast
import inspect
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest


@dataclass(frozen=True)
class Edit:
    """In `name` of a module or class, `old` becomes `new`: in a function, a text or, of a module,
    what another constant is made of."""

    where: Any
    name: str
    old: str
    new: str

    def make(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sound = inspect.getattr_static(self.where, self.name)
        if isinstance(sound, str):
            monkeypatch.setattr(self.where, self.name, self._changed(sound))
            return
        # As it stands in its file: a method is compiled in the body of a class.
        text = self._changed(self._source(sound))
        module, made = self.where, dict[str, Any]()
        if not isinstance(module, ModuleType):
            module, text = sys.modules[self.where.__module__], f"class Planted:\n{text}"
        exec(compile(text, f"<planted in {self.name}>", "exec"), vars(module), made)
        found = made if module is self.where else vars(made["Planted"])
        monkeypatch.setattr(self.where, self.name, found[self.name])

    def _source(self, sound: Any) -> str:
        if callable(sound) or not isinstance(self.where, ModuleType):
            return inspect.getsource(sound)
        text = inspect.getsource(self.where)
        statements = [ast.get_source_segment(text, node) or "" for node in ast.parse(text).body]
        return next(each for each in statements if each.startswith(f"{self.name} = "))

    def _changed(self, text: str) -> str:
        assert text.count(self.old) == 1, f"{self.name} has {self.old!r} {text.count(self.old)}x"
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Bug:
    """`scenario`, on `stage`, ends with `seen` while the edits stand; `net` is what saw it."""

    name: str
    stage: str
    scenario: Callable[[Any], Awaitable[None]]
    net: str
    edits: tuple[Edit, ...]
    seen: type[BaseException] = AssertionError
