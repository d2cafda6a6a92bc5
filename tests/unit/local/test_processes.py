"""Background processes: only the recorded one is ever ended, and a busy port is said in one sentence."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.errors import LocalStackError
from infra.local.processes import BackgroundProcess, ProcessIdentity, check_port, descendants, exclusive_use, wait_until

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])",
]


def test_a_process_is_found_again_by_its_record_and_ended(tmp_path: Path) -> None:
    BackgroundProcess("sleeper", tmp_path).start(SLEEP, {})
    found = BackgroundProcess("sleeper", tmp_path)
    identity = found.identity()

    found.stop()

    assert identity is not None
    assert not identity.is_alive()
    assert not (tmp_path / "sleeper.pid").exists()


def test_a_reused_process_id_is_never_ended(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP) as stranger:
        (tmp_path / "sleeper.pid").write_text(json.dumps({"pid": stranger.pid, "started": "long ago"}))
        process = BackgroundProcess("sleeper", tmp_path)

        process.kill()

        assert not process.is_running()
        assert stranger.poll() is None
        stranger.kill()


def test_children_end_with_their_parent(tmp_path: Path) -> None:
    process = BackgroundProcess("parent", tmp_path)
    parent = process.start(PARENT, {"PATH": os.defpath})
    assert wait_until(lambda: bool(list(descendants(parent.pid))), 10)
    (child, command), *_ = descendants(parent.pid)

    process.kill()

    assert "time.sleep(60)" in command
    assert not child.is_alive()


def test_a_process_that_ended_unseen_is_not_running(tmp_path: Path) -> None:
    process = BackgroundProcess("short", tmp_path)
    identity = process.start([sys.executable, "-c", "print('hello')"], {})

    assert wait_until(lambda: not identity.is_alive(), 10)
    assert not process.is_running()
    assert process.output.read_text() == "hello\n"


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="ghost cannot be started: /nowhere/ghost"):
        BackgroundProcess("ghost", tmp_path).start(["/nowhere/ghost"], {})


def test_signals_to_the_dead_are_ignored() -> None:
    ProcessIdentity(2**22 + 1, "never").send(signal.SIGKILL)


def test_a_busy_port_is_named_with_the_variable_that_moves_it() -> None:
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        port = owner.getsockname()[1]

        with pytest.raises(LocalStackError, match=rf"^Port {port} on 127.0.0.1, needed for tea, is in use: .*TEA_PORT"):
            check_port(port, "tea", "TEA_PORT")


def test_a_second_command_is_kept_off_a_stack(tmp_path: Path) -> None:
    with exclusive_use(tmp_path), pytest.raises(LocalStackError, match=f"process {os.getpid()}"), exclusive_use(tmp_path):
        pass

    with exclusive_use(tmp_path):
        pass
