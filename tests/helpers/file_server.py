"""A server of files on this machine that can break transfers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """What a server sends, and what it was asked for.

    Attributes:
        files: path -> content.
        types: path -> content type, if it is not that of a file.
        broken: path -> how many of the next answers end before their announced length.
        announced: False leaves out the length of files.
        ranges: True if it sends parts of files.
        tags: path -> entity tag.
        asked: paths of GET requests, in their order.
        wanted: their `Range` headers; empty where a whole file was asked for.
        url: address of the server.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    announced: bool = True
    ranges: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def file_server() -> Iterator[FileServer]:
    """A running server on a free port of the loopback interface."""
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            wanted, tag = self.headers.get("Range", ""), state.tags.get(self.path)
            state.wanted.append(wanted)
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            first, total = 0, len(content)
            if state.ranges and wanted and self.headers.get("If-Range") == tag:
                first = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if first >= total:
                    self.send_error(416)
                    return
                content = content[first:]
            self.send_response(206 if first else 200)
            if first:
                self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
            if tag is not None:
                self.send_header("ETag", tag)
            self.send_header("Content-Type", state.types.get(self.path, "application/octet-stream"))
            if state.announced:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if state.broken.get(self.path, 0):
                state.broken[self.path] -= 1
                content = content[: len(content) // 2]
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
