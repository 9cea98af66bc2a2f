"""A change of a schema breaks whom it surprises: who sends, if it takes less than before; who
reads, if more than before can come.

Stricter than logic where logic would let a surprise pass. A field that is gone breaks, even if
it was optional: a reader looked for it, and what a sender asks for must not be passed over in
silence. So does a default that changes, because it is what leaving the field out means. A new
value of an enumeration breaks who reads: msgspec refuses a value that it does not know. Looser
than logic in one place: an open request may name a field that callers could have sent before, with
any value, to no effect.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from cbs.tools.release.schema_diff.shapes import (
    KINDS,
    NUMBERS,
    Node,
    Schemas,
    Shape,
    canonical,
    tighter,
)

DEPTH_MAX = 60
FAMILY = {kind: kind for kind in KINDS} | dict.fromkeys(NUMBERS, "number")
ANYTHING = Schemas({}).shapes(True)


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """`where` in the document, `what` as a fragment of a sentence."""

    where: str
    what: str
    breaking: bool


class Comparison:
    """Of schemas before and after a change, for one who sends (`taken`) or one who reads."""

    def __init__(self, before: Schemas, after: Schemas, *, taken: bool) -> None:
        self.found: list[SchemaChange] = []
        self._before = before
        self._after = after
        self._taken = taken
        self._inside: list[tuple[int, int]] = []

    def compare(self, where: str, before: Node, after: Node) -> None:
        """Adds to `found` what differs. Raises Unreadable."""
        old, new = self._before.shapes(before), self._after.shapes(after)
        with self._once(where, (id(old), id(new))) as again:
            if again:
                return
            if _anything(old) != _anything(new):
                what = "any value" if _anything(new) else "no longer just any value"
                self._say(where, f"{what} {self._goes}", _anything(old), _anything(new))
                return
            lost: list[Shape] = []
            gained: list[Shape] = []
            for family in sorted({FAMILY[shape.kind] for shape in (*old, *new)}):
                olds = [shape for shape in old if FAMILY[shape.kind] == family]
                news = [shape for shape in new if FAMILY[shape.kind] == family]
                for one, other in self._pairs(olds, news):
                    self._shape(where, one, other)
                lost += olds
                gained += news
            self._kinds(where, lost, gained)

    @property
    def _goes(self) -> str:
        return "is taken" if self._taken else "can come"

    def _say(self, where: str, what: str, narrower: bool, wider: bool) -> None:
        breaking = narrower if self._taken else wider
        self.found.append(SchemaChange(where.strip(), what, breaking))

    @contextmanager
    def _once(self, where: str, pair: tuple[int, int]) -> Iterator[bool]:
        """A schema inside itself is compared where it was met first."""
        again = pair in self._inside or len(self._inside) >= DEPTH_MAX
        if again and pair not in self._inside:
            self._say(where, "is nested too deeply to be compared", True, True)
        self._inside.append(pair)
        try:
            yield again
        finally:
            self._inside.pop()

    def _pairs(self, olds: list[Shape], news: list[Shape]) -> Iterator[tuple[Shape, Shape]]:
        """Takes what belongs together out of both lists."""
        single = len(olds) == len(news) == 1
        for alike in (_equal, self._same_tag, _same_title, self._both_untagged):
            for old in list(olds):
                new = next((new for new in news if single or alike(old, new)), None)
                if new is not None:
                    olds[:] = [shape for shape in olds if shape is not old]
                    news[:] = [shape for shape in news if shape is not new]
                    yield old, new

    def _same_tag(self, old: Shape, new: Shape) -> bool:
        tag = _tag(self._before, old)
        return tag is not None and tag == _tag(self._after, new)

    def _both_untagged(self, old: Shape, new: Shape) -> bool:
        return _tag(self._before, old) is None and _tag(self._after, new) is None

    def _kinds(self, where: str, lost: Sequence[Shape], gained: Sequence[Shape]) -> None:
        before = _named(self._before, lost)
        after = _named(self._after, gained)
        if lost and gained:
            self._say(where, f"{after} instead of {before} {self._goes}", True, True)
        elif lost:
            self._say(where, f"{before} no longer {self._goes}", True, False)
        elif gained:
            self._say(where, f"{after} {self._goes}, too", False, True)

    def _shape(self, where: str, old: Shape, new: Shape) -> None:
        if old.kind != new.kind:
            narrower = new.kind == "integer"
            self._say(where, f"{new.kind} instead of {old.kind}", narrower, not narrower)
        self._values(where, old, new)
        self._bounds(where, old, new)
        self._laws(where, old, new)
        if old.other != new.other:
            self._say(where, f"what cannot be compared: {new.other or 'nothing'}", True, True)
        if old.kind == "object":
            self._object(where, old, new)
        elif old.kind == "array":
            self.compare(f"{where}[]", old.items, new.items)

    def _values(self, where: str, old: Shape, new: Shape) -> None:
        if old.values is None or new.values is None:
            if new.values is not None:
                only = ", ".join(sorted(new.values))
                self._say(where, f"only {only} {self._goes} now", True, False)
            elif old.values is not None:
                self._say(where, f"more than an enumeration {self._goes}", False, True)
            return
        if lost := sorted(old.values - new.values):
            self._say(where, f"{', '.join(lost)} no longer {self._goes}", True, False)
        if gained := sorted(new.values - old.values):
            self._say(where, f"{', '.join(gained)} {self._goes}, too", False, True)

    def _bounds(self, where: str, old: Shape, new: Shape) -> None:
        for sign, word, olds, news in (
            (1, "at least", old.least, new.least),
            (-1, "at most", old.most, new.most),
        ):
            for name in sorted(olds.keys() | news.keys()):
                one, other = olds.get(name), news.get(name)
                if one == other:
                    continue
                narrower = other is not None and tighter(sign, one, other) == other
                what = f"the {name} is {word} {_bound(other)}, not {_bound(one)}"
                self._say(where, what, narrower, not narrower)

    def _laws(self, where: str, old: Shape, new: Shape) -> None:
        for law in sorted({law for law, _ in old.laws ^ new.laws}):
            lost = sorted(value for name, value in old.laws - new.laws if name == law)
            gained = sorted(value for name, value in new.laws - old.laws if name == law)
            what = f"the {law} is {' and '.join(gained) or 'free'}"
            if lost:
                what += f" instead of {' and '.join(lost)}"
            self._say(where, what, bool(gained), bool(lost))

    def _object(self, where: str, old: Shape, new: Shape) -> None:
        known = old.fields.keys() | new.fields.keys() | old.required | new.required
        for name in sorted(known):
            place = f"{where}{name}" if where.endswith(" ") else f"{where}.{name}"
            if name in new.fields or (name not in old.fields and name in old.required):
                self._field(place, name, old, new)
            elif name in old.fields:
                self._gone(place, name, old, new)
            else:
                self._say(place, "the field must be there", True, False)
        if not (isinstance(old.rest, bool) and isinstance(new.rest, bool)):
            # The same words, too: what they refer to is another document's.
            self.compare(f"{where}{{}}", old.rest, new.rest)
        elif old.rest is not new.rest:
            what = f"fields that are not named {'may be there' if new.rest else 'are refused'}"
            self._say(where, what, not new.rest, new.rest)

    def _gone(self, place: str, name: str, old: Shape, new: Shape) -> None:
        if isinstance(new.rest, dict):
            self._field(place, name, old, new)
        else:
            self._say(place, "the field is gone", True, True)

    def _field(self, place: str, name: str, old: Shape, new: Shape) -> None:
        must, must_now = name in old.required, name in new.required
        if name not in old.fields and not isinstance(old.rest, dict) and not must:
            # Who sends could not mean anything by it; who reads passes over what is not known.
            what = "a new field that must be there" if must_now else "a new field"
            self._say(place, what, must_now, old.rest is False)
            return
        before, after = old.fields.get(name, old.rest), new.fields.get(name, new.rest)
        if must and not must_now:
            self._say(place, "the field may be left out", False, True)
        elif must_now and not must:
            self._say(place, "the field must be there", True, False)
        elif not must:
            self.defaults(place, before, after)
        self.compare(place, before, after)

    def defaults(self, where: str, before: Node, after: Node) -> None:
        """Leaving a value out must mean what it meant; a default first stated is news alone."""
        old, new = self._before.default(before), self._after.default(after)
        if old != new:
            what = f"left out it means {new or 'nothing'}"
            what += f" instead of {old}" if old else ""
            self._say(where, what, old is not None, old is not None)


class Versions:
    """Two versions of a document, and what was found so far."""

    def __init__(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        self.before, self.after = before, after
        self.old, self.new = Schemas(before), Schemas(after)
        self.found: list[SchemaChange] = []

    def say(self, where: str, what: str, breaking: bool) -> None:
        self.found.append(SchemaChange(where, what, breaking))

    def schema(self, where: str, before: Any, after: Any, *, taken: bool) -> list[SchemaChange]:
        comparison = Comparison(self.old, self.new, taken=taken)
        comparison.compare(where, before, after)
        return comparison.found

    def presence(
        self, where: str, olds: Mapping[Any, Any], news: Mapping[Any, Any], what: str
    ) -> Iterator[tuple[str, Any, Any]]:
        """Says what came and what went (which breaks); yields what stayed."""
        for key in sorted(olds.keys() | news.keys()):
            place = f"{where}{key}"
            if key not in news:
                self.say(place, f"{what} is gone", True)
            elif key not in olds:
                self.say(place, f"{what} is new", False)
            else:
                yield place, olds[key], news[key]


def _equal(old: Shape, new: Shape) -> bool:
    return old == new


def _same_title(old: Shape, new: Shape) -> bool:
    return bool(old.title) and old.title == new.title


def _anything(shapes: Sequence[Shape]) -> bool:
    untitled = [replace(shape, title="") for shape in shapes]
    return all(shape in untitled for shape in ANYTHING)


def _bound(bound: tuple[float, int] | None) -> str:
    if bound is None:
        return "any"
    return canonical(bound[0]) + (" (itself out)" if bound[1] else "")


def _tag(schemas: Schemas, shape: Shape) -> str | None:
    """The constant by which the alternatives of a union are told from each other."""
    for name in sorted(shape.required & shape.fields.keys()):
        options = schemas.shapes(shape.fields[name])
        values = options[0].values if len(options) == 1 else None
        if values is not None and len(values) == 1:
            return f"{name} {next(iter(values))}"
    return None


def _named(schemas: Schemas, shapes: Sequence[Shape]) -> str:
    return " or ".join(_tag(schemas, shape) or shape.title or shape.kind for shape in shapes)
