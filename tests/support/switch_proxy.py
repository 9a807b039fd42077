"""A TCP proxy that leads to another server from one moment to the next, or to nobody, or is a lame network.

It works in threads of its own.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal, Self
from urllib.parse import urlsplit

Direction = Literal["up", "down"]
"""Of bytes: to the server, or from it."""


class SwitchProxy:
    """Passes bytes on to `endpoint`; `switch` cuts every connection, and new ones lead elsewhere.

    `felt` is set when a client was turned away, or bytes were held up.
    """

    def __init__(self, endpoint: str) -> None:
        self._to = _address(endpoint)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._passing = {"up": threading.Event(), "down": threading.Event()}
        for each in self._passing.values():
            each.set()
        self.felt = threading.Event()
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._cut()
        for each in self._passing.values():
            each.set()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Cut every connection, and turn away whoever comes meanwhile."""
        to = self._to
        self.felt.clear()
        self.switch("http://127.0.0.1:1")  # nobody listens there
        try:
            yield
        finally:
            self._to = to

    @contextmanager
    def held_up(self, *directions: Direction) -> Iterator[None]:
        """Keep the bytes of some directions back for as long; no connection ends."""
        self.felt.clear()
        for each in directions:
            self._passing[each].clear()
        try:
            yield
        finally:
            for each in directions:
                self._passing[each].set()

    def switch(self, endpoint: str) -> None:
        """Lead to another server from now on."""
        self._to = _address(endpoint)
        self._cut()

    def _cut(self) -> None:
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._to)
        except OSError:
            self.felt.set()
            client.close()
            return
        with client, server, suppress(OSError):
            with self._lock:
                self._open |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client, "down"), daemon=True)
            back.start()
            self._pump(client, server, "up")
            back.join()
            with self._lock:
                self._open -= {client, server}

    def _pump(self, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if not self._passing[direction].is_set():
                    self.felt.set()
                    self._passing[direction].wait()
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _address(endpoint: str) -> tuple[str, int]:
    parts = urlsplit(endpoint)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port
