"""Requests per second that a server on the loopback answers, over clients, payload and time of service."""

from __future__ import annotations

import itertools
import socket
import socketserver
import threading
import time
from typing import Any

from measuring import other, scale, target
from systems_tables import Registry, Rows

TABLES = Registry()


class _Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets, after a delay that only a few requests at a time can spend."""

    delay = 0.0
    places = threading.Semaphore(4)

    def handle(self) -> None:
        """Serve one client until it leaves."""
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := self.request.recv(2**17):
            if self.delay:
                with self.places:
                    time.sleep(self.delay)
            self.request.sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64


@TABLES.table(
    lambda r: r["clients"] >= 16,
    timed=False,
    title="Echo server on the loopback: requests per second",
    row="one run of 0.2 seconds",
    variables=[
        scale("clients", "clients, each with one request at a time", "clients", up=True),
        other("payload", "bytes of a request", "bytes"),
        other("delay", "time of service", "ms"),
    ],
    targets=[target("rate", "requests per second", "1/s", "higher")],
    max_constants=8,
    extrapolation="up in clients: 16 and 32",
    notes=["four requests are served at a time where there is a delay", "threads of one interpreter on both sides"],
)
def echo_server() -> Rows:
    with _Server(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for delay, payload, clients in itertools.product((0, 1, 3, 10), (64, 2048, 32768), (1, 2, 3, 4, 6, 8, 16, 32)):
            _Echo.delay = delay / 1000
            rate = _requests(server.server_address, clients, payload, 0.2)
            yield {"clients": clients, "payload": payload, "delay": delay, "rate": rate}
        server.shutdown()


def _requests(address: Any, clients: int, payload: int, duration: float) -> float:
    """Return how many requests all clients together get answered in a second."""
    done = [0] * clients
    last = [0.0] * clients
    ready = threading.Barrier(clients + 1)

    def client(i: int) -> None:
        with socket.create_connection(address) as to:
            to.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ready.wait()
            end = time.perf_counter() + duration
            while time.perf_counter() < end:
                to.sendall(b"x" * payload)
                got = 0
                while got < payload:
                    got += len(to.recv(payload))
                done[i] += 1
            last[i] = time.perf_counter()

    threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    return sum(done) / (max(last) - begun)
