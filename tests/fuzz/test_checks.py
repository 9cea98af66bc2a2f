"""What the fuzzing relies on: every check is there, and every pattern ends where it says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.checks import CHECKS as KNOWN
from schemathesis.checks import load_all_checks

from cbs.kernel.refusal import Malformed
from cbs.platform.http import fingerprint
from tests.fuzzing import CHECKS, UNFIT, fuzz

CONTRACTS = Path(__file__).parents[2] / "contracts"
NAMES = st.text(st.characters(max_codepoint=0x7FF), max_size=4) | st.sampled_from(
    ["a", ":", "\\", '"', "::", "a:"]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def test_every_check_of_schemathesis_is_made_or_has_a_reason_not_to_be():
    load_all_checks()

    assert {*CHECKS, *UNFIT} == set(KNOWN.get_all_names())


class Broken(BaseHTTPRequestHandler):
    """Makes the same mistake wherever it is asked."""

    def do_GET(self) -> None:
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_the_same_mistake_is_told_of_each_operation_that_makes_it():
    operation = {"get": {"responses": {"200": {"description": "well"}}}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "broken", "version": "1"},
        "paths": {"/one": operation, "/other": operation},
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        tried = fuzz(document, url, "token", seed=1, examples=1)
        server.shutdown()

    kinds = {each.kind for each in tried.failures}
    for path in ("/one", "/other"):
        assert f"GET {path}: not_a_server_error: Server error" in kinds, kinds
    assert tried.statuses[500] > 1 and tried.cases["GET /one"]


def patterns(document: Any) -> list[str]:
    if isinstance(document, list):
        return [found for each in document for found in patterns(each)]
    if not isinstance(document, dict):
        return []
    own = [document["pattern"]] if isinstance(document.get("pattern"), str) else []
    # A number of characters that is fixed leaves no room for a line feed.
    fixed = "minLength" in document and document.get("minLength") == document.get("maxLength")
    return [*([] if fixed else own), *patterns(list(document.values()))]


def test_no_pattern_lets_a_line_feed_in_at_the_end():
    """In Python `$` also stands before a last line feed; in JSON Schema (ECMA-262) it does not."""
    files = [*CONTRACTS.glob("openapi/*.json"), *CONTRACTS.glob("asyncapi/*.json")]
    found = {pattern for file in files for pattern in patterns(json.loads(file.read_text()))}

    assert found
    assert [each for each in found if each.endswith("$")] == []


@given(value=st.dictionaries(NAMES, VALUES, max_size=4), escaped=st.booleans())
def test_a_body_whose_fields_are_there_once_has_a_fingerprint(value, escaped):
    body = json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    if escaped:
        body = body.replace(b":: ", b"\\u003a\\u003a ")
    same = json.dumps(dict(reversed(value.items())), indent=2, ensure_ascii=False).encode()

    assert fingerprint("POST", "/", body) == fingerprint("POST", "/", same)


@given(
    value=st.dictionaries(NAMES, VALUES, min_size=1, max_size=4),
    second=VALUES,
    escaped=st.booleans(),
    depth=st.integers(0, 3),
    data=st.data(),
)
def test_a_field_that_is_there_twice_is_refused_wherever_it_is(value, second, escaped, depth, data):
    name = json.dumps(data.draw(st.sampled_from(sorted(value))))
    if escaped:
        name = '"' + "".join(f"\\u{ord(each):04x}" for each in json.loads(name)) + '"'
    body = json.dumps(value)[:-1] + f", {name}: {json.dumps(second)}}}"
    for _ in range(depth):
        body = f'{{"x": [1, {body}]}}'

    with pytest.raises(Malformed):
        fingerprint("POST", "/", body.encode())
