"""What verification costs beside hashing, and how much memory a large artifact takes: `make bench` prints both.

A jar of 200 MB is judged by the very service that admits uploads, from a file; the ratio to hashing the same file with
hashlib alone is the best of several rounds, taken in turns so that a busy machine slows both. A jar of 500 MB is judged in a
process of its own, whose peak of resident memory is compared with that of the same process before.
"""

import hashlib
import io
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import IO

from flink_controller.domain.artifact import KeyAlgorithm, Verdict
from flink_controller.domain.inspection import inspect
from flink_controller.services.read_contents import CHUNK_BYTES, read_contents
from flink_controller.testing.jars import jar_bytes
from tests.unit.services.signatures_at_hand import sig_file, sig_over, trusted, upload_of

MB = 10**6
ROUNDS = 5
CLASSES = 5_000
"""Entries of the jar: that of a job with its dependencies."""


def write_jar(file: Path, size_bytes: int) -> str:
    """Write a jar with many entries, most of its bytes in incompressible ones; give its SHA-256."""
    block = hashlib.shake_256(b"filler").digest(size_bytes // 20)
    file.write_bytes(jar_bytes())
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as jar:
        for number in range(CLASSES):
            jar.writestr(f"com/example/generated/Class{number}.class", b"\xca\xfe\xba\xbe" * 16)
        for number in range(19):
            jar.writestr(f"data/{number}.bin", block)
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_alone(stream: IO[bytes]) -> None:
    """Do what cannot be avoided."""
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK_BYTES):
        digest.update(chunk)


def verify(stream: IO[bytes], signature: bytes) -> None:
    """Do what admission does with the bytes: hash, inspect, check the signature."""
    contents = read_contents(stream)
    if inspect("artifacts/etl.jar", contents).reason:
        raise SystemExit("bench: the jar was refused")
    if upload_of(contents, {".sig": signature}, trusted(KeyAlgorithm.ECDSA_P256)).verdict is not Verdict.ADMITTED:
        raise SystemExit("bench: the signature was refused")


def ratio(file: Path, signature: bytes) -> tuple[float, float]:
    """Give seconds of hashing and of verifying, each the best of its rounds."""
    best = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        for at in range(2):
            with file.open("rb") as stream:
                began = time.perf_counter()
                if at:
                    verify(stream, signature)
                else:
                    hash_alone(stream)
                best[at] = min(best[at], time.perf_counter() - began)
    return best[0], best[1]


def peak(file: str, signature: str) -> None:
    """Print the peak of this process's memory before and after one verification, in KiB."""
    verify(io.BytesIO(jar_bytes()), sig_file(KeyAlgorithm.ECDSA_P256, jar_bytes()))
    before = resident_peak_kib()
    with Path(file).open("rb") as stream:
        verify(stream, bytes.fromhex(signature))
    print(before, resident_peak_kib())  # noqa: T201


def resident_peak_kib() -> int:
    """Read the highest resident memory of this process so far. `getrusage` would tell its parent's as well."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.jar"
        signature = sig_over(KeyAlgorithm.ECDSA_P256, write_jar(file, 200 * MB))
        hashing, verifying = ratio(file, signature)
        print(  # noqa: T201
            f"verification: {file.stat().st_size / MB:.0f} MB, {CLASSES} classes: hashing {hashing:.3f} s,"
            f" verifying {verifying:.3f} s, ratio {verifying / hashing:.2f} (at most 1.5)"
        )
        signature = sig_over(KeyAlgorithm.ECDSA_P256, write_jar(file, 500 * MB))
        command = [sys.executable, "-m", "tests.bench.verification", str(file), signature.hex()]
        made = subprocess.run(command, capture_output=True, text=True, check=True)
        before, after = map(int, made.stdout.split())
        print(  # noqa: T201
            f"verification: {file.stat().st_size / MB:.0f} MB: memory at its peak {after / 1024:.0f} MiB,"
            f" {(after - before) / 1024:.0f} MiB more than before"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        peak(sys.argv[1], sys.argv[2])
    else:
        main()
