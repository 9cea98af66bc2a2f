"""What Consul cannot be made to say on demand, said by a stand-in; and what is made of it."""

import asyncio
import json
import threading
from contextlib import aclosing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from structlog.testing import capture_logs

from cbs.gateway.following import Follower, percent_of
from cbs.gateway.places import weighed
from cbs.gateway.settings import settings_of
from cbs.platform.consul import ANSWER_BYTES_MAX, Consul, next_index
from cbs.platform.registry import Instance
from cbs.platform.settings import Misconfigured


def entry(name):
    service = {"ID": name, "Address": "127.0.0.1", "Port": 1, "Meta": {"sha": "abc"}}
    return {"Node": {"Address": "127.0.0.1"}, "Service": service}


AWAY: Any = ([], {"Index": "8", "KnownLeader": "false"})


@contextmanager
def saying(*answers):
    """Each question gets the next answer: (names or raw body, headers); the last one again and
    again. Yields the questions as they come: (query, token)."""
    asked, left = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
            asked.append((query, self.headers["X-Consul-Token"]))
            names, headers = left.pop(0) if len(left) > 1 else left[0]
            body = names if isinstance(names, bytes) else json.dumps([*map(entry, names)]).encode()
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(f"X-Consul-{name}", value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def told(url, count, *, seconds=10, **named):
    """The first lists of instances' names that a follower is told."""
    consul, heard = Consul.at(url, **named), []
    following: Any = consul.follow("ledger")
    try:
        async with asyncio.timeout(seconds), aclosing(following) as news:
            async for found in news:
                heard.append([each.instance for each in found])
                if len(heard) == count:
                    break
    except TimeoutError:
        pass
    finally:
        await consul.http.aclose()
    return heard


@pytest.mark.parametrize(("asked", "told", "next"), [(0, 0, 1), (5, 9, 9), (9, 5, 0), (0, 7, 7)])
def test_an_index_that_goes_back_starts_anew(asked, told, next):
    assert next_index(asked, told) == next


async def test_after_an_index_that_went_back_all_is_asked_again():
    with saying((["a"], {"Index": "9"}), (["a"], {"Index": "3"}), (["b"], {"Index": "4"})) as (
        url,
        asked,
    ):
        assert await told(url, 2) == [["a"], ["b"]]
    assert [query["index"] for query, _ in asked[:3]] == [["0"], ["9"], ["0"]]


@pytest.mark.parametrize(
    "no_answer",
    [
        ([], {"Index": "9", "KnownLeader": "false"}),
        ([], {"Index": "9", "Results-Filtered-By-ACLs": "true"}),
        ([], {}),
        (b"nonsense", {"Index": "9"}),
        (json.dumps([entry("z")]).encode() + b" " * ANSWER_BYTES_MAX, {"Index": "9"}),
        ([], {"Index": "9"}),
    ],
)
async def test_what_is_no_answer_changes_nothing(no_answer):
    """The last is an empty list, disbelieved only because it follows an outage."""
    # Said once, it is asked of the leader; only then is Consul away.
    with saying((["a"], {"Index": "7"}), AWAY, AWAY, no_answer) as (url, asked):
        assert await told(url, 2, seconds=2) == [["a"]]
    assert len(asked) > 3


async def test_a_wait_that_ran_out_is_no_outage():
    with saying((["a"], {"Index": "7"}), AWAY, ([], {"Index": "8"})) as (url, asked):
        assert await told(url, 2) == [["a"], []]
    assert ["stale" in query for query, _ in asked[:3]] == [True, True, False]


async def test_an_empty_list_is_believed_at_once_in_good_times():
    with saying((["a"], {"Index": "7"}), ([], {"Index": "8"})) as (url, _):
        assert await told(url, 2) == [["a"], []]


async def test_what_is_too_stale_is_asked_of_the_leader():
    stale = (["old"], {"Index": "7", "LastContact": "5001"})
    with saying(stale, (["new"], {"Index": "8", "LastContact": "0"})) as (url, asked):
        assert await told(url, 1) == [["new"]]
    assert ["stale" in query for query, _ in asked[:2]] == [True, False]


async def test_a_token_is_read_again_when_it_changes(tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    with saying((["a"], {"Index": "7"}), (["a"], {"Index": "7"})) as (url, asked):
        following = asyncio.create_task(told(url, 2, seconds=2, token_file=file))
        await asyncio.sleep(0.5)
        file.write_text("second\n")
        await following
    assert [asked[0][1], asked[-1][1]] == ["first", "second"]


def instances(stable, canaries):
    return [
        Instance(service="ledger", instance=str(n), host="127.0.0.1", port=n, canary=n > stable)
        for n in range(1, stable + canaries + 1)
    ]


@pytest.mark.parametrize(("stable", "canaries", "percent"), [(1, 1, 10), (3, 2, 7), (2, 5, 99)])
def test_weights_are_as_the_percentages(stable, canaries, percent):
    found = weighed(instances(stable, canaries), canary_percent=percent)
    to_canaries = sum(place.weight for place in found if place.port > stable)
    assert 100 * to_canaries == percent * sum(place.weight for place in found)
    assert len(found) == stable + canaries


async def test_an_instance_without_an_address_is_left_out_and_said_and_others_are_told(tmp_path):
    named = Instance(service="ledger", instance="named", host="node.consul", port=1)
    good = Instance(service="ledger", instance="good", host="127.0.0.1", port=2)

    class Registry:
        async def follow(self, service):
            yield [named, good]

        async def follow_value(self, key):
            yield None

    with capture_logs() as said:
        await Follower(registry=Registry(), service="ledger", folder=tmp_path).run()

    told = (tmp_path / "ledger.json").read_text()
    assert '"port_value": 2' in told and "node.consul" not in told
    assert [entry["instance"] for entry in said if entry["event"] == "left-out"] == ["named"]


def test_a_canary_of_no_percent_is_not_asked_and_one_alone_is():
    assert [place.port for place in weighed(instances(2, 1), canary_percent=0)] == [1, 2]
    assert [place.port for place in weighed(instances(0, 2), canary_percent=10)] == [1, 2]


def test_a_percentage_that_makes_no_sense_is_none():
    assert [percent_of(each, "") for each in (None, "25", "ten", "101", "-1")] == [10, 25, 0, 0, 0]


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"CBS_CONSUL_URL": "http://127.0.0.1:8500", "CBS_REGISTRY_FOLDER": "/x"},
        {"CBS_UPSTREAMS": '{"ledger": "127.0.0.1:1"}'},
        {"CBS_UPSTREAMS": "nonsense"},
    ],
)
def test_one_way_to_the_services_is_named(named):
    ports = dict.fromkeys(("CBS_HTTP_PORT", "CBS_ADMIN_PORT", "CBS_HEALTH_PORT"), "1")
    files = {"CBS_JWKS_FILE": "/jwks", "CBS_GATEWAY_FOLDER": "/folder"}
    with pytest.raises(Misconfigured):
        settings_of(ports | files | named)
