"""The broker of pact_brokers.py over HTTP, and servers that are there and are no use."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests.release.pact_brokers import Answer, FakeBroker


@contextmanager
def mute() -> Iterator[int]:
    """The port of a server that lets everybody in and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def dead() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


@contextmanager
def serving(broker: FakeBroker) -> Iterator[FakeBroker]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def _do(self):
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kind = self.headers.get("Content-Type", "")
            try:
                if broker.token and self.headers.get("Authorization") != f"Bearer {broker.token}":
                    raise Answer(401, {"error": {"message": "no"}})
                if "application/hal+json" not in self.headers.get("Accept", ""):
                    raise Answer(406)
                read = json.loads(body) if body else {}
                with broker.lock:
                    broker.asked.append((self.command, parts.path, read))
                    query = parse_qsl(parts.query)
                    status, said = broker.answer(self.command, parts.path, query, read, kind)
            except Answer as refused:
                status, said = refused.status, refused.body
            answer = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/hal+json;charset=utf-8")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = do_POST = do_PATCH = _do

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    broker.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield broker
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
