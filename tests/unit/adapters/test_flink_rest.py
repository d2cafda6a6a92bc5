"""What the REST adapter makes of Flink's answers, recorded on 2.3.0 and 1.20.5, and of everything that is none."""

import io
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tenacity import wait_none

from flink_controller.adapters.flink_rest import ANSWER_LIMIT_BYTES, FlinkRest, FlinkRestConnections, Timeouts
from flink_controller.adapters.retrying import IDEMPOTENT_WRITES, READS
from flink_controller.adapters.system_clock import SystemClock
from flink_controller.domain.actions import Submit
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import Delivery, FlinkUnreachableError, RejectedError
from flink_controller.domain.observation import (
    Accepted,
    Checkpoint,
    CheckpointProgress,
    Checkpoints,
    FlinkState,
    JarSeen,
    Load,
    NoAnswer,
    NotSent,
    RefusalKind,
    Refused,
    TriggerCompleted,
    TriggerFailed,
    TriggerInProgress,
    TriggerUnknown,
)

RECORDED = Path(__file__).parent / "recorded_flink"
VERSIONS = sorted(folder.name for folder in RECORDED.iterdir())
JOB = "0000000000000000feed000000000001"
TRIGGER = "feed0000000000000000000000000900"
QUICK = Timeouts(connect_s=1.0, read_s=1.0, upload_s=2.0, submit_s=0.5)
NONSENSE = {
    "html": (200, b"<html><body>It works!</body></html>"),
    "truncated JSON": (200, b'{"jobs":[{"jid":"feed0000000'),
    "another object": (200, b'{"hello":"world"}'),
    "a list": (200, b"[]"),
    "null": (200, b"null"),
    "nothing": (200, b""),
    "no UTF-8": (200, b"\xff\xfe\x00"),
    "deep nesting": (200, b"[" * 100_000),
    "a number of 10,000 digits": (200, b'{"jobs":[' + b"9" * 10_000 + b"]}"),
    "a gateway's page": (502, b"<html>Bad Gateway</html>"),
    "a gateway's JSON": (503, b'{"errors":["Service temporarily unavailable due to an ongoing leader election."]}'),
    "an error without errors": (500, b'{"message":"oops"}'),
    "an error of another kind": (500, b'{"errors":{"a":1}}'),
    "somebody else's 404": (404, b"<html>not found</html>"),
    "a login page": (302, b""),
    "too many": (429, b'{"errors":["slow down"]}'),
}


@dataclass
class Server:
    """Answers with what a test put in, and keeps what it was asked."""

    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    default: tuple[int, bytes] | None = None
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)
    port: int = 0

    def gateway(self, timeouts: Timeouts = QUICK, *, scheme: str = "http", ca: str | None = None) -> FlinkRest:
        return connect(f"{scheme}://127.0.0.1:{self.port}", timeouts, ca=ca)

    def refuses(self, headers: dict[str, str]) -> bool:
        """Whether whoever shows these headers is turned away."""
        del headers
        return False

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.requests]


def connect(url: str, timeouts: Timeouts = QUICK, **settings: Any) -> FlinkRest:
    """Give a gateway that tries as often as the real one, without waiting in between."""
    reads, writes = READS.copy(wait=wait_none()), IDEMPOTENT_WRITES.copy(wait=wait_none())
    return FlinkRestConnections(timeouts, is_local=True, reads=reads, writes=writes).connect(cluster(url, **settings))


def cluster(url: str, **settings: Any) -> Cluster:
    return Cluster(name="default", url=url, savepoint_root="file:///s", checkpoint_root="file:///c", **settings)


@contextmanager
def serving(server: Server, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.requests.append((self.command, self.path, body))
            server.headers.append(dict(self.headers))
            server.connections.add(self.client_address)
            status, content = (
                (401, b"<html>who are you</html>")
                if server.refuses(dict(self.headers))
                else server.answers.get(f"{self.command} {self.path}", server.default or (404, b"?"))
            )
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - the base class names them

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    httpd.handle_error = lambda *_: None  # type: ignore[method-assign]  # broken requests are what is tested
    if context is not None:
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    server.port = httpd.server_address[1]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as running:
        yield running


@contextmanager
def talking(script: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one connection after another by a script that owns the raw socket."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with closing(connection):
                    try:
                        script(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def recorded(version: str, name: str) -> tuple[int, bytes]:
    (file,) = (RECORDED / version).glob(f"{name}.*.json")
    return int(file.name.split(".")[-2]), file.read_bytes()


def request(**changes: Any) -> Submit:
    settings: dict[str, Any] = {
        "flink_job_id": JOB,
        "jar_id": "a_b.jar",
        "entry_class": None,
        "args": (),
        "parallelism": 1,
        "restore_from": None,
        "allow_non_restored_state": False,
        "configuration": {},
    }
    return Submit(**(settings | changes))


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_job_list_counts_finished_tasks_as_running(server: Server, version: str) -> None:
    server.answers["GET /jobs/overview"] = recorded(version, "jobs")

    seen = {job.flink_job_id[-2:]: job for job in server.gateway().jobs()}

    assert (seen["01"].state, seen["01"].tasks_running, seen["01"].tasks_total) == (FlinkState.FINISHED, 2, 2)
    assert (seen["02"].state, seen["02"].tasks_running, seen["02"].tasks_total) == (FlinkState.CANCELED, 0, 2)
    assert (seen["03"].state, seen["03"].tasks_running, seen["03"].tasks_total) == (FlinkState.FAILED, 0, 0)
    assert seen["0c"].state is FlinkState.RUNNING
    assert seen["0c"].modified_ms > 1_700_000_000_000


def test_a_list_of_some_jobs_holds_those_whose_ids_begin_so(server: Server, version: str) -> None:
    server.answers["GET /jobs/overview"] = recorded(version, "jobs")
    everything = server.gateway().jobs()
    wanted = everything[0].flink_job_id

    assert server.gateway().jobs(wanted) == [job for job in everything if job.flink_job_id == wanted]
    assert server.gateway().jobs("0123456789abcdef") == []


def test_the_incarnation_is_the_web_directory(server: Server, version: str) -> None:
    server.answers["GET /jobmanager/config"] = recorded(version, "config")

    config = server.gateway().config()

    assert "/flink-web-" in config.incarnation
    assert config.settings["heartbeat.timeout"] == "5000"


def test_a_configuration_without_incarnation_is_no_answer(server: Server) -> None:
    server.answers["GET /jobmanager/config"] = (200, b'[{"key":"heartbeat.timeout","value":"5000"}]')

    with pytest.raises(FlinkUnreachableError, match=r"web\.tmpdir"):
        server.gateway().config()


def test_jars_are_listed_and_deleted(server: Server, version: str) -> None:
    server.answers["GET /jars"] = recorded(version, "jars")
    server.answers["DELETE /jars/a.jar"] = recorded(version, "delete-jar")
    server.answers["DELETE /jars/gone.jar"] = recorded(version, "delete-jar-gone")
    gateway = server.gateway()

    jars = gateway.jars()
    gateway.delete_jar("a.jar")
    gateway.delete_jar("gone.jar")

    assert all(isinstance(jar, JarSeen) and jar.jar_id.endswith(f"_{jar.name}") and jar.uploaded_ms > 0 for jar in jars)
    assert len(jars) == 2


def test_a_delete_that_flink_refuses_for_another_reason_is_an_error(server: Server) -> None:
    server.answers["DELETE /jars/a.jar"] = (400, b'{"errors":["no permission"]}')

    with pytest.raises(FlinkUnreachableError, match="no permission"):
        server.gateway().delete_jar("a.jar")


def test_an_upload_streams_and_gives_the_id(server: Server, version: str) -> None:
    server.answers["POST /jars/upload"] = recorded(version, "upload")
    content = bytes(range(256)) * 8192

    jar_id = server.gateway().upload_jar("flinkctl-x.jar", _Pieces(content), len(content)).jar_id

    ((_, _, body),) = server.requests
    assert jar_id.endswith("CounterJob-v1-faa045fc5e90.jar") or "_CounterJob-" in jar_id
    assert content in body
    assert b'filename="flinkctl-x.jar"' in body
    assert b"application/x-java-archive" in body


def test_an_upload_whose_content_ends_early_fails(server: Server) -> None:
    server.answers["POST /jars/upload"] = recorded(VERSIONS[0], "upload")

    with pytest.raises(FlinkUnreachableError):
        server.gateway().upload_jar("a.jar", io.BytesIO(b"abc"), 100_000)


@pytest.mark.parametrize("name", ["../a.jar", "a/b.jar", "", "..", "a%2f.jar", "a b.jar", "a\n.jar", "ä.jar"])
def test_a_jar_is_named_by_harmless_characters_only(server: Server, name: str) -> None:
    gateway = server.gateway()

    for call in (lambda: gateway.upload_jar(name, io.BytesIO(b""), 0), lambda: gateway.delete_jar(name)):
        with pytest.raises(RejectedError):
            call()
    assert isinstance(gateway.submit(request(jar_id=name)), NotSent)
    assert server.requests == []


@pytest.mark.parametrize("job_id", ["", "xyz", JOB.upper(), JOB + "0", "../" + JOB[3:], JOB[:-1] + "\n"])
def test_an_id_that_is_none_never_gets_into_an_address(server: Server, job_id: str) -> None:
    gateway = server.gateway()

    for answer in (
        gateway.submit(request(flink_job_id=job_id)),
        gateway.cancel(job_id),
        gateway.stop(job_id, trigger_id=TRIGGER, target_directory="file:///s"),
    ):
        assert isinstance(answer, NotSent)
    with pytest.raises(RejectedError):
        gateway.checkpoints(job_id)
    assert server.requests == []


def test_a_submit_carries_everything_and_never_takes_over_a_savepoint(server: Server, version: str) -> None:
    server.answers["POST /jars/a_b.jar/run"] = recorded(version, "run")

    answer = server.gateway().submit(
        request(
            entry_class="com.example.Job",
            args=("--a", "b c"),
            parallelism=3,
            restore_from="file:///s/savepoint-1",
            configuration={"pipeline.name": "x"},
        )
    )

    assert answer == Accepted()
    assert server.bodies == [
        {
            "jobId": JOB,
            "entryClass": "com.example.Job",
            "programArgsList": ["--a", "b c"],
            "parallelism": 3,
            "allowNonRestoredState": False,
            "savepointPath": "file:///s/savepoint-1",
            "claimMode": "NO_CLAIM",
            "flinkConfiguration": {"pipeline.name": "x"},
        }
    ]


@pytest.mark.parametrize(
    ("name", "kind", "cause"),
    [
        ("run-duplicate", RefusalKind.DUPLICATE, "has already been submitted."),
        ("run-jar-gone", RefusalKind.JAR_GONE, "nope.jar does not exist"),
        ("run-main-throws", RefusalKind.PROGRAM, "java.lang.IllegalArgumentException: CounterJob was told to fail in main"),
        ("run-class-missing", RefusalKind.PROGRAM, "java.lang.ClassNotFoundException: Nope"),
        ("run-missing-savepoint", RefusalKind.PROGRAM, "java.io.FileNotFoundException: Cannot find checkpoint or savepoint"),
        ("run-state-mismatch", RefusalKind.PROGRAM, "because the operator is not available in the new program"),
        ("run-bad-duration", RefusalKind.PROGRAM, "java.lang.NumberFormatException: text does not start with a number"),
    ],
)
def test_a_refusal_says_its_kind_and_its_root_cause(
    server: Server, version: str, name: str, kind: RefusalKind, cause: str
) -> None:
    server.answers["POST /jars/a_b.jar/run"] = recorded(version, name)

    answer = server.gateway().submit(request())

    assert isinstance(answer, Refused)
    assert answer.kind is kind
    assert cause in answer.cause
    assert "\n" not in answer.cause
    assert len(answer.cause) <= 500


def test_a_submit_is_sent_once_whatever_comes_back(server: Server) -> None:
    server.default = (503, b"{}")

    answer = server.gateway().submit(request())

    assert isinstance(answer, NoAnswer)
    assert len(server.requests) == 1


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_no_answer_to_a_submit(server: Server, nonsense: tuple[int, bytes]) -> None:
    server.default = nonsense

    assert isinstance(server.gateway().submit(request()), NoAnswer)


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_an_unreachable_cluster_to_every_read(server: Server, nonsense: tuple[int, bytes]) -> None:
    server.default = nonsense
    gateway = server.gateway()

    for read in (
        gateway.jars,
        gateway.jobs,
        lambda: gateway.trigger(JOB, TRIGGER),
        lambda: gateway.checkpoints(JOB),
    ):
        with pytest.raises(FlinkUnreachableError):
            read()


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_never_counts_as_a_stop_or_a_cancel(server: Server, nonsense: tuple[int, bytes]) -> None:
    server.default = nonsense
    gateway = server.gateway()

    assert isinstance(gateway.cancel(JOB), NoAnswer)
    assert isinstance(gateway.stop(JOB, trigger_id=TRIGGER, target_directory="file:///s"), NoAnswer)


@pytest.mark.parametrize(
    "entry",
    [
        '{"jid":"x","state":"RUNNING"}',
        '{"jid":"JOB"}',
        '{"jid":"JOB","state":"DANCING"}',
        '{"jid":"JOB","state":"RUNNING","tasks":{"running":-1,"total":2}}',
        '{"jid":"JOB","state":"RUNNING","tasks":{"running":"two","total":2}}',
        "7",
    ],
)
def test_a_list_with_one_wrong_entry_proves_nothing(server: Server, entry: str) -> None:
    server.default = (200, f'{{"jobs":[{entry.replace("JOB", JOB)}]}}'.encode())

    with pytest.raises(FlinkUnreachableError):
        server.gateway().jobs()
    with pytest.raises(FlinkUnreachableError):
        server.gateway().jobs("of another job")


@given(body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_either_an_answer_or_an_unreachable_cluster(body: bytes) -> None:
    with talking(_saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)) as url:
        gateway = connect(url)

        assert isinstance(gateway.submit(request()), NoAnswer)


def test_a_huge_stack_trace_still_gives_a_bounded_cause(server: Server) -> None:
    message = "too long \x1b[31m\x00" * 200_000
    trace = f"outer\n\tat x\nCaused by: org.apache.flink.client.program.ProgramInvocationException: {message}\n\tat y\n"
    server.default = (400, json.dumps({"errors": [trace]}).encode())

    answer = server.gateway().submit(request())

    assert isinstance(answer, Refused)
    assert answer.kind is RefusalKind.PROGRAM
    assert len(answer.cause) == 500
    assert answer.cause.isprintable()


def test_a_stack_trace_of_many_megabytes_is_read_up_to_its_limit_and_hides_no_job(server: Server) -> None:
    trace = "java.lang.IllegalStateException: too much\\n" + "\\tat a.B.c(B.java:1)\\n" * (2 * ANSWER_LIMIT_BYTES // 20)
    failure = f'{{"class":"java.lang.IllegalStateException","stack-trace":"{trace}'
    history = f'{{"exceptionHistory":{{"entries":[{{"exceptionName":"x","stacktrace":"{trace}"'
    server.answers = {
        f"GET /jobs/{JOB}/savepoints/{TRIGGER}": (
            200,
            f'{{"status":{{"id":"COMPLETED"}},"operation":{{"failure-cause":{failure}"}}}}}}'.encode(),
        ),
        f"GET /jobs/{JOB}/exceptions": (200, f'{history}}}],"truncated":false}}}}'.encode()),
    }

    failed, cause = server.gateway().trigger(JOB, TRIGGER), server.gateway().root_cause(JOB)

    assert failed == TriggerFailed("java.lang.IllegalStateException: too much")
    assert cause == "java.lang.IllegalStateException: too much"


def test_a_cause_of_several_lines_is_told_on_one(server: Server) -> None:
    trace = "top\n\tat a\nCaused by: a.B: first\n\tat b\nCaused by: c.D: second\n  of two\n\tat c\n\tSuppressed: e.F: no\n\t... 3 more\n"
    server.default = (400, json.dumps({"errors": [trace]}).encode())

    assert server.gateway().submit(request()) == Refused(RefusalKind.OTHER, "c.D: second of two")


def test_a_dispatcher_that_did_not_answer_in_time_leaves_the_outcome_open(server: Server) -> None:
    trace = (
        "x\nCaused by: java.util.concurrent.TimeoutException: Invocation of [RemoteRpcInvocation(DispatcherGateway.submitJob("
        "ExecutionPlan, Duration))] at recipient [pekko.tcp://flink@jm:6123/user/rpc/dispatcher_0] timed out.\n"
    )
    server.default = (500, json.dumps({"errors": ["Internal server error.", trace]}).encode())

    assert isinstance(server.gateway().submit(request()), NoAnswer)


def test_an_answer_for_another_job_is_no_answer(server: Server) -> None:
    server.default = (200, b'{"jobid":"00000000000000000000000000000007"}')

    assert isinstance(server.gateway().submit(request()), NoAnswer)


def test_stop_and_savepoint_are_spelled_as_flink_wants_them(server: Server, version: str) -> None:
    server.default = recorded(version, "stop")
    gateway = server.gateway()

    answers = (
        gateway.stop(JOB, trigger_id=TRIGGER, target_directory="file:///s/1"),
        gateway.savepoint(JOB, trigger_id=TRIGGER, target_directory="file:///s/2"),
    )

    assert answers == (Accepted(), Accepted())
    assert [path for _, path, _ in server.requests] == [f"/jobs/{JOB}/stop", f"/jobs/{JOB}/savepoints"]
    assert server.bodies == [
        {"triggerId": TRIGGER, "targetDirectory": "file:///s/1", "drain": False},
        {"triggerId": TRIGGER, "target-directory": "file:///s/2", "cancel-job": False},
    ]


def test_a_trigger_is_read_in_every_state(server: Server, version: str) -> None:
    path = f"GET /jobs/{JOB}/savepoints/{TRIGGER}"
    gateway = server.gateway()
    seen = []

    for name in ("trigger-in-progress", "trigger-completed", "trigger-failed", "trigger-unknown"):
        server.answers[path] = recorded(version, name)
        seen.append(gateway.trigger(JOB, TRIGGER))

    in_progress, completed, failed, unknown = seen
    assert in_progress == TriggerInProgress()
    assert isinstance(completed, TriggerCompleted)
    assert completed.path.startswith("file:///flink/sp/x/savepoint-000000-")
    assert failed == TriggerFailed(
        f"org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job ({JOB})"
    )
    assert unknown == TriggerUnknown()


def test_a_missing_endpoint_is_no_unknown_trigger_and_no_unknown_job(server: Server, version: str) -> None:
    server.default = recorded(version, "no-such-path")
    gateway = server.gateway()

    for read in (lambda: gateway.trigger(JOB, TRIGGER), lambda: gateway.checkpoints(JOB), lambda: gateway.root_cause(JOB)):
        with pytest.raises(FlinkUnreachableError):
            read()


def test_a_cancel_is_accepted_or_refused_in_words(server: Server, version: str) -> None:
    gateway = server.gateway()
    answers = []

    for name in ("cancel", "cancel-terminal", "cancel-unknown"):
        server.default = recorded(version, name)
        answers.append(gateway.cancel(JOB))

    assert answers[0] == Accepted()
    assert isinstance(answers[1], Refused)
    assert "already reached another terminal state (FINISHED)" in answers[1].cause
    assert isinstance(answers[2], Refused)
    assert "Could not find Flink job" in answers[2].cause


def test_checkpoints_of_a_running_job(server: Server, version: str) -> None:
    checkpoints = _read_checkpoints(
        server, recorded(version, "checkpoints-running"), recorded(version, "checkpoints-config")
    )

    assert checkpoints is not None
    assert checkpoints.is_enabled
    assert checkpoints.completed is not None
    assert checkpoints.completed.path == f"file:///flink/cp/{JOB}/chk-{checkpoints.completed.id}"
    assert checkpoints.completed.completed_at is not None
    assert checkpoints.completed.completed_at > datetime(2020, 1, 1, tzinfo=UTC)
    assert checkpoints.completed_count == checkpoints.completed.id
    assert checkpoints.savepoint is None
    assert checkpoints.restored_from is None
    assert not checkpoints.deletes_on_cancellation


def test_checkpoints_of_a_stopped_job_end_with_its_savepoint(server: Server, version: str) -> None:
    checkpoints = _read_checkpoints(
        server, recorded(version, "checkpoints-stopped"), recorded(version, "checkpoints-config")
    )

    assert checkpoints is not None
    assert checkpoints.completed is None, "discarded when the job finished"
    assert checkpoints.newest is checkpoints.savepoint
    assert checkpoints.savepoint is not None
    assert checkpoints.savepoint.is_stop
    assert checkpoints.savepoint.path.startswith("file:///flink/sp/x/savepoint-000000-")


def test_checkpoints_of_a_restored_job_name_their_origin(server: Server, version: str) -> None:
    checkpoints = _read_checkpoints(
        server, recorded(version, "checkpoints-restored"), recorded(version, "checkpoints-config")
    )

    assert checkpoints is not None
    assert checkpoints.restored_from is not None
    assert checkpoints.restored_from.startswith("file:///flink/sp/x/savepoint-000000-")


def test_a_streaming_job_without_periodic_checkpoints_is_told_by_its_interval(server: Server, version: str) -> None:
    checkpoints = _read_checkpoints(
        server, recorded(version, "checkpoints-none"), recorded(version, "checkpoints-config-none")
    )

    assert checkpoints == Checkpoints(is_enabled=False, deletes_on_cancellation=True)


def test_a_batch_job_has_no_checkpoints(server: Server, version: str) -> None:
    assert _read_checkpoints(server, recorded(version, "checkpoints-batch"), (404, b"")) == Checkpoints(is_enabled=False)


def test_an_unknown_job_has_neither_checkpoints_nor_a_cause(server: Server, version: str) -> None:
    server.answers[f"GET /jobs/{JOB}/exceptions"] = recorded(version, "exceptions-unknown")

    assert _read_checkpoints(server, recorded(version, "job-unknown"), (404, b"")) is None
    assert server.gateway().root_cause(JOB) is None


def test_reading_checkpoints_makes_two_calls(server: Server, version: str) -> None:
    _read_checkpoints(server, recorded(version, "checkpoints-running"), recorded(version, "checkpoints-config"))

    assert len(server.requests) == 2


def test_the_newest_checkpoint_that_exists_counts(server: Server) -> None:
    statistics = {
        "counts": {"completed": 3, "failed": 2},
        "latest": {
            "completed": _entry(9, discarded=True),
            "savepoint": _entry(4, is_savepoint=True, checkpoint_type="SAVEPOINT"),
        },
        "history": [
            _entry(9, discarded=True),
            _entry(8, external_path="<checkpoint-not-externally-addressable>"),
            {"id": 7, "status": "IN_PROGRESS", "is_savepoint": False},
            _entry(6),
            _entry(5),
        ],
    }
    config = {"interval": 1000, "externalization": {"enabled": True, "delete_on_cancellation": True}}

    checkpoints = _read_checkpoints(server, (200, json.dumps(statistics).encode()), (200, json.dumps(config).encode()))

    assert checkpoints == Checkpoints(
        is_enabled=True,
        completed=Checkpoint(6, "s3://b/chk-6", is_savepoint=False, completed_at=datetime(1970, 1, 1, tzinfo=UTC)),
        savepoint=Checkpoint(4, "s3://b/chk-4", is_savepoint=True, completed_at=datetime(1970, 1, 1, tzinfo=UTC)),
        completed_count=3,
        failed_count=2,
        deletes_on_cancellation=True,
        interval=timedelta(seconds=1),
        timeout=timedelta(0),
        # Whether Flink still has it, and where, is no matter of progress.
        progress=CheckpointProgress(completed_at=datetime(1970, 1, 1, tzinfo=UTC)),
    )


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("exceptions-none", None),
        ("exceptions-init", "java.io.FileNotFoundException: Cannot find checkpoint or savepoint file/directory"),
        ("exceptions-failed", "java.lang.IllegalStateException: CounterJob was told to fail after 5 records"),
    ],
)
def test_the_root_cause_is_the_deepest_one(server: Server, version: str, name: str, cause: str | None) -> None:
    server.default = recorded(version, name)

    found = server.gateway().root_cause(JOB)

    assert found == cause if cause is None else (found or "").startswith(cause)


def test_the_root_cause_is_looked_for_beside_flinks_own_exception(server: Server) -> None:
    entries = [
        {
            "exceptionName": "org.apache.flink.runtime.JobException",
            "stacktrace": "org.apache.flink.runtime.JobException: Recovery is suppressed by FixedDelay\n\tat x\n",
            "concurrentExceptions": [{"stacktrace": "java.io.IOException: disk\n\tat y\nCaused by: a.B: full\n\tat z\n"}],
        }
    ]
    server.default = (200, json.dumps({"exceptionHistory": {"entries": entries, "truncated": False}}).encode())

    assert server.gateway().root_cause(JOB) == "a.B: full"


def test_the_progress_of_checkpoints_counts_the_failures_since_the_last_completed_one(server: Server, version: str) -> None:
    server.default = recorded(version, "checkpoints-failing")

    progress = server.gateway().checkpoint_progress(JOB)

    assert progress is not None
    assert progress.completed_at is not None
    assert progress.duration is not None
    assert progress.duration < timedelta(seconds=1)
    assert (progress.size_bytes, progress.failed_in_a_row) == (4385, 4)
    assert progress.failure == "Checkpoint expired before completing."
    assert len(server.requests) == 1


def test_a_job_without_checkpoints_and_an_unknown_one_have_no_progress_nor_vertices(server: Server, version: str) -> None:
    server.default = recorded(version, "checkpoints-batch")
    assert server.gateway().checkpoint_progress(JOB) is None

    server.default = recorded(version, "job-unknown")
    gateway = server.gateway()
    assert (gateway.checkpoint_progress(JOB), gateway.failures(JOB), gateway.graph(JOB)) == (None, None, None)


def test_root_exceptions_are_read_newest_first_with_task_and_frames(server: Server, version: str) -> None:
    server.default = recorded(version, "exceptions-restarting")

    found = server.gateway().failures(JOB)

    assert found is not None
    assert [failure.at for failure in found] == sorted((failure.at for failure in found), reverse=True)
    assert {failure.cause for failure in found} == {
        "java.lang.IllegalStateException: CounterJob was told to fail after 50 records"
    }
    assert found[0].task == "count -> discard v1: Writer (1/1) - execution #5"
    assert found[0].frames == (
        "at com.example.CounterJob$Count.processElement(Unknown Source)",
        "at com.example.CounterJob$Count.processElement(Unknown Source)",
    )


def test_the_loss_of_a_taskmanager_is_a_root_exception_too(server: Server, version: str) -> None:
    server.default = recorded(version, "exceptions-taskmanager")

    found = server.gateway().failures(JOB)

    assert found is not None
    assert "is no longer reachable." in found[0].cause


def test_root_exceptions_are_bounded_and_printable_whatever_they_hold(server: Server) -> None:
    evil = "a.B: \x1b[31m\x00" + "x" * 10_000 + "\n\tat " + "f" * 10_000 + "\x07\n\tat b\n\tat c\n"
    entry = {"exceptionName": "a.B", "stacktrace": evil, "timestamp": 1, "taskName": "t\x00" * 1000}
    server.default = (200, json.dumps({"exceptionHistory": {"entries": [entry] * 3}}).encode())

    found = server.gateway().failures(JOB)

    assert found is not None
    for failure in found:
        texts = (failure.cause, failure.task, *failure.frames)
        assert all(text.isprintable() for text in texts)
        assert [len(text) for text in texts] == [500, 80, 160, 4]


def test_the_graph_names_vertices_and_who_reads_from_whom_sources_first(server: Server, version: str) -> None:
    server.default = recorded(version, "details")

    graph = server.gateway().graph(JOB)

    assert graph is not None
    assert [vertex.name for vertex in graph if not vertex.inputs] == ["Source: numbers"] == [graph[0].name]
    names = {vertex.id: vertex.name for vertex in graph}
    assert {(names[vertex.inputs[0]], vertex.name) for vertex in graph[1:]} == {
        ("Source: numbers", "count"),
        ("count", "slow"),
        ("slow", "discard v1: Writer"),
    }


def test_the_load_of_a_vertex_is_that_of_its_worst_subtask(server: Server, version: str) -> None:
    server.default = recorded(version, "backpressure")
    assert server.gateway().load(JOB, JOB) == Load(0.0, 0, 1.0)

    subtasks = [
        {"subtask": 0, "ratio": 0.1, "busyRatio": 0.7, "idleRatio": 0.2},
        {"subtask": 1, "ratio": 0.8, "busyRatio": "NaN", "idleRatio": 0.2},
    ]
    server.default = (200, json.dumps({"status": "ok", "subtasks": subtasks}).encode())
    assert server.gateway().load(JOB, JOB) == Load(0.8, 1, 0.7)


def test_a_vertex_that_was_not_measured_yet_has_no_load(server: Server) -> None:
    for answer in (
        (200, b'{"status":"deprecated"}'),
        recorded("2.3.0", "backpressure-none"),
        recorded("2.3.0", "job-unknown"),
    ):
        server.default = answer

        assert server.gateway().load(JOB, JOB) is None


def test_a_refused_connection_was_not_sent() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    gateway = connect(f"http://127.0.0.1:{port}")

    assert isinstance(gateway.submit(request()), NotSent)
    assert isinstance(gateway.cancel(JOB), NotSent)
    with pytest.raises(FlinkUnreachableError) as caught:
        gateway.jobs()
    assert caught.value.delivery is Delivery.NOT_SENT


def test_a_name_that_does_not_resolve_was_not_sent() -> None:
    gateway = connect("http://flink.invalid:8081")

    assert isinstance(gateway.submit(request()), NotSent)


def test_a_connection_that_ends_without_an_answer_leaves_the_outcome_open() -> None:
    with talking(_saying(b"")) as url:
        gateway = connect(url)

        assert isinstance(gateway.submit(request()), NoAnswer)


def test_a_kept_connection_that_was_reset_leaves_the_outcome_open() -> None:
    answered: list[bool] = []

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        if not answered:
            answered.append(True)
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"jobs":[]}')
            connection.recv(65536)
        # Reset instead of a farewell.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    with talking(script) as url:
        gateway = connect(url)
        gateway.jobs()

        assert isinstance(gateway.submit(request()), NoAnswer)


def test_a_silent_server_leaves_the_outcome_of_a_submit_open() -> None:
    release = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        release.wait(5)

    with talking(script) as url:
        gateway = connect(url)

        answer = gateway.submit(request())
        release.set()

    assert isinstance(answer, NoAnswer)


def test_a_lost_answer_followed_by_a_refused_connection_leaves_the_outcome_open() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def once() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        listener.close()
        connection.close()

    thread = threading.Thread(target=once)
    thread.start()
    gateway = connect(f"http://127.0.0.1:{listener.getsockname()[1]}")

    answer = gateway.stop(JOB, trigger_id=TRIGGER, target_directory="file:///s")
    thread.join()

    assert isinstance(answer, NoAnswer)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"job',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 hello\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    ],
)
def test_a_broken_answer_leaves_the_outcome_open(raw: bytes) -> None:
    with talking(_saying(raw)) as url:
        gateway = connect(url)

        assert isinstance(gateway.submit(request()), NoAnswer)
        with pytest.raises(FlinkUnreachableError):
            gateway.jobs()


def test_a_chunked_answer_is_read_whole() -> None:
    raw = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"jo\r\n7\r\nbs":[]}\r\n0\r\n\r\n'
    with talking(_saying(raw)) as url:
        assert connect(url).jobs() == []


def test_an_endless_answer_is_given_up() -> None:
    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(2 * ANSWER_LIMIT_BYTES // 2**20):
            connection.sendall(b" " * 2**20)

    with talking(script) as url, pytest.raises(FlinkUnreachableError, match="longer than"):
        connect(url).jobs()


def test_an_answer_that_drips_is_given_up() -> None:
    stop = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not stop.wait(0.05):
            connection.sendall(b" ")

    timeouts = Timeouts(connect_s=1, read_s=0.3)
    with talking(script) as url:
        with pytest.raises(FlinkUnreachableError, match="not complete"):
            connect(url, timeouts).jobs()
        stop.set()


def test_a_read_bridges_a_moment_of_silence() -> None:
    tries: list[bool] = []

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        tries.append(True)
        if len(tries) > 1:
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{"jobs":[]}')

    with talking(script) as url:
        assert connect(url).jobs() == []


def test_connections_are_kept_for_a_cluster_until_it_changes(server: Server) -> None:
    server.default = (200, b'{"jobs":[]}')
    connections = FlinkRestConnections(QUICK, is_local=True)
    here = cluster(f"http://127.0.0.1:{server.port}")

    for _ in range(3):
        connections.connect(here).jobs()
    before = len(server.connections)
    connections.connect(here.model_copy(update={"flink_version": "2.3"})).jobs()

    assert (before, len(server.connections)) == (1, 2)


def test_a_redirect_is_not_followed(server: Server) -> None:
    server.default = (200, b'{"jobs":[]}')
    elsewhere = f"http://127.0.0.1:{server.port}/jobs/overview"
    answer = _saying(f"HTTP/1.1 307 Go\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n".encode())

    with talking(answer) as url, pytest.raises(FlinkUnreachableError, match="307"):
        connect(url).jobs()

    assert server.requests == []


def test_the_environment_changes_nothing(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server.default = (200, b'{"jobs":[]}')
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")

    server.gateway().jobs()

    (headers,) = server.headers
    assert "Authorization" not in headers
    assert headers["Accept-Encoding"] == "identity"


def test_a_malformed_authority_is_refused() -> None:
    with pytest.raises(RejectedError, match="no PEM certificate"):
        FlinkRestConnections(is_local=True).connect(cluster("https://127.0.0.1:9", ca="hello"))


def test_tls_trusts_the_clusters_own_authority_and_no_other(tmp_path: Path) -> None:
    certificate, other = _certificate(tmp_path / "one.pem"), _certificate(tmp_path / "two.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "one.pem")

    with serving(Server(default=(200, b'{"jobs":[]}')), context) as server:
        jobs = server.gateway(scheme="https", ca=certificate).jobs()
        strangers = [server.gateway(scheme="https", ca=ca).submit(request()) for ca in (other, None)]

    assert jobs == []
    assert all(isinstance(answer, NotSent) for answer in strangers)
    assert len(server.requests) == 1


class _Pieces(io.BytesIO):
    """A stream that gives less than it is asked for, as sockets do, and has no file behind it."""

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert 0 <= size <= 2**20, "the whole content was asked for at once"
        return super().read(min(size, 1000))

    def fileno(self) -> int:
        raise io.UnsupportedOperation


def _saying(raw: bytes) -> Callable[[socket.socket], None]:
    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(raw)

    return script


def _entry(number: int, **changes: Any) -> dict[str, Any]:
    entry = {
        "id": number,
        "status": "COMPLETED",
        "is_savepoint": False,
        "external_path": f"s3://b/chk-{number}",
        "checkpoint_type": "CHECKPOINT",
        "discarded": False,
        "latest_ack_timestamp": 0,
    }
    return entry | changes


def _read_checkpoints(server: Server, statistics: tuple[int, bytes], config: tuple[int, bytes]) -> Checkpoints | None:
    server.answers[f"GET /jobs/{JOB}/checkpoints"] = statistics
    server.answers[f"GET /jobs/{JOB}/checkpoints/config"] = config
    return server.gateway().checkpoints(JOB)


def _certificate(file: Path) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "flink")])
    now = SystemClock().now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(pem + private)
    return pem.decode()
