"""The client of the public API repeats what was not answered, with its key, and not for ever."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from cbs.tools.local import public_api
from cbs.tools.local.public_api import NoAnswerFromBank, PublicApi, RefusedByBank

OK = b'HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n{"id": 1}'
CHUNKED = (
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"id"\r\n4\r\n: 1}\r\n0\r\n\r\n'
)
LATER = b'HTTP/1.1 503 Later\r\nContent-Length: 30\r\n\r\n{"type":"urn:cbs:unavailable"}'
BUSY = b"HTTP/1.1 429 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NO = (
    b"HTTP/1.1 409 No\r\nContent-Length: 60\r\n\r\n"
    b'{"type":"urn:cbs:key-reused","title":"t","detail":"another"}'
)
NOT_HTTP = b"hello\r\n\r\n"
HANG_UP = b""


@asynccontextmanager
async def answering(*answers):
    """A server that gives these answers in turn, the last for ever; yields what it was asked."""
    asked, left, serving = [], list(answers), []

    async def serve(reader, writer):
        done = asyncio.Event()
        serving.append(done.wait())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                asked.append(head + await reader.readexactly(int(length or 0)))
                answer = left.pop(0) if len(left) > 1 else left[0]
                if answer == HANG_UP:
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    api = PublicApi(f"http://127.0.0.1:{port}", "secret")
    try:
        yield api, asked
    finally:
        api.close()
        server.close()
        await asyncio.gather(*serving)


@pytest.mark.parametrize("trouble", [LATER, BUSY, NOT_HTTP, HANG_UP])
async def test_what_was_not_answered_is_asked_again_with_the_same_key(trouble):
    async with answering(trouble, trouble, OK) as (api, asked):
        assert await api.post("/v1/x", {"a": 1}, dict, key="a-key-of-mine") == {"id": 1}
    assert api.repeats == 2
    assert len(asked) == 3 and len(set(asked)) == 1
    assert b"Idempotency-Key: a-key-of-mine\r\n" in asked[0]
    assert asked[0].endswith(b'\r\n\r\n{"a":1}')


async def test_a_connection_is_kept_and_used_again():
    async with answering(OK, CHUNKED) as (api, asked):
        await api.get("/v1/x", dict)
        assert await api.get("/v1/x", dict) == {"id": 1}
        assert len(api._idle) == 1
    assert len(asked) == 2
    assert b"Idempotency-Key" not in asked[0]


async def test_a_no_is_raised_with_its_code_and_not_asked_again():
    async with answering(NO) as (api, asked):
        with pytest.raises(RefusedByBank, match="key-reused: another") as refused:
            await api.post("/v1/x", None, dict, key="a-key-of-mine")
    assert (refused.value.status, len(asked)) == (409, 1)


async def test_nobody_there_is_said_after_a_while(monkeypatch):
    monkeypatch.setattr(public_api, "REPEAT_SECONDS_MAX", 0.2)
    async with answering(HANG_UP) as (api, asked):
        with pytest.raises(NoAnswerFromBank, match="the edge hung up"):
            await api.get("/v1/x", dict)
    assert 1 < len(asked) < 5


async def test_an_answer_that_never_comes_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(public_api, "REPEAT_SECONDS_MAX", 0.2)
    monkeypatch.setattr(public_api, "REQUEST_SECONDS_MAX", 0.1)
    async with answering(b"HTTP/1.1 200 OK\r\n") as (api, _):
        with pytest.raises(NoAnswerFromBank, match="it took too long"):
            await api.get("/v1/x", dict)


async def test_no_more_requests_are_under_way_than_allowed():
    async with answering(OK) as (api, _):
        api.at_once_max = 3
        api.__post_init__()
        await asyncio.gather(*(api.get("/v1/x", dict) for _ in range(30)))
        assert 1 <= len(api._idle) <= 3


async def test_a_token_is_not_shown():
    assert "secret" not in repr(PublicApi("http://127.0.0.1:1", "secret"))
