"""Requests that are wrong, each in one way, and the statuses that are right for them.

A case is what is sent, given a token; Envoy may find it wrong for a reason of its own.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.customers.people import body as person
from tests.fuzz.sockets import request

URL = "/v1/customers"
GOOD = json.dumps(person()).encode()
CHUNKED = "Transfer-Encoding: chunked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`parts` of a token are sent; `directly` and `envoy` are the statuses that are right."""

    parts: Callable[[str], list[bytes]]
    directly: set[int]
    envoy: set[int]
    half_close: bool = False


def chunk(body: bytes) -> bytes:
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


def posting(body: bytes, *headers: str | bytes, directly=(400,), envoy=(), **more) -> Case:
    def parts(token: str) -> list[bytes]:
        return [request("POST", URL, token=token, headers=headers, body=body)]

    return Case(parts=parts, directly=set(directly), envoy=set(envoy or directly), **more)


def called(body: bytes, name: str) -> Case:
    return posting(body, f"Content-Type: {name}", directly=(415,))


def asking(
    method: str, path: str | bytes, *headers: str | bytes, directly=(400,), envoy=(), version="1.1"
) -> Case:
    def parts(token: str) -> list[bytes]:
        return [request(method, path, token=token, headers=headers, version=version)]

    return Case(parts=parts, directly=set(directly), envoy=set(envoy or directly))


def raw(*parts: bytes, directly=(400,), envoy=(), half_close=False) -> Case:
    return Case(
        parts=lambda _: list(parts),
        directly=set(directly),
        envoy=set(envoy or directly),
        half_close=half_close,
    )


def with_field(field: str) -> bytes:
    return GOOD[:-1] + b", " + field.encode() + b"}"


def changed(**fields) -> bytes:
    return json.dumps(person(**fields)).encode()


OVERSIZED = GOOD + b" " * 70_000
BODIES = {
    "too long": posting(OVERSIZED, directly=[413]),
    "too long in chunks": posting(
        b"".join(chunk(OVERSIZED[n : n + 4096]) for n in range(0, len(OVERSIZED), 4096))
        + b"0\r\n\r\n",
        CHUNKED,
        directly=[413],
    ),
    "ten gigabytes announced": posting(b"{", f"Content-Length: {10 * 2**30}", directly=[413]),
    "nested": posting(b"[" * 30_000 + b"]" * 30_000),
    "objects nested": posting(b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "a field twice": posting(with_field('"given_name": "Bina"')),
    "a field twice, the same": posting(with_field('"given_name": "Asha"')),
    "a field twice, inside": posting(
        GOOD.replace(b'"city": "Pune"', b'"city": "Pune", "city": "Goa"')
    ),
    "a field twice, escaped": posting(with_field('"given_n\\u0061me": "Bina"')),
    "a field twice, with a colon escaped": posting(
        GOOD.replace(b'"Asha"', b'"As\\u003aha", "given_name": "Asha"')
    ),
    "an unknown field": posting(with_field('"surprise": 1')),
    "UTF-16": posting(GOOD.decode().encode("utf-16")),
    "UTF-32": posting(GOOD.decode().encode("utf-32")),
    "Latin-1": posting(GOOD.replace(b"Asha", b"Ash\xe1")),
    "a byte order mark": posting(b"\xef\xbb\xbf" + GOOD),
    "half a character": posting(GOOD.replace(b"Asha", b"Ash\xc3")),
    "a lone surrogate": posting(GOOD.replace(b"Asha", b"Ash\\ud800")),
    "cut off": posting(GOOD[:-20]),
    "nothing": posting(b""),
    "NaN": posting(with_field('"age": NaN')),
    "null": posting(b"null"),
    "a huge number": posting(with_field('"age": ' + "9" * 5000)),
    "U+0000": posting(changed(given_name="As\0ha"), directly=[409]),
    "a bell": posting(changed(given_name="As\aha"), directly=[409]),
    "a line feed in a name": posting(changed(given_name="As\nha"), directly=[409]),
    "a line feed at the end of a number": posting(changed(mobile="+919876543210\n")),
    "a line feed at the end of a code": posting(
        changed(address={**person()["address"], "country": "IN\n"})
    ),
    "a line feed at the end of a postal code": posting(
        changed(address={**person()["address"], "postal_code": "411001\n"})
    ),
    "XML": called(b"<a/>", "application/xml"),
    "a form": called(b"a=b", "application/x-www-form-urlencoded"),
    "a broken multipart": called(b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
    "MessagePack": called(b"\x81\xa1a\x01", "application/x-msgpack"),
    "JSON by another name": called(GOOD, "text/plain"),
    "JSON in another encoding": called(GOOD, "application/json; charset=utf-16"),
    "JSON in no encoding": called(GOOD, "application/json; charset=nonsense"),
    "compressed": posting(b"\x1f\x8b\x08\0\0\0\0\0", "Content-Encoding: gzip"),
}
HEADS = {
    "both lengths": posting(chunk(GOOD) + b"0\r\n\r\n", f"Content-Length: {len(GOOD)}", CHUNKED),
    "two lengths": posting(GOOD, f"Content-Length: {len(GOOD)}", "Content-Length: 3"),
    "two equal lengths": posting(
        GOOD, f"Content-Length: {len(GOOD)}", f"Content-Length: {len(GOOD)}"
    ),
    "a list of lengths": posting(GOOD, f"Content-Length: {len(GOOD)}, {len(GOOD)}"),
    "a negative length": posting(GOOD, "Content-Length: -1"),
    "a length with a sign": posting(GOOD, f"Content-Length: +{len(GOOD)}"),
    "a length in hexadecimal": posting(GOOD, "Content-Length: 0x10"),
    "a length beyond 64 bits": posting(GOOD, f"Content-Length: {2**64 + len(GOOD)}"),
    "an unknown coding": posting(GOOD, "Transfer-Encoding: xchunked", envoy=[501]),
    "chunked twice": posting(GOOD, "Transfer-Encoding: chunked, chunked", envoy=[501]),
    "a space before the colon": posting(
        chunk(GOOD) + b"0\r\n\r\n", "Transfer-Encoding : chunked", f"Content-Length: {len(GOOD)}"
    ),
    "a folded header": asking("GET", URL, "X-Folded: a\r\n b", envoy=[200]),
    "a bad chunk size": posting(b"zz\r\nabc\r\n0\r\n\r\n", CHUNKED),
    "a chunk size beyond 64 bits": posting(b"f" * 17 + b"\r\nabc", CHUNKED),
    "a chunk that is longer than it says": posting(b"3\r\nabcdef\r\n0\r\n\r\n", CHUNKED),
    "no colon": asking("GET", URL, "nonsense"),
    "a control character in a header": asking("GET", URL, b"X-A: a\x01b"),
    "U+0000 in a header": asking("GET", URL, b"X-A: a\0b"),
    "a header of 70 KB": asking("GET", URL, "X-A: " + "a" * 70_000, directly=[431]),
    "200 headers": asking("GET", URL, *(f"X-{n}: a" for n in range(200)), directly=[431]),
    "not HTTP": raw(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\xfe" * 300),
    "lines without end": raw(b"\n" * 1000 + b"x\n\n"),
    "HTTP 9.9": asking("GET", URL, version="9.9", envoy=[426]),
    "HTTP 2": raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
}
TARGETS = {
    "U+0000 in the path": asking("GET", b"/v1/customers/\0"),
    "U+0000 in the path, escaped": asking("GET", f"{URL}/%00", directly=[404], envoy=[400]),
    "a control character in the path": asking("GET", b"/v1/customers/\x01"),
    "UTF-8 in the path": asking("GET", "/v1/customers/\u0905".encode(), directly=[400, 404]),
    "half a character in the path": asking("GET", f"{URL}/%c3", directly=[404]),
    "half an escape": asking("GET", f"{URL}/%2", directly=[404], envoy=[400, 404]),
    "dots": asking("GET", f"{URL}/../../metrics", directly=[404]),
    "dots, escaped": asking("GET", f"{URL}/%2e%2e/%2e%2e/metrics", directly=[404]),
    "slashes, escaped": asking("GET", f"{URL}/..%2f..%2fmetrics", directly=[404], envoy=[400]),
    "backslashes": asking("GET", f"{URL}/..\\..\\metrics", directly=[404]),
    "a long path": asking("GET", f"{URL}/{'a' * 8000}", directly=[404]),
    "an unknown query": asking("GET", f"{URL}?limmit=1"),
    "U+0000 in the query": asking("GET", f"{URL}?cursor=%00"),
    "half a character in the query": asking("GET", f"{URL}?cursor=%ff"),
    "an unknown query in bytes": asking("GET", b"/v1/customers?\xff=1"),
    "a query twice": asking("GET", f"{URL}?limit=1&limit=2"),
    "a query of 30 KB": asking("GET", f"{URL}?cursor={'a' * 30_000}"),
    "DELETE": asking("DELETE", URL, directly=[405]),
    "TRACE": asking("TRACE", URL, directly=[405]),
    "PROPFIND": asking("PROPFIND", URL, directly=[405], envoy=[400, 405]),
    "QUERY": asking("QUERY", URL, directly=[405], envoy=[400]),
    "a made-up method": asking("PAY", URL),
    "CONNECT": asking("CONNECT", "bank:443", directly=[400, 404], envoy=[404]),
    "a key that is none": posting(GOOD, "Idempotency-Key: \xff"),
    "a key too long": posting(GOOD, "Idempotency-Key: " + "a" * 300),
    "a key with a tab": posting(GOOD, "Idempotency-Key: aaaaaaa\taaaaaaaa"),
    "a token of 20 KB": asking("GET", URL, f"Authorization: Bearer {'a' * 20_000}", directly=[401]),
    "a token in bytes": asking("GET", URL, b"Authorization: Bearer \xff\xfe", directly=[401]),
}
CASES = {**BODIES, **HEADS, **TARGETS}
