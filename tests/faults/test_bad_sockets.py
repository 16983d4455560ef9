"""What is no HTTP, or no honest HTTP: refused or cut, and the next request is answered."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from service.settings import Settings
from tests.problem_shape import MARKER, check_log
from tests.serving import Service, resident_bytes
from tests.waiting import wait_until

CAP = Settings.model_fields["max_body_bytes"].default
POST = b"POST /v1/rank HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
BODY = b'{"history": [], "candidates": ["N1"]}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"

# None of these may be answered as if it were sound.
DISHONEST = {
    "no HTTP": MARKER.encode() + b"\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "HTTP/9.9": GET.replace(b"1.1", b"9.9") + b"\r\n",
    "control character in the path": GET.replace(b"live", b"\x01") + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "lengths and chunks": POST + LENGTH + CHUNKED + b"\r\n" + BODY,
    "chunks and lengths": POST + CHUNKED + LENGTH + b"\r\n0\r\n\r\n",
    "two lengths": POST + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY,
    "negative length": POST + b"Content-Length: -1\r\n\r\n" + BODY,
    "length in words": POST + b"Content-Length: many\r\n\r\n" + BODY,
    "length of 30 digits": POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n" + BODY,
    "bad chunk size": POST + CHUNKED + b"\r\nzz\r\n" + BODY,
    "space before the colon": GET + b"X-A : 1\r\n\r\n",
    "NUL in a header": GET + b"X-A: a\x00b\r\n\r\n",
    "header without a name": GET + b": a\r\n\r\n",
    "header of 1 MB": GET + b"X-A: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "5,000 headers": GET + b"".join(b"X-%d: aaaaaaaaaa\r\n" % i for i in range(5_000)) + b"\r\n",
    "path of 100 KB": GET.replace(b"live", b"a" * 100_000) + b"\r\n",
}


@pytest.fixture
def server(service: Service) -> Iterator[Service]:
    """Give the service, and see afterwards that it answers and that nothing went wrong in it."""
    told = len(service.log())
    yield service
    assert service.client.get("/health/live").status_code == 200
    check_log(service.log()[told:])


def exchange(
    server: Service, sent: bytes, timeout_s: float = 5.0, *, half_close: bool = True
) -> bytes:
    """Send bytes and return all that comes back until the peer closes, or is silent for long.

    Once a client has half-closed, the server may close at any time: not for pipelines.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout_s) as peer:
        with suppress(OSError):
            peer.sendall(sent)
            if half_close:
                peer.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            while part := peer.recv(65_536):
                received += part
    return received


def status(received: bytes) -> int:
    """Return the status of the first answer, 0 for a connection closed without one."""
    return int(received.split(b" ", 2)[1]) if received else 0


@pytest.mark.parametrize("sent", DISHONEST.values(), ids=DISHONEST)
def test_dishonest_requests_are_refused(server: Service, sent: bytes) -> None:
    """With 4xx or by closing; and nothing of them is repeated."""
    received = exchange(server, sent)
    assert status(received) in {0, *range(400, 500)}, received[:300]
    assert received.count(b"HTTP/1.1 ") <= 1
    assert MARKER.encode() not in received
    assert len(received) < 2_000


def test_honest_requests_on_one_connection_are_answered_in_order(server: Service) -> None:
    """Pipelining is sound HTTP/1.1."""
    rank = POST + LENGTH + b"\r\n" + BODY
    missing = GET.replace(b"health", b"nothing") + b"\r\n"
    last = POST + b"connection: close\r\n" + LENGTH + b"\r\n" + BODY
    received = exchange(server, rank + missing + last, half_close=False)
    assert _statuses(received) == [200, 404, 200]


def test_dishonesty_in_a_pipeline_ends_the_connection(server: Service) -> None:
    """Answers to the requests before it are sound, if there are any."""
    rank = POST + LENGTH + b"\r\n" + BODY
    for dishonest in DISHONEST.values():
        statuses = _statuses(exchange(server, rank + dishonest))
        assert statuses in ([200], [200, 400], [200, 404], [200, 431], [400], [])


def test_a_declared_gigabyte_is_refused_before_it_is_sent(server: Service) -> None:
    """The answer comes at once, and the connection is closed."""
    before, started = resident_bytes(server.pid), time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), 5) as peer:
        peer.sendall(POST + b"Content-Length: 1000000000\r\n\r\n")
        received = peer.recv(65_536)
        assert time.monotonic() - started < 1
        assert status(received) == 413
        assert b"connection: close" in received
    assert resident_bytes(server.pid) - before < 10e6


def test_an_endless_body_is_cut_at_the_cap(server: Service) -> None:
    """In chunks, nothing is declared: what arrives is counted."""
    before, sent, chunk = resident_bytes(server.pid), 0, b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 5) as peer:
        peer.sendall(POST + CHUNKED + b"\r\n")
        with suppress(OSError):
            for _ in range(10_000):
                sent += peer.send(chunk)
                peer.settimeout(0.5)
        with suppress(OSError):
            assert status(peer.recv(65_536)) == 413
    # What the sockets of both sides hold was sent too, though nobody read it.
    assert sent < CAP + 16e6
    assert resident_bytes(server.pid) - before < 10e6


def test_a_body_that_does_not_arrive_in_time_is_given_up(server: Service) -> None:
    """A slow client holds no request open: 400 after the time to send a body."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), 10) as peer:
        peer.sendall(POST + LENGTH + b"\r\n" + BODY[:5])
        assert status(peer.recv(65_536)) == 400
    assert 0.5 < time.monotonic() - started < 3  # the fixture allows 1 s


@pytest.mark.parametrize("cut", [0, 10, len(POST), len(POST + LENGTH) + 2 + 5])
def test_clients_that_vanish_leave_nothing_behind(server: Service, cut: int) -> None:
    """Closed or reset in the middle of a request: no defect is logged, no socket stays open."""
    whole = POST + LENGTH + b"\r\n" + BODY
    server.client.get("/health/live")
    before = _open_files(server)
    for number in range(50):
        with socket.create_connection(("127.0.0.1", server.port), 5) as peer:
            peer.sendall(whole[:cut])
            if number % 2:
                # Linger for zero seconds: the kernel sends a reset instead of an orderly end.
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: _open_files(server) <= before, 10)


def _statuses(received: bytes) -> list[int]:
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


def _open_files(server: Service) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
