"""The HTTP server of metrics and probes: threads that are few, and wait for nobody for long.

Invariant: whoever connects and says nothing, or leaves his answers, holds a thread for seconds; whoever opens
more connections than there is room for is hung up on, and the run notices neither.
"""

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

CONNECTIONS_MAX = 16
"""More than several scrapers and probes need at once."""
SILENCE_S = 10.0
"""How long a request, or the taking of an answer, may take: Prometheus gives a scrape ten by default."""

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Handler(WSGIRequestHandler):
    """One connection. `timeout`: socketserver sets it on the socket."""

    timeout = SILENCE_S

    def log_message(self, *_: object) -> None:
        """Say nothing: a scrape every few seconds is no news."""

    def handle(self) -> None:
        """Answer, unless the other side has gone silent or away."""
        try:
            super().handle()
        except OSError:
            self.close_connection = True


class MetricsServer(ThreadingMixIn, WSGIServer):
    """A thread for each connection, as many as there is room for."""

    daemon_threads = True

    def __init__(self, *given: Any) -> None:
        self._room = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(*given)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection, or hang up where there is no room."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and give its room back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()


class _V6(MetricsServer):
    address_family = socket.AF_INET6


def started(app: App, host: str, port: int) -> MetricsServer:
    """Serve from a thread of its own until the server is shut down. Raises: OSError."""
    kind = _V6 if ":" in host else MetricsServer
    server: MetricsServer = make_server(host, port, app, kind, handler_class=_Handler)
    threading.Thread(target=server.serve_forever, daemon=True, name="metrics").start()
    return server
