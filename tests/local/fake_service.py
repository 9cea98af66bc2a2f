"""Stands in for a service's PEX: keeps the settled interface with the standard library alone."""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Before the name of a service: a file that makes it useless, whatever it says of itself.
BROKEN = Path(os.environ.get("CBS_REGISTRY_FOLDER", "/nonexistent")) / "broken"


class Handler(BaseHTTPRequestHandler):
    service = ""

    def do_GET(self):
        said: dict[str, object]
        status = 200
        if os.path.exists(f"{BROKEN}-{self.service}") and self.path != "/health/ready":
            status, said = 503, {"type": "urn:cbs:unavailable", "title": "The disk is on fire."}
        elif "/requests/" in self.path:
            status, said = 404, {"type": "urn:cbs:no-such-request"}
        elif self.path == "/health/ready":
            said = {"status": "ready", "version": "9.9", "queues": {"outbox": 7}}
        else:
            said = {"service": self.service, "pid": os.getpid(), "path": self.path}
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


def enter(registry: Path, service: str, port: int, *, instance: str = "one") -> Path:
    """What a service writes when it is ready."""
    entry = registry / service / f"{instance}.json"
    entry.parent.mkdir(parents=True, exist_ok=True)
    draft = entry.with_suffix(".draft")
    said = {"service": service, "instance": instance, "version": "9.9", "pid": os.getpid()}
    draft.write_text(json.dumps(said | {"host": "127.0.0.1", "port": port}))
    draft.rename(entry)
    return entry


def server(service: str, port: int) -> ThreadingHTTPServer:
    handler = type("Named", (Handler,), {"service": service})
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


def main() -> None:
    service, verb = Path(sys.argv[0]).stem, sys.argv[1]
    if verb == "migrate":
        assert "_owner@" in os.environ["CBS_POSTGRES_URL"]
        return
    port = int(os.environ["CBS_HTTP_PORT"])
    serving = server(service, port)
    entry = enter(Path(os.environ["CBS_REGISTRY_FOLDER"]), service, port)
    stop = threading.Thread(target=serving.shutdown)
    signal.signal(signal.SIGTERM, lambda *_: stop.start())
    serving.serve_forever()
    entry.unlink()


if __name__ == "__main__":
    main()
