"""Start, find and end background processes, and never one that somebody else started.

A process is known by its id and its start time, both written to a file when it starts: ids are reused, so an id alone
could hit a stranger after a reboot or a crash.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.local.errors import LocalStackError

LOOPBACK: Final = "127.0.0.1"
POLL_SECONDS: Final = 0.05
PORT_GRACE_SECONDS: Final = 1.0


@dataclass(frozen=True)
class ProcessIdentity:
    """One process, told apart from a later one with the same id."""

    pid: int
    started: str
    """The operating system's own words for the start time; only equality counts."""

    def is_alive(self) -> bool:
        """Say whether this very process still runs; one that has ended but was not collected yet does not."""
        # A child of ours stays visible after its end until its status is collected.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return _start_time(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Signal the process; does nothing if it has ended."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class BackgroundProcess:
    """A named process whose identity is kept in a file, so that a later command can find and end it."""

    def __init__(self, name: str, directory: Path) -> None:
        """Keep the record as `<name>.pid` and the output as `<name>.out` in `directory`."""
        self.name = name
        self._record = directory / f"{name}.pid"
        self.output = directory / f"{name}.out"

    def identity(self) -> ProcessIdentity | None:
        """Return the process if it runs, otherwise nothing."""
        try:
            fields = json.loads(self._record.read_text())
        except (FileNotFoundError, ValueError):
            return None
        identity = ProcessIdentity(fields["pid"], fields["started"])
        return identity if identity.is_alive() else None

    def is_running(self) -> bool:
        """Say whether the recorded process still runs."""
        return self.identity() is not None

    def start(self, command: Sequence[str], environ: Mapping[str, str]) -> ProcessIdentity:
        """Start `command` in a session of its own with exactly this environment, and record it.

        Raises:
            LocalStackError: the program cannot be executed.
        """
        self.output.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            # Not subprocess.Popen: the process outlives us, and Popen wants to see the end of what it started.
            pid = os.posix_spawn(
                command[0],
                list(command),
                environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(self.output), flags, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
            )
        except OSError as error:
            raise LocalStackError(f"{self.name} cannot be started: {command[0]}: {error.strerror}.") from error
        identity = ProcessIdentity(pid, _start_time(pid) or "")
        self._record.write_text(json.dumps({"pid": identity.pid, "started": identity.started}))
        return identity

    def stop(self, *, grace_seconds: float = 10.0) -> None:
        """Ask the process to end, insist after `grace_seconds`, and end the children it leaves. Idempotent."""
        self._end(signal.SIGTERM, grace_seconds)

    def kill(self) -> None:
        """End the process at once, as a crash would, with its children. Idempotent."""
        self._end(signal.SIGKILL, 0.0)

    def _end(self, first: signal.Signals, grace_seconds: float) -> None:
        identity = self.identity()
        if identity is not None:
            # Listed while the parent lives: an orphan can no longer be told from anybody else's process.
            family = [identity, *(child for child, _ in descendants(identity.pid))]
            identity.send(first)
            wait_until(lambda: not identity.is_alive(), grace_seconds)
            for member in family:
                member.send(signal.SIGKILL)
            wait_until(lambda: not any(member.is_alive() for member in family), 5.0)
        self._record.unlink(missing_ok=True)


def descendants(pid: int) -> Iterator[tuple[ProcessIdentity, str]]:
    """Yield the children of `pid`, their children and so on, each with its command line."""
    table = list(_process_table())
    parents = [pid]
    while parents:
        parent = parents.pop()
        for child, its_parent, command in table:
            if its_parent == parent:
                parents.append(child)
                started = _start_time(child)
                if started is not None:
                    yield ProcessIdentity(child, started), command


def wait_until(is_true: Callable[[], bool], timeout_seconds: float) -> bool:
    """Poll until the condition holds; say whether it did within the time."""
    deadline = time.monotonic() + timeout_seconds
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def check_port(port: int, purpose: str, variable: str) -> None:
    """Make sure that a loopback port is free.

    Raises:
        LocalStackError: something listens there; the message names the variable that chooses another port.
    """
    # A process that was just ended may hold its port a moment longer.
    if not wait_until(lambda: _is_free(port), PORT_GRACE_SECONDS):
        raise LocalStackError(
            f"Port {port} on {LOOPBACK}, needed for {purpose}, is in use: "
            f"stop what listens there or set {variable} to another port."
        )


@contextmanager
def exclusive_use(directory: Path) -> Iterator[None]:
    """Keep other commands off a stack while this one changes it.

    Raises:
        LocalStackError: another command is at work there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise LocalStackError(
                f"Another command (process {lock.read().strip() or 'unknown'}) is starting or stopping the local stack "
                f"in {directory}: wait until it has ended."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def free_port() -> int:
    """Return a loopback port that nothing uses at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are still fading away counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _start_time(pid: int) -> str | None:
    """Return when the process started, or nothing if it does not run."""
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # A process with threads counts as ended when the last of them has: until then its ports stay taken.
        is_over = fields[0] in "ZX" and int(fields[17]) <= 1
        return None if is_over else fields[19]
    state, _, started = _ps("-o", "state=,lstart=", "-p", str(pid)).strip().partition(" ")
    return started.strip() if state and not state.startswith("Z") else None


def _process_table() -> Iterator[tuple[int, int, str]]:
    """Yield id, parent's id and command line of every process."""
    if sys.platform != "linux":
        for line in _ps("-axo", "pid=,ppid=,command=").splitlines():
            pid, parent, command = line.split(None, 2)
            yield int(pid), int(parent), command
        return
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        # A process may end between the listing and the reading.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            yield int(entry.name), int(fields[1]), command


def _ps(*arguments: str) -> str:
    return subprocess.run(["/bin/ps", *arguments], capture_output=True, text=True, check=False).stdout  # fixed program
