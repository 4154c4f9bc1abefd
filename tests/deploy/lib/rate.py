"""Clients that do one call after the other and nothing else, as cheaply as it goes here: one thread, bytes that are made once."""

import re
import selectors
import socket
import ssl
import threading
import time

from lib.mcp import request

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
CONNECT_SECONDS = 20


class Client:
    """One connection, over TLS."""

    def __init__(self, address, tls, key):
        self.call = b"".join(request("listRoots", {}, key))
        plain = socket.create_connection(address, timeout=CONNECT_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = tls.wrap_socket(plain, server_hostname="localhost")
        self.socket.setblocking(False)
        self.begin()

    def begin(self):
        self.came = b""
        self.wanted = None
        self.socket.send(self.call)

    def has_answer(self):
        """Takes what came; says whether the answer is whole. Raises RuntimeError where it is not what it should be."""
        while True:
            try:
                piece = self.socket.recv(65536)
            except ssl.SSLWantReadError:
                return False
            if not piece:
                raise RuntimeError("a connection ended")
            self.came += piece
            head = self.came.find(b"\r\n\r\n")
            if head < 0:
                continue
            if self.wanted is None:
                length = LENGTH.search(self.came, 0, head)
                if not self.came.startswith(b"HTTP/1.1 200") or not length:
                    raise RuntimeError(f"not answered as wanted: {self.came[:300]}")
                self.wanted = head + 4 + int(length[1])
            if len(self.came) >= self.wanted:
                return True


class Rate:
    """A context manager: the clients call while its block runs, one for each of `keys`.

    `calls` is how many were answered, `processor_seconds` what the clients took for it.
    """

    def __init__(self, address, tls, keys):
        self.calls = 0
        self.problem = None
        self.processor_seconds = 0.0
        self._clients = [Client(address, tls, key) for key in keys]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(CONNECT_SECONDS)
        for client in self._clients:
            client.socket.close()
        if self.problem:
            raise RuntimeError(f"a call failed: {self.problem}")

    def _run(self):
        try:
            self._call_again_and_again()
        except (OSError, RuntimeError) as problem:
            self.problem = problem

    def _call_again_and_again(self):
        selector = selectors.DefaultSelector()
        for client in self._clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
        while not self._stop.is_set():
            for ready, _ in selector.select(timeout=0.5):
                client = ready.data
                if client.has_answer():
                    self.calls += 1
                    client.begin()
            self.processor_seconds = time.thread_time()
