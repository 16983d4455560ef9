"""A proxy before Redis that loses replies, as a connection that breaks does."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

CHUNK = 1 << 16


class Proxy:
    """Passes bytes between clients and a server on this machine, until it is told to lose some."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lost: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        _start(self._accept)

    @property
    def url(self) -> str:
        """Name the server behind the proxy as `open_store` wants it."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def lose(self, *commands: bytes) -> None:
        """Break the connection in place of the reply to the next such command; then for others."""
        self._lost = list(commands)

    @property
    def has_lost_all(self) -> bool:
        """Say whether every reply was lost that was to be."""
        return not self._lost

    def close(self) -> None:
        """Break all connections."""
        for one in self._sockets:
            _break(one)

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [client, server]
            _start(partial(self._pass, client, server))

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        """Pass requests on, and what comes back for each; clients wait for it before they go on."""
        is_lost = threading.Event()
        _start(partial(_answer, server, client, is_lost))
        while chunk := client.recv(CHUNK):
            if self._lost and b"\r\n%b\r\n" % self._lost[0] in chunk:
                del self._lost[0]
                is_lost.set()
            server.sendall(chunk)
        _break(server)


def _answer(server: socket.socket, client: socket.socket, is_lost: threading.Event) -> None:
    while (chunk := server.recv(CHUNK)) and not is_lost.is_set():
        client.sendall(chunk)
    _break(client)


def _start(work: Callable[[], None]) -> None:
    def run() -> None:
        with suppress(OSError):
            work()

    threading.Thread(target=run, daemon=True).start()


def _break(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
