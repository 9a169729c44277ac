"""Serve a study until it is stopped: uvicorn, one process, loopback unless told."""

import socket
from pathlib import Path

import uvicorn

from videojam.study.server.app import make_app

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MAX_CONNECTIONS = 1000


def serve(folder: Path, host: str, port: int) -> None:
    """Blocks. Raises ValueError for a folder without a study, OSError for a port that is taken."""
    loopback = host in LOOPBACK
    # On loopback only loopback's names: a foreign page cannot reach it by renaming itself.
    app = make_app(folder, hosts=["127.0.0.1", "localhost", "[::1]"] if loopback else None)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=256) as listening:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=15,
            h11_max_incomplete_event_size=16_384,
            timeout_graceful_shutdown=5,
        )
        uvicorn.Server(config).run(sockets=[listening])
