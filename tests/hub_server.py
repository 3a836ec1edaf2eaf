"""A hub on loopback: answers as the Hugging Face hub does where its client asks, and misbehaves on demand.

What the client asks for a data set: `GET /api/datasets/ID` or `.../revision/REV` (the commit), `GET .../tree/COMMIT`
(paged, the next page in a Link header), `HEAD` and `GET /datasets/ID/resolve/COMMIT/FILE`. Small files are answered at
once, with the git digest as ETag; Git LFS files by a redirect to another host, with X-Linked-Etag (sha256),
X-Linked-Size and, as the hub does today, the headers of its Xet storage.
"""

import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

DATASET = "pkuHaowei/sldbench"
PAGE = 7  # entries of a page of the tree, so that there are several pages


@dataclass
class Hub:
    """State of the server: branches with files, and faults to play.

    Attributes:
        branches: Branch to files by path.
        tampered: Path to what is served in place of the file.
        cut: Paths whose body breaks off in the middle.
        answers: Path prefix of a request to (status, headers, body) sent instead of an answer.
        requests: (method, path, headers) as they came.
    """

    branches: dict[str, dict[str, bytes]]
    tampered: dict[str, bytes] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    lfs: bool = True
    sizes: dict[str, int] = field(default_factory=dict)  # announced instead of the true ones
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    url: str = ""
    storage: str = ""

    def commit(self, branch: str) -> str:
        """The commit of a branch: a digest of its content."""
        digest = hashlib.sha1()
        for path, data in sorted(self.branches[branch].items()):
            digest.update(path.encode() + b"\0" + data)
        return digest.hexdigest()

    def files(self, revision: str) -> dict[str, bytes] | None:
        """The files of a branch or commit."""
        for branch, files in self.branches.items():
            if revision in (branch, self.commit(branch)):
                return files
        return None

    def asked(self, method: str, part: str) -> list[str]:
        """Paths of the requests with this method that contain `part`."""
        return [path for m, path, _ in self.requests if m == method and part in path]


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers for the hub of its server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits for an acknowledgement

    @property
    def hub(self) -> Hub:
        hub = self.server.hub  # type: ignore[attr-defined]
        assert isinstance(hub, Hub)
        return hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        self.hub.requests.append((self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        for prefix, (status, headers, body) in self.hub.answers.items():
            if path.startswith(prefix):
                return self.send(status, headers, body)
        if found := re.fullmatch(rf"/api/datasets/{DATASET}(?:/revision/(.+))?", path):
            return self.info(found[1] or "main")
        if found := re.fullmatch(rf"/api/datasets/{DATASET}/tree/(.+)", path):
            return self.tree(found[1], parse_qs(parts.query))
        if found := re.fullmatch(rf"/datasets/{DATASET}/resolve/([^/]+|refs/convert/parquet)/(.+)", path):
            return self.resolve(found[1], found[2])
        if found := re.fullmatch(r"/storage/([0-9a-f]{64})", path):
            return self.stored(found[1])
        self.missing("RepoNotFound", 401)  # the hub does not tell strangers what exists

    def info(self, revision: str) -> None:
        files = self.hub.files(revision)
        if files is None:
            return self.missing("RevisionNotFound")
        branch = next(b for b in self.hub.branches if revision in (b, self.hub.commit(b)))
        siblings = [{"rfilename": path} for path in files]
        document = {"id": DATASET, "sha": self.hub.commit(branch), "siblings": siblings, "tags": [], "private": False}
        self.json(document)

    def tree(self, revision: str, query: Mapping[str, list[str]]) -> None:
        files = self.hub.files(revision)
        if files is None:
            return self.missing("RevisionNotFound")
        folders = sorted({path.rpartition("/")[0] for path in files} - {""})
        entries: list[dict[str, Any]] = [{"type": "directory", "path": p, "oid": "0" * 40, "size": 0} for p in folders]
        for path, data in files.items():
            entry: dict[str, Any] = {"type": "file", "path": path, "oid": git_sha1(data), "size": len(data)}
            if self.is_lfs(path):
                oid = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 130}
                entry["xetHash"] = oid
            entries.append(entry)
        start = int(query.get("cursor", ["0"])[0])
        headers = {}
        if start + PAGE < len(entries):
            address = f"{self.hub.url}/api/datasets/{DATASET}/tree/{revision}?recursive=true&cursor={start + PAGE}"
            headers["Link"] = f'<{address}>; rel="next"'
        self.json(entries[start : start + PAGE], headers)

    def is_lfs(self, path: str) -> bool:
        return self.hub.lfs and path.endswith((".parquet", ".arrow"))

    def resolve(self, revision: str, path: str) -> None:
        files = self.hub.files(revision)
        if files is None or path not in files:
            return self.missing("EntryNotFound" if files is not None else "RevisionNotFound")
        branch = next(b for b in self.hub.branches if revision in (b, self.hub.commit(b)))
        data = files[path]
        size = self.hub.sizes.get(path, len(data))
        common = {"X-Repo-Commit": self.hub.commit(branch), "Accept-Ranges": "bytes"}
        if not self.is_lfs(path):
            return self.body(data, path, {**common, "ETag": f'"{git_sha1(data)}"'})
        oid = hashlib.sha256(data).hexdigest()
        linked = {
            "X-Linked-Etag": f'"{oid}"',
            "X-Linked-Size": str(size),
            "X-Xet-Hash": oid,
            "Link": f'<{self.hub.url}/api/datasets/{DATASET}/xet-read-token/{revision}>; rel="xet-auth"',
            "Location": f"{self.hub.storage}/storage/{oid}",
        }
        self.send(302, {**common, **linked}, b"Found")

    def stored(self, oid: str) -> None:
        for files in self.hub.branches.values():
            for path, data in files.items():
                if hashlib.sha256(data).hexdigest() == oid:
                    return self.body(data, path, {"ETag": f'"{oid}"'})
        self.send(404, {}, b"")

    def body(self, data: bytes, path: str, headers: Mapping[str, str]) -> None:
        data = self.hub.tampered.get(path, data)
        status, content = 200, data
        if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(found[1])
            status, content = 206, data[start:]
            headers = {**headers, "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        self.send(status, headers, content, cut=path in self.hub.cut)

    def json(self, document: object, headers: Mapping[str, str] | None = None) -> None:
        self.send(200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(document).encode())

    def missing(self, code: str, status: int = 404) -> None:
        self.send(status, {"X-Error-Code": code, "X-Error-Message": "not here"}, b'{"error":"not here"}')

    def send(self, status: int, headers: Mapping[str, str], body: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True


class Server(ThreadingHTTPServer):
    """Without a word about clients that leave in the middle: tests kill them."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError | ValueError):
            super().handle_error(request, client_address)


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a hub on a free port of loopback; `hub.url` is its endpoint."""
    server = Server(("127.0.0.1", 0), Handler)
    server.hub = hub  # type: ignore[attr-defined]
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    hub.storage = f"http://localhost:{server.server_address[1]}"  # another host to the client, as on the hub
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
