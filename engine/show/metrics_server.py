"""The HTTP server of metrics and probes: threads that are few, and wait for nobody for long.

Invariant: whoever connects and says nothing, or leaves his answers, holds a thread for seconds; whoever opens
more connections than there is room for is hung up on, and the run notices neither. A probe says what the
metrics say, and reads nothing else.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from engine.show.job_figures import JobFigures

CONNECTIONS_MAX = 16
"""More than several scrapers and probes need at once."""
SILENCE_S = 10.0
"""How long a request, or the taking of an answer, may take: Prometheus gives a scrape ten by default."""

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Probed(Protocol):
    """What probes ask."""

    @property
    def shown(self) -> Mapping[str, JobFigures]:
        """What a scrape that begins now gives, or what is newer."""

    def scraped(self, shown: Mapping[str, JobFigures]) -> None:
        """Take note that somebody was given what was shown then."""


def healthy(jobs: Mapping[str, JobFigures], at_s: float) -> tuple[bool, str]:
    """Say whether the process does anything: for a probe that has it killed. Pure."""
    if any(figures.hung(at_s) for figures in jobs.values()):
        return False, "the run hangs: it has said nothing for minutes"
    return True, "ok"


def ready(jobs: Mapping[str, JobFigures], at_s: float) -> tuple[bool, str]:
    """Say whether a run has begun and the target of each that goes on answers. Pure."""
    if not jobs:
        return False, "no run has begun yet"
    if not all(figures.ended or figures.target_up(at_s) for figures in jobs.values()):
        return False, "the target doesn't answer"
    return healthy(jobs, at_s)


PROBES = {"/healthz": healthy, "/readyz": ready}


def answering(scrapes: Any, figures: Probed, clock: Callable[[], float] = time.monotonic) -> App:
    """Put the probes beside the WSGI application that answers scrapes."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        probe = PROBES.get(environ["PATH_INFO"])
        if probe is None:
            shown = figures.shown
            answer: Iterable[bytes] = scrapes(environ, start_response)
            figures.scraped(shown)
            return answer
        well, words = probe(figures.shown, clock())
        status = "200 OK" if well else "503 Service Unavailable"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{words}\n".encode()]

    return app


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
