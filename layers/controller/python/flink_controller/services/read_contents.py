"""Hash a stream once, in bounded memory, and keep the two ends that inspection looks at."""

import hashlib
from collections import deque
from typing import IO

from flink_controller.domain.archive import HEAD_BYTES, TAIL_BYTES, Contents

CHUNK_BYTES = 2**20


def read_contents(stream: IO[bytes], *, with_sha384: bool = False) -> Contents:
    """Read a stream to its end. Holds at most its first `HEAD_BYTES` and last `TAIL_BYTES`, and one chunk."""
    digest, wide = hashlib.sha256(), hashlib.sha384() if with_sha384 else None
    head, size, kept = b"", 0, 0
    # Whole chunks are kept and dropped: joining as one goes would copy the tail for every chunk.
    tail: deque[bytes] = deque()
    while chunk := stream.read(CHUNK_BYTES):
        digest.update(chunk)
        if wide is not None:
            wide.update(chunk)
        size += len(chunk)
        if len(head) < HEAD_BYTES:
            head += chunk[: HEAD_BYTES - len(head)]
        tail.append(chunk)
        kept += len(chunk)
        while kept - len(tail[0]) >= TAIL_BYTES:
            kept -= len(tail.popleft())
    end = b"".join(tail)[-TAIL_BYTES:]
    return Contents(digest.hexdigest(), size, head, end, None if wide is None else wide.hexdigest())
