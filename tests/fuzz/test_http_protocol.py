"""Whatever bytes a client sends, it gets a clear no, everybody else an answer; nothing is lost."""

import json
import threading
import time

import pytest

from tests.fuzz.conftest import Place
from tests.fuzz.sockets import exchange, request
from tests.fuzz.wrong import CASES, GOOD, HEADS, URL

WAYS = ("directly", "through Envoy")
ONE = request("GET", f"{URL}?limit=1", headers=["Connection: keep-alive"], token="TOKEN")


def asks(port: int, *parts: bytes, **how) -> list[int]:
    return [answer.status for answer in exchange(port, *parts, **how)]


def is_well(place: Place, port: int) -> bool:
    return asks(port, request("GET", f"{URL}?limit=1", token=place.token)) == [200]


@pytest.fixture(scope="module", autouse=True)
def nothing_unforeseen(place):
    """Whatever this module sends, the service logs no error, and no traceback."""
    before = len(place.log)
    yield
    said = place.log[before:]
    assert '"level": "error"' not in said and '"level":"error"' not in said, said
    assert "Traceback" not in said, said


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_gets_a_clear_no_and_changes_nothing(place, way, name):
    case, port, before = CASES[name], place.port(way), place.rows()

    found = exchange(port, *case.parts(place.token), half_close=case.half_close)

    (answer,) = found
    assert answer.status in (case.directly if way == "directly" else case.envoy), answer
    if answer.status >= 400:
        assert answer.problem
    assert is_well(place, port)
    assert place.rows() == before


@pytest.mark.parametrize("way", WAYS)
def test_who_stops_half_way_is_told(place, way):
    """By a service; Envoy takes a half-closed connection for a closed one."""
    cut = request("POST", URL, token=place.token, body=GOOD)[:-20]
    before = place.rows()

    assert asks(place.port(way), cut, half_close=True) == ([400] if way == "directly" else [])
    assert place.rows() == before


@pytest.mark.parametrize("way", WAYS)
def test_who_hangs_up_half_way_leaves_nothing(place, way):
    port, before = place.port(way), place.rows()
    whole = request("POST", URL, token=place.token, body=GOOD)

    for length in range(1, len(whole), 97):
        exchange(port, whole[:length], answers=0)

    assert is_well(place, port)
    assert place.rows() == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "headers",
    [
        ["Expect: 100-continue"],
        ["Content-Type: application/json; charset=utf-8"],
        ["Accept: text/html", "Accept-Charset: utf-7"],
    ],
    ids=["expect", "utf-8", "accept"],
)
def test_json_is_utf_8_whatever_else_the_headers_say(place, way, headers):
    port, before = place.port(way), place.rows()

    assert asks(port, request("POST", URL, token=place.token, headers=headers, body=GOOD)) == [201]
    assert place.rows()["public.customer"] == before["public.customer"] + 1


@pytest.mark.parametrize("way", WAYS)
def test_the_parts_of_a_request_may_come_in_any_pieces(place, way):
    whole = request("POST", URL, token=place.token, body=GOOD)
    pieces = [whole[n : n + 101] for n in range(0, len(whole), 101)]

    assert asks(place.port(way), *pieces, pause=0.01) == [201]


@pytest.mark.parametrize("way", WAYS)
def test_pipelined_requests_are_answered_in_their_order(place, way):
    one = ONE.replace(b"TOKEN", place.token.encode())
    no = one.replace(b"limit=1", b"limit=0")

    assert asks(place.port(way), one + no + one, answers=3) == [200, 400, 200]


@pytest.mark.parametrize("way", WAYS)
def test_no_request_is_answered_with_the_refusal_of_what_follows_it(place, way):
    one = ONE.replace(b"TOKEN", place.token.encode())
    for rubbish in (b"\x01 nonsense\r\n\r\n", HEADS["200 headers"].parts(place.token)[0]):
        assert asks(place.port(way), one + rubbish, answers=2)[:1] in ([], [200])
        assert asks(place.port(way), one + rubbish, answers=1, half_close=True) in ([], [200])


def test_what_was_asked_before_rubbish_is_answered(place):
    one = ONE.replace(b"TOKEN", place.token.encode())

    assert asks(place.service_port, one + b"\x01 nonsense\r\n\r\n", answers=2) == [200]


def test_who_has_stopped_sending_is_still_answered(place):
    """Envoy knows no half-closed connections: there the key tells what became of the request."""
    whole = request("POST", URL, token=place.token, body=GOOD)
    one = ONE.replace(b"TOKEN", place.token.encode())

    assert asks(place.service_port, whole, half_close=True) == [201]
    assert asks(place.service_port, one * 3, half_close=True, answers=4) == [200] * 3


@pytest.mark.parametrize("way", WAYS)
def test_half_closed_at_the_edge_the_key_tells_what_became_of_it(place, way):
    key, port = f"half-closed-{way[:4]}", place.port(way)
    whole = request("POST", URL, token=place.token, body=GOOD, headers=[f"Idempotency-Key: {key}"])
    first = asks(port, whole, half_close=True)

    assert first in ([], [201])
    assert asks(port, whole) == [201]
    (answer,) = exchange(port, request("GET", f"{URL}/requests/{key}", token=place.token))
    assert json.loads(answer.body)["state"] == "answered"


def test_http_1_0_is_answered_by_a_service_and_refused_by_the_edge(place):
    old = request("GET", f"{URL}?limit=1", token=place.token, version="1.0")

    assert asks(place.service_port, old) == [200]
    (answer,) = exchange(place.edge_port, old)
    assert (answer.status, answer.problem) == (426, "malformed")


@pytest.mark.parametrize("way", WAYS)
def test_who_is_slow_is_ended_and_holds_nobody_up(place, way):
    port, before = place.port(way), place.rows()
    head = request("GET", URL, token=place.token, headers=["X-Slow: " + "a" * 60])
    whole = request("POST", URL, token=place.token, body=GOOD)
    split = whole.index(b"\r\n\r\n") + 4
    slow = {
        "head": [bytes([byte]) for byte in head[:60]],
        "body": [whole[:split], *(bytes([byte]) for byte in whole[split : split + 60])],
    }
    if way == "directly":  # Envoy waits longer for a first byte
        slow["silent"] = [b"", *[b""] * 60]
    ended: dict[str, tuple[list[int], float]] = {}

    def send(name: str, parts: list[bytes]) -> None:
        began = time.monotonic()
        # The last part would come long after the end.
        found = asks(port, *parts, pause=0.4, seconds=60)
        ended[name] = found, time.monotonic() - began

    senders = [threading.Thread(target=send, args=each) for each in slow.items() for _ in range(8)]
    for sender in senders:
        sender.start()
    time.sleep(1)
    began = time.monotonic()
    assert all(is_well(place, port) for _ in range(20))
    assert time.monotonic() - began < 5
    for sender in senders:
        sender.join()

    assert ended["head"][0] == ended["body"][0] == [408]
    assert ended.get("silent", ([408], 0))[0] == [408]
    assert all(seconds < 20 for _, seconds in ended.values())
    assert place.rows() == before
