"""What one example of a pact cannot show: the other values of an enumeration, and parameters that a
provider passes over in silence. That is read off the provider's own documents.

A reader says in its pact which values it knows, where it does not take any text. A pact without
that (of an older release) is of a reader of whom nobody can tell, nor can anybody of what a sender
might send beside its example.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cbs.tools.release.gate.history import GitHistory
from cbs.tools.release.gate.needs import Need, alike
from cbs.tools.release.gate.records import GateAnswer, Reason
from cbs.tools.release.schema_diff.shapes import Schemas
from cbs.tools.release.schema_diff.specs import operations_of, spoken_in

HTTP, FACT, ASKED = "Synchronous/HTTP", "Asynchronous/Messages", "Synchronous/Messages"
# In the comments of an interaction: the texts that its reader takes, by place; or that it takes any
# wherever it takes one (a pact does not keep an empty mapping).
READS, ANY_TEXT = "reads", "any text"
KEEP = "keep it beside the new; take it away when no deployed version needs it"
# The texts that may stand at a place of a document; None is any text.
Values = frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Touched:
    """What an interaction touches of a provider's documents, by place in the example."""

    sends: Mapping[str, Values]
    reads: Mapping[str, Values]
    parameters: frozenset[str]


class Documents:
    """The OpenAPI and AsyncAPI of a provider as a commit has them; what it lacks touches nobody."""

    def __init__(self, openapi: Mapping[str, Any], asyncapi: Mapping[str, Any]) -> None:
        self._over_http, self._on_the_bus = Schemas(openapi), Schemas(asyncapi)
        self._operations = operations_of(openapi, self._over_http)
        facts, requests = spoken_in(asyncapi, self._on_the_bus)
        self._facts = {each["address"]: each for each in facts.values()}
        self._requests = {each["asks"]["address"]: each for each in requests.values()}

    @classmethod
    def of(cls, history: GitHistory, service: str, sha: str) -> "Documents":
        kinds = ("openapi", "asyncapi")
        read = (history.file(sha, f"contracts/{kind}/{service}.json") or b"{}" for kind in kinds)
        return cls(*(json.loads(each) for each in read))

    def touched(self, interaction: Mapping[str, Any]) -> Touched | None:
        """None where the documents have no such operation, and of a pact older than V4."""
        if interaction.get("type") == HTTP:
            return self._over(interaction["request"], interaction["response"])
        if interaction.get("type") == FACT:
            fact = self._facts.get(interaction["metadata"]["subject"])
            if fact is None:
                return None
            reads = _values(self._on_the_bus, fact["payload"], interaction["contents"]["content"])
            return Touched({}, reads, frozenset())
        if interaction.get("type") != ASKED:
            return None
        request = interaction["request"]
        found = self._requests.get(request["metadata"]["subject"])
        if found is None or found["reply"] is None:
            return None
        (reply,) = interaction["response"]
        sent = request["contents"]["content"].get("data")
        told = reply["contents"]["content"].get("data")
        return Touched(
            _values(self._on_the_bus, found["asks"]["payload"], sent),
            _values(self._on_the_bus, found["reply"]["payload"], told),
            frozenset(),
        )

    def _over(self, request: Mapping[str, Any], response: Mapping[str, Any]) -> Touched | None:
        operation = self._operation(request["method"].lower(), request["path"])
        if operation is None:
            return None
        schemas = self._over_http
        named = (schemas.resolve(each) for each in operation["parameters"])
        body = schemas.resolve(operation.get("requestBody") or {})
        answers = operation.get("responses", {})
        answer = schemas.resolve(answers.get(str(response.get("status", 200)), {}))
        return Touched(
            _values(schemas, _schema(body), _content(request)),
            _values(schemas, _schema(answer), _content(response)),
            frozenset(each["name"].lower() for each in named if each["in"] in ("query", "header")),
        )

    def _operation(self, method: str, path: str) -> Mapping[str, Any] | None:
        """That of the path itself before one with a placeholder."""
        found = [
            operation
            for (template, known), operation in self._operations.items()
            if known == method and re.fullmatch(_pattern(template), path)
        ]
        return min(found, key=lambda each: each["path"].count("{"), default=None)


def unshown(need: Need, before: Sequence[Documents], after: Documents) -> list[Reason]:
    """`before` are the versions that the provider takes the place of; none if it is there."""
    found: dict[tuple[GateAnswer, str, str], list[str]] = {}
    for interaction in json.loads(need.pact.body)["interactions"]:
        touched = after.touched(interaction)
        if touched is not None:
            earlier = [known for each in before if (known := each.touched(interaction))]
            for told in _told(need, interaction, earlier, touched):
                found.setdefault(told, []).append(interaction["description"])
    return [
        Reason(answer=answer, why=f"{why}: {what}", todo=todo)
        for (answer, why, todo), descriptions in found.items()
        for what in alike(descriptions)
    ]


def _told(
    need: Need, interaction: Mapping[str, Any], before: Sequence[Touched], after: Touched
) -> Iterator[tuple[GateAnswer, str, str]]:
    """What is said of an interaction, which others may share with it."""
    consumer, provider = need.consumer, need.provider
    for name in sorted(_parameters(interaction) & _known(before) - after.parameters):
        yield GateAnswer.NO, f"{consumer} sends {name}, and {provider} reads it no more", KEEP
    reads = interaction.get("comments", {}).get(READS)
    for place, can_come in after.reads.items():
        where = f"can come to {consumer} at {place} from {provider}"
        came = frozenset[str]().union(
            *(_gained(each.reads.get(place), can_come) for each in before)
        )
        if reads is None and came:
            why = f"{_list(came)} {where}, and its pact does not tell which values it knows"
            todo = f"deploy a {consumer.application} whose pact does, or give them later"
            yield GateAnswer.UNKNOWN, why, todo
        elif isinstance(reads, dict) and place in reads:
            strange = ANY if can_come is None else can_come - frozenset(reads[place])
            if strange := strange & came if before else strange - ANY:
                why = f"{_list(strange)} {where}, and it knows {', '.join(reads[place])}"
                yield GateAnswer.NO, why, f"deploy a {consumer.application} first that knows it"
    for place, taken in after.sends.items():
        gone = frozenset[str]().union(*(_gained(taken, each.sends.get(place)) for each in before))
        if lost := gone - ANY:
            why = f"{_list(lost)} is not taken any more by {provider} from {consumer} at {place}"
            yield GateAnswer.UNKNOWN, f"{why}, and nobody can tell whether it sends that", KEEP


def _list(values: frozenset[str]) -> str:
    return ", ".join(sorted(values))


# --- values --------------------------------------------------------------------------------------

ANY = frozenset({ANY_TEXT})


def _gained(before: Values, after: Values) -> frozenset[str]:
    if before is None:
        return frozenset()
    return ANY if after is None else after - before


def _known(before: Sequence[Touched]) -> frozenset[str]:
    return frozenset[str]().union(*(each.parameters for each in before))


def _parameters(interaction: Mapping[str, Any]) -> frozenset[str]:
    request = interaction.get("request", {})
    sent = (*request.get("query", ()), *request.get("headers", ()))
    return frozenset(each.lower() for each in sent)


def _values(schemas: Schemas, node: Any, example: Any, place: str = "$") -> dict[str, Values]:
    """What may stand where the example has a text; `[]` is any item of a list."""
    found: dict[str, Values] = {}
    shapes = schemas.shapes(node)
    inner: list[tuple[Any, Any, str]] = []
    if isinstance(example, str):
        texts = [shape.values for shape in shapes if shape.kind == "string"]
        if texts:
            known = [each for each in texts if each is not None]
            whole = len(known) == len(texts)
            found[place] = _plain(frozenset[str]().union(*known)) if whole else None
    elif isinstance(example, Mapping):
        inner = [
            (shape.fields.get(name, shape.rest), each, f"{place}.{name}")
            for shape in shapes
            if shape.kind == "object"
            for name, each in example.items()
        ]
    elif isinstance(example, list):
        of_lists = [shape.items for shape in shapes if shape.kind == "array"]
        inner = [(items, each, f"{place}[]") for items in of_lists for each in example]
    for node_, each, where in inner:
        for at, values in _values(schemas, node_, each, where).items():
            known_ = found.get(at, frozenset())
            found[at] = None if values is None or known_ is None else known_ | values
    return found


def _plain(values: frozenset[str]) -> frozenset[str]:
    return frozenset(str(json.loads(each)) for each in values)


def _content(part: Mapping[str, Any]) -> Any:
    return (part.get("body") or {}).get("content")


def _schema(part: Mapping[str, Any]) -> Any:
    """Of what is JSON in a request or an answer; a problem is, too."""
    content = part.get("content", {})
    return next((each.get("schema", {}) for m, each in content.items() if m.endswith("json")), {})


def _pattern(template: str) -> str:
    return "[^/]+".join(re.escape(part) for part in template.split("{}"))
