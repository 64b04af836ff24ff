"""A server on this machine that behaves as told: whole or broken answers, with ranges or without."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Published:
    """One file on the server, and the server's manners.

    ``drops`` says after how many bytes each of the next answers breaks off; ``statuses`` what the next ones are
    instead of content; ``etag`` None leaves the server without a name for the version.
    """

    content: bytes
    ranges: bool = True
    etag: str | None = '"one"'
    drops: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    length: bool = True
    shift: int = 0  # how far a range begins from where it was asked for
    stall: threading.Event | None = None  # waited for before the last byte


@dataclass
class Server:
    """Its address, what it publishes by path, and the requests it got: (path, Range, If-Range)."""

    url: str
    files: dict[str, Published]
    requests: list[tuple[str, str | None, str | None]]

    def publish(self, path: str, content: bytes, **manners: Any) -> Published:
        self.files[path] = Published(content, **manners)
        return self.files[path]


class _Handler(BaseHTTPRequestHandler):
    server: "_Listener"

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def do_GET(self) -> None:
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        self.server.requests.append((self.path, asked, condition))
        file = self.server.files.get(self.path)
        if file is None:
            self.send_error(404)
        elif file.statuses:
            self.send_error(file.statuses.pop(0))
        else:
            self._answer(file, self._start(file, asked, condition))

    def _start(self, file: Published, asked: str | None, condition: str | None) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", asked or "")
        if found and file.ranges and condition in (None, file.etag):
            return int(found[1])
        return 0

    def _answer(self, file: Published, start: int) -> None:
        if start and start >= len(file.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(file.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start += file.shift if start else 0
        body = file.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(file.content) - 1}/{len(file.content)}")
        if file.length:
            self.send_header("Content-Length", str(len(body)))
        if file.etag:
            self.send_header("ETag", file.etag)
        self.end_headers()
        sent = body[: file.drops.pop(0)] if file.drops else body
        if file.stall:
            self.wfile.write(sent[:-1])
            self.wfile.flush()
            file.stall.wait(30)
            sent = sent[-1:]
        self.wfile.write(sent)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    files: dict[str, Published]
    requests: list[tuple[str, str | None, str | None]]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news here."""


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server in a thread."""
    listener = _Listener(("127.0.0.1", 0), _Handler)
    listener.files, listener.requests = {}, []
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{listener.server_port}", listener.files, listener.requests)
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
