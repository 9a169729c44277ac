"""What stands before every request: sizes, patience, rates, and headers on every answer.

Plain ASGI: each guard wraps the application and knows nothing of the study.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 16_384  # of a vote; the longest honest one has a few hundred
BODY_SECONDS = 10.0
_CLIENTS = 20_000  # remembered at most, so that a flood of addresses takes no memory

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; media-src 'self' blob:; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class SecurityHeaders:
    """HEADERS on every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [pair for pair in message["headers"] if pair[0] != b"server"]
                there = {name for name, _ in headers}
                added = ((name.encode(), text.encode()) for name, text in HEADERS.items())
                message["headers"] = headers + [pair for pair in added if pair[0] not in there]
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class BoundedBody:
    """Reads a body whole before the application sees it: not too large (413), not too slow (408).

    What a client never sends costs a waiting task and no more.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES, seconds: float = BODY_SECONDS
    ) -> None:
        self.app, self.max_bytes, self.seconds = app, max_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        try:
            body = await asyncio.wait_for(self._read(receive), self.seconds)
        except TimeoutError:
            await _refuse(408, "the body did not come in time", scope, receive, send)
            return
        if body is None:
            text = f"a body has at most {self.max_bytes} bytes"
            await _refuse(413, text, scope, receive, send)
            return
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self.app(scope, replay, send)

    async def _read(self, receive: Receive) -> bytes | None:
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.max_bytes:
                return None
            more = message.get("more_body", False)
        return b"".join(parts)


class Bucket:
    """`rate` a second and `burst` at once, for each key; the oldest keys are forgotten."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic):
        self.rate, self.burst, self.clock = rate, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        """True if one more is allowed now."""
        now = self.clock()
        left, at = self._left.pop(key, (float(self.burst), now))
        left = min(float(self.burst), left + (now - at) * self.rate)
        allowed = left >= 1
        self._left[key] = (left - 1 if allowed else left, now)
        while len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        return allowed


class RateLimit:
    """429 for a link, or an address without one, that asks too often.

    By link, because raters of one laboratory share an address; the address has a bucket too, many
    times as large, so that made-up links do not help.
    """

    def __init__(self, app: ASGIApp, rate: float = 20.0, burst: int = 120) -> None:
        self.app = app
        self.by_link = Bucket(rate, burst)
        self.by_address = Bucket(40 * rate, 40 * burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            address = (scope.get("client") or ("",))[0]
            link = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
            key = link[-64:] or f"address {address}"
            if not (self.by_address.take(address) and self.by_link.take(key)):
                await _refuse(429, "too many requests; wait a moment", scope, receive, send)
                return
        await self.app(scope, receive, send)


async def _refuse(code: int, text: str, scope: Any, receive: Receive, send: Send) -> None:
    headers = {"retry-after": "1"} if code == 429 else {"connection": "close"}
    await JSONResponse({"detail": text}, code, headers)(scope, receive, send)
