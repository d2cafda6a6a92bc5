"""A wire that notes when which request went over it, for what nobody else can see: when the controller first calls Flink."""

import socket
import threading
import time
from typing import Self

_CHUNK_BYTES = 65_536
_METHODS = (b"GET ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ")


class Wire:
    """Passes TCP connections on to a port of this machine; close it with `with`."""

    def __init__(self, to_port: int) -> None:
        self.requests: list[tuple[float, str]] = []
        """Seconds of the clock on the wall, and the request's first line. A request begins a packet, as clients send them."""
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                far = socket.create_connection(("127.0.0.1", self._to_port))
            except OSError:
                near.close()
                continue
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass, args=(near, far), kwargs={"is_noted": True}, daemon=True).start()
            threading.Thread(target=self._pass, args=(far, near), kwargs={"is_noted": False}, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, *, is_noted: bool) -> None:
        try:
            while chunk := source.recv(_CHUNK_BYTES):
                if is_noted and chunk.startswith(_METHODS):
                    self.requests.append((time.time(), chunk.split(b"\r\n", 1)[0].decode("ascii", "replace")))
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # One end is gone: so is the other.
            source.close()
            target.close()
