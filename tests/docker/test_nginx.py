"""The balancer: what it lets through, what it refuses, and in which shape; on a real nginx."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from service.errors import BodyTooLarge, NotReady
from service.gate import REQUEST_ID
from service.paging import MAX_CHARS
from service.problems import TABLE
from service.routes.publishing import BATCH_TIMEOUT_S
from service.settings import Settings
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
CONFIG, OPENAPI = ROOT / "docker/nginx.conf", ROOT / "docs/openapi.json"
NGINX = shutil.which("nginx")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="there is no nginx on PATH")
UNITS = {"k": 1024, "m": 1024**2}


def versioned() -> list[tuple[str, str]]:
    """Return method and path of every versioned route of the service."""
    paths = json.loads(OPENAPI.read_text("utf-8"))["paths"]
    return [
        (method.upper(), path.replace("{id}", "S0001"))
        for path, methods in paths.items()
        for method in methods
        if path.startswith("/v1/")
    ]


def writing() -> list[tuple[str, str]]:
    """Return the routes that change something."""
    return [r for r in versioned() if r[0] in {"PUT", "DELETE"} or r[1] == "/v1/news:batch"]


def repeatable() -> list[tuple[str, str]]:
    """Return those that do the same when done twice, of paths that are never written to.

    Nginx goes by the path. Feedback is one of them: an event counts once however often it is sent.
    """
    written = {path for _, path in writing()}
    return [(method, path) for method, path in versioned() if path not in written]


class Replica(ThreadingHTTPServer):
    """Stands for one replica: answers with a status, remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.status = 200
        self.asked: list[tuple[str, str, str | None]] = []


class Answering(BaseHTTPRequestHandler):
    """Answers any method."""

    protocol_version = "HTTP/1.1"
    server: Replica

    def do_GET(self) -> None:
        """Read the body, note the request and answer."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append((self.command, self.path, self.headers.get("x-request-id")))
        self.send_response(self.server.status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - http.server looks for these names

    def log_message(self, *_: object) -> None:
        """Stay silent."""


class Balancer:
    """A running nginx with this project's configuration, in front of two stand-ins."""

    def __init__(self, port: int, replicas: list[Replica]) -> None:
        self.port = port
        self.replicas = replicas

    @property
    def asked(self) -> list[tuple[str, str, str | None]]:
        """Return what reached any replica."""
        return [request for replica in self.replicas for request in replica.asked]

    def send(
        self, method: str, path: str, body: bytes = b"", request_id: str | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request; return status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"content-type": "application/json"}
        if request_id is not None:
            headers["x-request-id"] = request_id
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, answer


def adapted(folder: Path, port: int, upstreams: list[int]) -> Path:
    """Write the configuration with the places of this test in it, and nothing else changed."""
    text = CONFIG.read_text("utf-8")
    for number, upstream in enumerate(upstreams, 1):
        text = text.replace(f"service-{number}:8000", f"127.0.0.1:{upstream}")
    text = text.replace("listen 8080", f"listen 127.0.0.1:{port}")
    text = text.replace("/tmp/", f"{folder}/").replace("/dev/stdout", f"{folder}/access.log")  # noqa: S108
    text = text.replace("error_log stderr", f"error_log {folder}/errors.log")
    if os.geteuid() == 0:
        # Started by root, nginx would give its workers a user that cannot see this folder.
        text = f"user root;\n{text}"
    file = folder / "nginx.conf"
    file.write_text(text)
    return file


def nginx(folder: Path, file: Path, *arguments: str) -> list[str]:
    """Return the command that runs nginx with a configuration and nothing of this host's."""
    return [str(NGINX), "-p", str(folder), "-e", "stderr", "-c", str(file), *arguments]


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[Balancer]:
    """Run nginx before two stand-ins."""
    replicas = [Replica(), Replica()]
    threads = [threading.Thread(target=r.serve_forever, args=(0.05,)) for r in replicas]
    for thread in threads:
        thread.start()
    port = a_free_port()
    file = adapted(tmp_path, port, [r.server_port for r in replicas])
    with subprocess.Popen(nginx(tmp_path, file)) as process:
        wait_for(port)
        yield Balancer(port, replicas)
        process.terminate()
    for replica, thread in zip(replicas, threads, strict=True):
        replica.shutdown()
        thread.join()
        replica.server_close()


@needs_nginx
def test_the_configuration_is_valid(tmp_path: Path) -> None:
    """Nginx itself accepts the file."""
    file = adapted(tmp_path, 8080, [9, 9])
    subprocess.run(nginx(tmp_path, file, "-t"), check=True, capture_output=True)


@needs_nginx
def test_an_invalid_configuration_is_noticed(tmp_path: Path) -> None:
    """The guard above can fail."""
    file = adapted(tmp_path, 8080, [9, 9])
    file.write_text(file.read_text().replace("proxy_read_timeout", "proxy_reed_timeout"))
    result = subprocess.run(nginx(tmp_path, file, "-t"), check=False, capture_output=True)
    assert result.returncode == 1


@needs_nginx
def test_the_routes_of_the_service_are_let_through(balancer: Balancer) -> None:
    """What is versioned, a replica's health, the interface's description, the reader's page."""
    paths = ("/v1/recommendations", "/v1/news/S0001", "/health/ready", "/openapi.json")
    for path in (*paths, "/", "/page/reader.js"):
        assert balancer.send("GET", path)[0] == 200
    assert len(balancer.asked) == 6


@needs_nginx
@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/v1/../metrics", "/v1/%2e%2e/metrics"])
def test_metrics_stay_inside(balancer: Balancer, path: str) -> None:
    """No spelling of the path reaches a replica, and the refusal has the service's shape."""
    status, headers, body = balancer.send("GET", path)
    assert (status, json.loads(body)["code"]) == (404, "not_found")
    assert REQUEST_ID.fullmatch(headers["x-request-id"].encode())
    assert balancer.asked == []


@needs_nginx
def test_bodies_up_to_the_cap_pass_and_larger_ones_are_refused(balancer: Balancer) -> None:
    """The cap is the service's own, and so is the shape of the refusal."""
    cap = Settings.model_fields["max_body_bytes"].default
    assert balancer.send("POST", "/v1/recommendations", bytes(cap))[0] == 200
    status, headers, body = balancer.send("POST", "/v1/recommendations", bytes(cap + 1))
    assert (status, json.loads(body)) == (413, an_error(413, code_of(BodyTooLarge), body))
    assert headers["content-type"] == "application/json"
    assert balancer.send("POST", "/v1/news:batch", bytes(cap + 1))[0] == 200


@needs_nginx
def test_the_longest_cursor_passes_in_a_query_string(balancer: Balancer) -> None:
    """Lists are continued by GET; nginx by itself refuses such a line."""
    path = f"/v1/latest?n=200&cursor={'x' * MAX_CHARS}"
    assert balancer.send("GET", path)[0] == 200
    assert balancer.asked[0][1] == path


@needs_nginx
def test_the_balancer_is_healthy_whatever_the_replicas_are(balancer: Balancer) -> None:
    """Its own health asks nobody else."""
    assert balancer.send("GET", "/health/balancer")[0] == 204
    assert balancer.asked == []


@needs_nginx
def test_a_request_id_is_passed_on_when_it_is_sound_and_made_when_not(balancer: Balancer) -> None:
    """Replicas see the client's id, or one of nginx that they accept."""
    balancer.send("GET", "/v1/latest", request_id="abc-123")
    balancer.send("GET", "/v1/latest", request_id="no spaces, please")
    balancer.send("GET", "/v1/latest")
    first, second, third = sorted(
        (i or "" for *_, i in balancer.asked), key=lambda i: i != "abc-123"
    )
    assert first == "abc-123"
    assert second != third
    assert all(REQUEST_ID.fullmatch(one.encode()) for one in (second, third))


@needs_nginx
@pytest.mark.parametrize(("method", "path"), repeatable())
def test_what_may_be_repeated_is_tried_on_the_other_replica(
    balancer: Balancer, method: str, path: str
) -> None:
    """A replica that sheds or is not ready costs readers nothing, whatever they ask for."""
    balancer.replicas[0].status = 503
    answers = [balancer.send(method, path, b"{}")[0] for _ in range(4)]
    assert answers == [200] * 4
    assert balancer.replicas[0].asked


@needs_nginx
@pytest.mark.parametrize(("method", "path"), writing())
def test_a_refused_write_is_sent_once(balancer: Balancer, method: str, path: str) -> None:
    """What a replica answered to a write is the answer."""
    for replica in balancer.replicas:
        replica.status = 503
    assert balancer.send(method, path, b"{}")[0] == 503
    assert len(balancer.asked) == 1


def test_a_route_that_writes_is_known_as_one() -> None:
    """A new one is noticed here before the balancer repeats it."""
    assert {path for _, path in writing()} == {
        "/v1/news/S0001",
        "/v1/news:batch",
        "/v1/users/S0001",
    }
    left = set(versioned()) - {*repeatable(), *writing()}
    assert left == {("GET", "/v1/news/S0001"), ("GET", "/v1/users/S0001")}


@needs_nginx
def test_no_log_tells_whose_record_was_asked_for(balancer: Balancer, tmp_path: Path) -> None:
    """Not even when no replica answers, which is told with the path of any other request."""
    for replica in balancer.replicas:
        replica.shutdown()
        replica.server_close()
    balancer.send("GET", "/v1/users/reader-7")
    balancer.send("DELETE", "/v1/users/reader-7")
    balancer.send("GET", "/v1/news/S0001")
    # Each of nginx's processes writes when it gets round to it.
    wait_until(lambda: len((tmp_path / "access.log").read_text().splitlines()) == 3, 5)
    wait_until(lambda: "S0001" in (tmp_path / "errors.log").read_text(), 5)
    logs = (tmp_path / "access.log").read_text() + (tmp_path / "errors.log").read_text()
    assert "reader-7" not in logs
    assert logs.count('"path":"/v1/users/{id}"') == 2


@needs_nginx
def test_without_a_replica_the_answer_is_503_in_the_services_shape(balancer: Balancer) -> None:
    """Clients are told to come back, as by the service itself."""
    for replica in balancer.replicas:
        replica.shutdown()
        replica.server_close()
    status, headers, body = balancer.send("POST", "/v1/recommendations", b"{}")
    assert (status, json.loads(body)) == (503, an_error(503, code_of(NotReady), body))
    assert headers["retry-after"] == "1"


def test_the_limits_are_those_of_the_settings() -> None:
    """Caps are equal; each timeout is no shorter than the service's own."""
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    text = CONFIG.read_text("utf-8")
    caps = [int(n) * UNITS[u] for n, u in re.findall(r"client_max_body_size (\d+)([km]);", text)]
    assert caps == [defaults["max_body_bytes"], *2 * [defaults["max_batch_bytes"]]]
    waits = [int(n) for n in re.findall(r"proxy_read_timeout (\d+)s;", text)]
    assert waits[0] > defaults["request_timeout_s"]
    assert waits[1] > BATCH_TIMEOUT_S
    assert f"client_body_timeout {defaults['receive_timeout_s']:.0f}s;" in text


def an_error(status: int, code: str, body: bytes) -> dict[str, Any]:
    """Return an error of the service's shape with the message of a body."""
    assert code in {c for _, s, c in TABLE if s == status}
    return {"code": code, "message": json.loads(body)["message"], "errors": []}


def code_of(kind: type[Exception]) -> str:
    """Return the code of an error."""
    return next(code for error, _, code in TABLE if error is kind)


def a_free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Wait until something listens."""
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("nginx does not listen")
