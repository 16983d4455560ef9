"""Threads that ask a service for something, all at once, until they are told to stop."""

import threading
import time

import httpx

MEMBERS = 8


class Crowd:
    """Starts its threads at one moment; `statuses` holds every status that was answered.

    `in_flight` counts requests sent and not yet answered.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.statuses: set[int] = set()
        self.in_flight = 0
        self.prefix = prefix
        self._url = url
        self.lock, self._is_over = threading.Lock(), threading.Event()
        # A client takes long to build on a busy machine: only when all are there, this returns, or
        # a kill would come before the first request.
        self._all_ready = threading.Barrier(MEMBERS + 1)
        self._threads = [threading.Thread(target=self._go_on, args=(i,)) for i in range(MEMBERS)]
        for thread in self._threads:
            thread.start()
        self._all_ready.wait()

    def stop(self) -> None:
        """Return once all threads have ended."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def turn(self, client: httpx.Client, member: int, number: int) -> None:
        """Ask once: what the crowd is for says how."""
        raise NotImplementedError

    def ask(
        self, client: httpx.Client, method: str, path: str, body: object
    ) -> httpx.Response | None:
        """Send JSON and count it; None where nobody knows what became of it."""
        with self.lock:
            self.in_flight += 1
        try:
            answer = client.request(method, path, json=body)
        except httpx.TransportError:
            self._is_over.wait(0.01)
            return None
        finally:
            with self.lock:
                self.in_flight -= 1
        self.statuses.add(answer.status_code)
        if answer.status_code != 200:
            time.sleep(0.01)
        return answer

    def _go_on(self, member: int) -> None:
        with httpx.Client(base_url=self._url, timeout=10) as client:
            self._all_ready.wait()
            number = 0
            while not self._is_over.is_set():
                self.turn(client, member, number)
                number += 1
