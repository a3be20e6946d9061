"""The connection to an endpoint: nothing goes out but what we say, and whatever comes in ends.

A limit on each wait ends nothing: a header a second, interim answers without end and chunks that never begin keep a
client waiting for ever. So every request has one deadline and one room of bytes, which hold for all that is read, the
headers too. Cookies, redirections, reason phrases and character sets are nothing to us and are dropped.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any

from gamesim.planning.language.addresses import Key

LARGEST = 2**20
"""Bytes of an answer."""
HEADERS = 2**17
"""Bytes of what comes around it."""
GLANCE = 0.25
"""Seconds until somebody who waits looks whether it is still worth while."""
PIECE = 2**14
"""Bytes that are sent at once."""
SENT = ("host", "connection", "accept", "content-type", "content-length", "user-agent")
"""Headers of a request, beside the key; the client would add what it finds in the environment."""


class TooLarge(Exception):
    """An answer is longer than is read."""


def bounded_client(timeout: float, key: Key, closed: threading.Event, transport: Any = None) -> Any:
    """An httpx2.Client that shows the key, and whose answers end: after so many bytes, and so long after the request.

    closed: set, it ends requests that are under way. transport: what carries requests instead of the network.
    """
    import httpcore2
    import httpx2

    now = threading.local()  # a request and its answer belong to one thread, connections to any

    def left(wanted: float | None) -> float:
        rest: float = now.until - time.monotonic()
        if rest <= 0 or closed.is_set():
            raise httpcore2.ReadTimeout("the answer takes too long")
        return rest if wanted is None else min(wanted, rest)

    class Stream(httpcore2.NetworkStream):
        def __init__(self, inner: httpcore2.NetworkStream) -> None:
            self._inner = inner

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            while True:
                wait = left(timeout)
                try:
                    part = self._inner.read(max_bytes, min(wait, GLANCE))
                    break
                except httpcore2.ReadTimeout:
                    if wait <= GLANCE:
                        raise
            now.room -= len(part)
            if now.room < 0:
                raise TooLarge(f"more than {LARGEST} bytes")
            return part

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            for i in range(0, len(buffer), PIECE):
                self._inner.write(buffer[i : i + PIECE], left(timeout))

        def close(self) -> None:
            self._inner.close()

        def start_tls(
            self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
        ) -> httpcore2.NetworkStream:
            return Stream(self._inner.start_tls(ssl_context, server_hostname, left(timeout)))

        def get_extra_info(self, info: str) -> Any:
            return self._inner.get_extra_info(info)

    class Network(httpcore2.SyncBackend):
        def connect_tcp(
            self, host: str, port: int, timeout: float | None = None, *given: Any, **more: Any
        ) -> httpcore2.NetworkStream:
            return Stream(super().connect_tcp(host, port, left(timeout), *given, **more))

    class Carrier(httpx2.HTTPTransport):
        def __init__(self) -> None:
            self._pool = httpcore2.ConnectionPool(
                ssl_context=httpx2.create_ssl_context(trust_env=False),
                max_connections=None,
                max_keepalive_connections=64,
                keepalive_expiry=5.0,
                network_backend=Network(),
            )

    class Body(httpx2.SyncByteStream):
        def __init__(self, inner: httpx2.SyncByteStream) -> None:
            self._inner = inner

        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for part in self._inner:
                size += len(part)
                if size > LARGEST:
                    raise TooLarge(f"more than {LARGEST} bytes")
                if time.monotonic() > now.until:
                    raise httpx2.ReadTimeout("the answer takes too long")
                yield part

        def close(self) -> None:
            self._inner.close()

    class Bounded(httpx2.BaseTransport):
        def __init__(self) -> None:
            self._inner: httpx2.BaseTransport = transport or Carrier()

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            now.until, now.room = time.monotonic() + timeout, LARGEST + HEADERS
            said = {name: value for name, value in request.headers.items() if name in SENT}
            said |= {"accept-encoding": "identity", "authorization": f"Bearer {key.reveal()}"}
            response = self._inner.handle_request(
                httpx2.Request(
                    request.method, request.url, headers=said, stream=request.stream, extensions=request.extensions
                )
            )
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                response.close()
                raise httpx2.DecodingError("the answer is compressed, which was not asked for", request=request)
            kept = {"content-type": "application/json"}  # a character set may unpack, too
            kept |= {name: v for name, v in response.headers.items() if name == "retry-after" and v.isascii()}
            assert isinstance(response.stream, httpx2.SyncByteStream)
            return httpx2.Response(response.status_code, headers=kept, stream=Body(response.stream))

        def close(self) -> None:
            self._inner.close()

    return httpx2.Client(transport=Bounded(), timeout=timeout, follow_redirects=False, trust_env=False)
