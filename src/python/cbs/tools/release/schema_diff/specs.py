"""What a service promises is in its OpenAPI and AsyncAPI; the difference of two versions says what
a caller or a listener would notice.

Of refusals: a caller may act on a code and on the status it comes with, so a code that moves to
another status breaks, and so does one that is gone where a new one came (it was renamed). A code
that only goes is a worry less, and one that only comes is met as any unknown refusal is: both are
told, neither breaks. A changed demand on who calls breaks in both directions: to ask less of a
caller may be meant, but nobody should find it in production.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cbs.tools.release.schema_diff.schemas import Comparison, SchemaChange, Versions
from cbs.tools.release.schema_diff.shapes import Schemas, canonical

__all__ = ["SchemaChange", "asyncapi_changes", "openapi_changes"]

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
JSON = "application/json"
CODES = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*(, [a-z][a-z0-9]*(-[a-z0-9]+)*)*")
STYLE = ("style", "explode", "allowReserved", "content")

Document = Mapping[str, Any]


def openapi_changes(before: Document, after: Document) -> list[SchemaChange]:
    """In the order of the paths. Raises Unreadable if a `$ref` leads nowhere."""
    return _OpenApi(before, after).changes()


def asyncapi_changes(before: Document, after: Document) -> list[SchemaChange]:
    """Facts that are sent, then requests that are answered. Raises Unreadable, as above."""
    return _AsyncApi(before, after).changes()


class _OpenApi(Versions):
    def changes(self) -> list[SchemaChange]:
        olds, news = operations_of(self.before, self.old), operations_of(self.after, self.new)
        for (path, method), old in olds.items():
            where = f"{method.upper()} {old['path']}"
            if (path, method) in news:
                self._operation(where, old, news[path, method])
            else:
                self.say(where, "the operation is gone", True)
        for (path, method), new in news.items():
            if (path, method) not in olds:
                self.say(f"{method.upper()} {new['path']}", "the operation is new", False)
        return self.found

    def _operation(self, where: str, old: Any, new: Any) -> None:
        if _security(self.before, old) != _security(self.after, new):
            self.say(where, "what a caller must show is another", True)
        if old.get("operationId") != new.get("operationId"):
            self.say(where, "the operation has another id", False)
        if new.get("deprecated") and not old.get("deprecated"):
            self.say(where, "the operation is deprecated", False)
        olds, news = _parameters(old, self.old), _parameters(new, self.new)
        for key in sorted(olds.keys() | news.keys()):
            self._parameter(where, key, olds.get(key), news.get(key))
        self._body(
            where,
            self.old.resolve(old.get("requestBody")),
            self.new.resolve(new.get("requestBody")),
        )
        replies = _responses(old, self.old), _responses(new, self.new)
        self._successes(where, *({s: r for s, r in each.items() if _fine(s)} for each in replies))
        self._refusals(
            where, *({s: r for s, r in each.items() if not _fine(s)} for each in replies)
        )

    def _parameter(self, where: str, key: tuple[str, str], old: Any, new: Any) -> None:
        place = f"{where} {key[0]} {(new or old)['name']}"
        if new is None:
            self.say(place, f"the {key[0]} parameter is gone", True)
            return
        if old is None:
            must = bool(new.get("required"))
            what = "that must be sent" if must else "that may be sent"
            self.say(place, f"a new {key[0]} parameter {what}", must)
            return
        if bool(old.get("required")) != bool(new.get("required")):
            must = bool(new.get("required"))
            self.say(place, "must be sent" if must else "may be left out", must)
        if canonical([old.get(key) for key in STYLE]) != canonical([new.get(key) for key in STYLE]):
            self.say(place, "is written in another way", True)
        before, after = old.get("schema", True), new.get("schema", True)
        comparison = Comparison(self.old, self.new, taken=True)
        if not old.get("required") and not new.get("required"):
            comparison.defaults(place, before, after)
        comparison.compare(place, before, after)
        self.found += comparison.found

    def _body(self, where: str, old: Any, new: Any) -> None:
        if old is None or new is None:
            if old is not None:
                self.say(f"{where} body", "no body is taken any more", True)
            elif new is not None:
                must = bool(new.get("required"))
                self.say(f"{where} body", f"a body {'must' if must else 'may'} be sent", must)
            return
        if bool(old.get("required")) != bool(new.get("required")):
            must = bool(new.get("required"))
            self.say(f"{where} body", "must be sent" if must else "may be left out", must)
        self.found += self._content(where, old, new, taken=True)

    def _content(self, where: str, old: Any, new: Any, *, taken: bool) -> list[SchemaChange]:
        found: list[SchemaChange] = []
        olds, news = old.get("content", {}), new.get("content", {})
        for media in sorted(olds.keys() | news.keys()):
            place = f"{where} body" if media.endswith("json") else f"{where} body ({media})"
            if media not in news:
                found.append(SchemaChange(place, f"{media} is gone", True))
            elif media not in olds:
                found.append(SchemaChange(place, f"{media} is new", False))
            else:
                before, after = (each[media].get("schema", True) for each in (olds, news))
                found += self.schema(place, before, after, taken=taken)
        return found

    def _successes(self, where: str, olds: dict[str, Any], news: dict[str, Any]) -> None:
        lost, gained = sorted(olds.keys() - news.keys()), sorted(news.keys() - olds.keys())
        if gained:
            instead = f" instead of {', '.join(lost)}" if lost else ", too"
            self.say(f"{where} reply", f"answers {', '.join(gained)}{instead}", True)
        elif lost:
            self.say(f"{where} reply", f"no longer answers {', '.join(lost)}", True)
        for status in sorted(olds.keys() & news.keys()):
            place = f"{where} reply {status}"
            self.found += self._content(place, olds[status], news[status], taken=False)
            self._headers(place, olds[status], news[status])

    def _headers(self, where: str, old: Any, new: Any) -> None:
        olds = {name.lower(): self.old.resolve(h) for name, h in old.get("headers", {}).items()}
        news = {name.lower(): self.new.resolve(h) for name, h in new.get("headers", {}).items()}
        for place, one, other in self.presence(f"{where} header ", olds, news, "the header"):
            if one.get("required") and not other.get("required"):
                self.say(place, "the header may be left out", True)
            before, after = one.get("schema", True), other.get("schema", True)
            self.found += self.schema(place, before, after, taken=False)

    def _refusals(self, where: str, olds: dict[str, Any], news: dict[str, Any]) -> None:
        before, after = _codes(olds), _codes(news)
        came = {code: at - before.get(code, set()) for code, at in after.items()}
        gone = {code: at - after.get(code, set()) for code, at in before.items()}
        told = set().union(*before.values(), *after.values())
        for code in sorted(before.keys() & after.keys()):
            if gone[code]:
                instead = f"comes with {_list(after[code])} instead of {_list(before[code])}"
                self.say(f"{where} refusal {code}", instead, True)
            elif came[code]:
                self.say(f"{where} refusal {code}", f"comes with {_list(came[code])}, too", True)
        for status in sorted(olds.keys() | news.keys()):
            lost = [c for c, at in before.items() if status in at and c not in after]
            new = [c for c, at in after.items() if status in at and c not in before]
            place = f"{where} refusal {status}"
            if lost and new:
                self.say(place, f"{_list(new)} instead of {_list(lost)}", True)
            elif lost or new:
                what = f"{_list(lost)} can no longer come" if lost else f"{_list(new)} is new"
                self.say(place, what, False)
            elif (status in olds) != (status in news) and status not in told:
                self.say(place, "is new" if status in news else "can no longer come", False)
        # One problem document serves all refusals of an operation: what changed is said once.
        bodies: dict[SchemaChange, None] = {}
        for status in sorted(olds.keys() & news.keys()):
            found = self._content(f"{where} refusal", olds[status], news[status], taken=False)
            bodies |= dict.fromkeys(found)
        self.found += bodies


class _AsyncApi(Versions):
    def changes(self) -> list[SchemaChange]:
        olds, news = spoken_in(self.before, self.old), spoken_in(self.after, self.new)
        for place, old, new in self.presence("", olds[0], news[0], "the fact"):
            self._message(place, old, new, taken=False)
        for place, old, new in self.presence("", olds[1], news[1], "the request"):
            self._message(f"{place} request", old["asks"], new["asks"], taken=True)
            for side in self._both(f"{place} reply", old["reply"], new["reply"]):
                self._message(f"{place} reply", *side, taken=False)
        return self.found

    def _both(self, where: str, old: Any, new: Any) -> Iterator[tuple[Any, Any]]:
        if old is not None and new is not None:
            yield old, new
        elif old is not None:
            self.say(where, "there is no reply any more", True)
        elif new is not None:
            self.say(where, "there is a reply", False)

    def _message(self, where: str, old: Any, new: Any, *, taken: bool) -> None:
        if old["address"] != new["address"]:
            self.say(where, f"the subject is {new['address']} instead of {old['address']}", True)
        if old["media"] != new["media"]:
            self.say(where, f"comes as {new['media']} instead of {old['media']}", True)
        self.found += self.schema(f"{where} ", old["payload"], new["payload"], taken=taken)
        self.found += self.schema(f"{where} header ", old["headers"], new["headers"], taken=taken)


def operations_of(document: Document, schemas: Schemas) -> dict[tuple[str, str], dict[str, Any]]:
    """By path and method; what a placeholder is called is nothing that a caller sees."""
    found = {}
    for path in sorted(document.get("paths", {})):
        item = schemas.resolve(document["paths"][path])
        for method in METHODS:
            if method in item:
                parameters = [*item.get("parameters", ()), *item[method].get("parameters", ())]
                operation = {**item[method], "path": path, "parameters": parameters}
                found[re.sub(r"\{[^}]*\}", "{}", path), method] = operation
    return found


def _parameters(operation: Mapping[str, Any], schemas: Schemas) -> dict[tuple[str, str], Any]:
    """By where they stand and what they are called there; the operation's own come last and win."""
    places = re.findall(r"\{([^}]*)\}", operation["path"])
    found = {}
    for parameter in map(schemas.resolve, operation["parameters"]):
        name = parameter["name"]
        if parameter["in"] == "path" and name in places:
            name = str(places.index(name))
        elif parameter["in"] == "header":
            name = name.lower()
        found[parameter["in"], name] = parameter
    return found


def _security(document: Document, operation: Mapping[str, Any]) -> list[str]:
    """The alternatives that let a caller in, each with its schemes written out."""
    schemes = document.get("components", {}).get("securitySchemes", {})
    demands = operation.get("security", document.get("security")) or [{}]
    return sorted(
        canonical({name: [sorted(scopes), schemes.get(name)] for name, scopes in demand.items()})
        for demand in demands
    )


def _responses(operation: Mapping[str, Any], schemas: Schemas) -> dict[str, Any]:
    responses = operation.get("responses", {})
    return {str(status): schemas.resolve(response) for status, response in responses.items()}


def _fine(status: str) -> bool:
    return status[0] in "123"


def _codes(responses: Mapping[str, Any]) -> dict[str, set[str]]:
    """The statuses by refusal: platform/problem.py lists the codes as a response's description."""
    found: dict[str, set[str]] = {}
    for status, response in responses.items():
        description = response.get("description", "")
        if CODES.fullmatch(description):
            for code in description.split(", "):
                found.setdefault(code, set()).add(status)
    return found


def _list(words: Any) -> str:
    return ", ".join(sorted(words))


def spoken_in(document: Document, schemas: Schemas) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the document's service says by itself, and what it answers."""
    facts, requests = {}, {}
    for name, operation in document.get("operations", {}).items():
        said = _said(document, schemas, operation)
        if operation["action"] == "send":
            facts[f"fact {said['name']}"] = said
        else:
            reply = operation.get("reply")
            answer = _said(document, schemas, schemas.resolve(reply)) if reply else None
            requests[name] = {"asks": said, "reply": answer}
    return facts, requests


def _said(document: Document, schemas: Schemas, operation: Mapping[str, Any]) -> dict[str, Any]:
    channel = schemas.resolve(operation["channel"])
    some = operation.get("messages") or channel.get("messages", {}).values()
    messages = [schemas.resolve(message) for message in some]
    payloads = [message.get("payload", True) for message in messages]
    headers = [message.get("headers", True) for message in messages]
    media = [m.get("contentType", document.get("defaultContentType", JSON)) for m in messages]
    return {
        "name": messages[0].get("name", channel["address"]) if messages else channel["address"],
        "address": channel["address"],
        "media": _list(set(media)),
        "payload": payloads[0] if len(payloads) == 1 else {"anyOf": payloads},
        "headers": headers[0] if len(headers) == 1 else {"anyOf": headers},
    }
