"""What `cbs bench` measures with measures right.  The bench itself: ./cbs bench"""

import msgspec
import pytest

from cbs.platform.auth import Tokens
from cbs.platform.bus import Bus, Endpoint
from cbs.tools.lab.bench.load import Job, quantile, run_load
from tests.bench.server import Edge, listening
from tests.signing import Signer

ACCOUNTS = ["00010000000011", "00010000000029", "00010000000037", "00010000000045"]


def job(**wanted) -> Job:
    base = {"name": "bench-t", "clients": 3, "seconds": 0.3, "token": "t", "accounts": ACCOUNTS}
    return Job(**{**base, **wanted})


async def test_clients_keep_their_connections_and_use_each_key_once():
    async with listening(Edge()) as edge:
        found = await run_load(job(http_url=edge.url))

    assert edge.connections == 3
    assert len(set(edge.keys)) == len(edge.keys) == found.requests > 3
    assert edge.tokens == {"Bearer t"}
    assert found.refused == {}
    assert 0 < found.p50_ms <= found.p99_ms


async def test_money_goes_between_all_accounts_and_never_to_itself():
    async with listening(Edge()) as edge:
        await run_load(job(http_url=edge.url))

    pairs = {(body["remitter_account"], body["beneficiary_account"]) for body in edge.bodies}
    assert {payer for payer, _ in pairs} == set(ACCOUNTS)
    assert all(payer != payee for payer, payee in pairs)


async def test_two_accounts_pay_each_other_in_turn():
    async with listening(Edge()) as edge:
        await run_load(job(http_url=edge.url, accounts=ACCOUNTS[:2], clients=1))

    payers = [body["remitter_account"] for body in edge.bodies]
    assert payers[:4] == [ACCOUNTS[0], ACCOUNTS[1], ACCOUNTS[0], ACCOUNTS[1]]


async def test_what_is_refused_is_not_counted_as_done():
    async with listening(Edge(status=409)) as edge:
        found = await run_load(job(http_url=edge.url))

    assert found.requests == 0
    assert found.refused == {"409": len(edge.keys)}


@pytest.mark.parametrize("retry_after", ["", "1"])
async def test_refusals_that_do_not_say_when_to_come_back_are_counted(retry_after):
    async with listening(Edge(status=429, retry_after=retry_after)) as edge:
        found = await run_load(job(http_url=edge.url))

    assert found.without_retry_after == (0 if retry_after else len(edge.keys))


async def test_an_edge_that_hangs_up_is_not_counted_as_done():
    async with listening(Edge(hang_up_each=5)) as edge:
        found = await run_load(job(http_url=edge.url))

    assert found.requests == len(edge.keys) - 3
    assert found.refused == {"hung up": 3}


class Asked(msgspec.Struct):
    kind: str
    legs: list[dict[str, object]]


@pytest.mark.parametrize("refuse", [False, True])
async def test_callers_on_the_bus_send_what_the_ledger_takes(nats_url, tmp_path, refuse):
    signer, keys = Signer(), []
    bus = Bus(service="ledger", tokens=Tokens.of_file(signer.jwks(tmp_path)))

    async def post(asked: Asked, key: str) -> dict[str, str]:
        keys.append(key)
        assert asked.kind == "transfer"
        assert sum(int(str(leg["amount_minor"])) for leg in asked.legs) == 0
        return {"outcome": "posted"}

    permission = "nobody-has-it" if refuse else "payments.transfer"
    await bus.open(url=nats_url, nkey_file=None)
    try:
        await bus.serve(
            Endpoint(verb="post", takes=Asked, gives=dict, handle=post, permission=permission)
        )
        token = signer.token("tilda", "payments.transfer")
        found = await run_load(job(nats_url=nats_url, token=token))
    finally:
        await bus.leave()
        await bus.close()

    if refuse:
        assert (found.requests, set(found.refused), keys) == (0, {"not-permitted"}, [])
    else:
        assert (found.requests, found.refused) == (len(set(keys)), {})
        assert len(keys) == len(set(keys)) > 0


@pytest.mark.parametrize(
    ("measured_ms", "share", "expected"),
    [
        ([], 0.5, 0),
        ([7.0], 0.99, 7),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2),
        ([float(n) for n in range(1, 101)], 0.99, 99),
        ([float(n) for n in range(1, 101)], 1, 100),
    ],
)
def test_a_quantile_is_something_that_was_measured(measured_ms, share, expected):
    assert quantile(measured_ms, share) == expected
