"""The bench's own judgement: what counts as a gap, and that one part's failure is told and stops no other."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
import requests
import typer

from tests.bench.__main__ import PARTS, chosen, run_all
from tests.bench.latency import gap, longest_silence
from tests.bench.series import summary
from tests.bench.wire import Wire
from tests.e2e.conftest import Beat


def beats(job: str, *times: int) -> list[Beat]:
    return [Beat(at, job, "v1", 0, 1) for at in times]


def test_a_gap_lies_between_the_last_two_copies_whatever_their_ids() -> None:
    assert gap([*beats("z", 0, 20), *beats("m", 100, 120), *beats("a", 1120, 1140)]) == 1.0


def test_copies_that_overlap_leave_no_gap() -> None:
    assert gap([*beats("a", 0, 500), *beats("b", 480, 600)]) == 0


def test_a_silence_before_the_change_does_not_count() -> None:
    assert longest_silence(beats("a", 0, 5000, 5020, 5420, 5440), since_s=5) == 0.4


def test_the_median_and_the_95th_percentile_are_those_of_the_values() -> None:
    assert summary([float(value) for value in range(101)]) == {"n": 101, "p50": 50.0, "p95": 95.0}


def test_a_part_that_fails_is_told_and_the_others_run(capfd: pytest.CaptureFixture[str]) -> None:
    failed = run_all({"broken": ("tests.bench.nothing_of_that_name",), "sound": ("platform",)})

    assert failed == ["broken"]
    assert "bench: sound done" in capfd.readouterr().out


def test_parts_can_be_chosen_and_left_out() -> None:
    assert list(chosen("cost,page", "page")) == ["cost"]
    assert set(chosen("", "latency")) == set(PARTS) - {"latency"}
    with pytest.raises(typer.BadParameter, match="no part letency"):
        chosen("letency", "")


def test_the_wire_passes_on_and_notes_requests() -> None:
    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    with Wire(server.server_port) as wire:
        assert requests.get(f"{wire.url}/jobs/overview", timeout=5).text == "/jobs/overview"
    server.shutdown()
    server.server_close()

    assert [line for _, line in wire.requests] == ["GET /jobs/overview HTTP/1.1"]
