"""A hub on this machine: as much of Hugging Face's HTTP interface as models need.

    with small_hub() as (address, repositories):   # HF_ENDPOINT=address
        repositories["owner/name"] = {"model_index.json": b"...", ...}

One revision, `main`. Uploads come as one commit of whole files.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Repositories = dict[str, dict[str, bytes]]


@contextmanager
def small_hub() -> Iterator[tuple[str, Repositories]]:
    repositories: Repositories = {}
    handler = type("Handler", (_Handler,), {"repositories": repositories})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", repositories
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    repositories: Repositories

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._read(body=False)

    def do_GET(self) -> None:
        self._read(body=True)

    def _read(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/(.+))?", path):
            if (files := self._files(match[1], match[3])) is not None:
                names = [{"rfilename": name} for name in files]
                self._json({"id": match[1], "modelId": match[1], "sha": COMMIT, "siblings": names})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            if (files := self._files(match[1], match[2])) is not None:
                self._json(
                    [
                        {"type": "file", "path": k, "size": len(v), "oid": _digest(v)}
                        for k, v in files.items()
                    ]
                )
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            files = self._files(match[1], match[2])
            if files is not None and match[3] not in files:
                self._missing("EntryNotFound")
            elif files is not None:
                content = files[match[3]]
                headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_digest(content)}"'}
                self._answer(200, content if body else b"", headers, len(content))
        else:
            self._missing("EntryNotFound")

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/repos/create":
            asked = json.loads(content)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.repositories.setdefault(name, {})
            self._json({"url": f"http://{self.headers['Host']}/{name}", "id": name})
        elif self.path == "/api/validate-yaml":  # of a model card
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                     for one in json.loads(content)["files"]]  # fmt: skip
            self._json({"files": files})
        elif match := re.match(r"/api/models/([^/]+/[^/]+)/commit/", self.path):
            for line in content.splitlines():
                item = json.loads(line)
                if item["key"] == "file":
                    value = item["value"]
                    self.repositories[match[1]][value["path"]] = base64.b64decode(value["content"])
            url = f"http://{self.headers['Host']}/{match[1]}/commit/{COMMIT}"
            self._json({"success": True, "commitUrl": url, "commitOid": COMMIT})
        else:
            self._missing("EntryNotFound")

    def _files(self, name: str, revision: str | None) -> dict[str, bytes] | None:
        """Of a repository; None where the answer was that there is none."""
        if name not in self.repositories:
            self._missing("RepoNotFound")
        elif revision not in (None, "main", COMMIT):
            self._missing("RevisionNotFound")
        else:
            return self.repositories[name]
        return None

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _missing(self, code: str) -> None:
        self._answer(404, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def _answer(
        self, status: int, content: bytes, headers: dict[str, str], length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
