"""The Flink twin behind Flink's REST interface, on loopback, so that handlers reach it as they reach a real one."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from flink_controller.adapters.system_clock import SystemClock
from flink_controller.domain.actions import Submit
from flink_controller.domain.errors import FlinkUnreachableError
from flink_controller.domain.observation import (
    Accepted,
    Answer,
    RefusalKind,
    Refused,
    TaskManagerSeen,
    TriggerCompleted,
    TriggerFailed,
    TriggerInProgress,
)
from flink_controller.testing.flink_twin import FlinkTwin, TwinOptions
from flink_controller.testing.storage_twin import StorageTwin

Reply = tuple[int, Any]
NO_CHECKPOINTS = 2**63 - 1
_WORDS = {
    RefusalKind.PROGRAM: "org.apache.flink.client.program.ProgramInvocationException: ",
    RefusalKind.DUPLICATE: "org.apache.flink.runtime.client.DuplicateJobSubmissionException: ",
    RefusalKind.JAR_GONE: "Jar file /uploads/x.jar does not exist. ",
}
"""By which words Flink lets a refusal be recognised."""


class FlinkServer:
    """One twin, and where it answers."""

    def __init__(self, options: TwinOptions) -> None:
        self.twin = FlinkTwin(SystemClock(), StorageTwin(), options)
        self.url = ""
        self.requests: list[str] = []
        self.rubbish: Callable[[str, str], tuple[int, bytes] | None] = lambda _method, _path: None
        """What is said in place of the answer to a request that was carried out; None: the answer."""

    def answer(self, method: str, path: str, body: bytes, kind: str) -> Reply:
        """Give status and document of one request."""
        self.requests.append(f"{method} {path}")
        try:
            return self._route(method, path.strip("/").split("/"), body, kind)
        except FlinkUnreachableError:
            return 503, {"errors": ["Service temporarily unavailable due to an ongoing leader election."]}

    def _route(self, method: str, parts: list[str], body: bytes, kind: str) -> Reply:
        twin = self.twin
        match method, parts:
            case "GET", ["jobmanager", "config"]:
                return 200, [{"key": key, "value": value} for key, value in twin.config().settings.items()]
            case "GET", ["overview"]:
                slots = {"slots-total": twin.options.slots, "slots-available": twin.free_slots()}
                return 200, {"flink-version": f"{twin.options.version}.0", "taskmanagers": 1, **slots}
            case "GET", ["taskmanagers"]:
                return 200, {"taskmanagers": [_task_manager(seen) for seen in twin.task_managers()]}
            case "GET", ["jobs", "overview"]:
                return 200, {"jobs": [_job(job) for job in twin.jobs()]}
            case "GET", ["jars"]:
                return 200, {
                    "files": [{"id": jar.jar_id, "name": jar.name, "uploaded": jar.uploaded_ms} for jar in twin.jars()]
                }
            case "POST", ["jars", "upload"]:
                name, content = _part(body, kind)
                return 200, {
                    "filename": f"/uploads/{twin.upload_jar(name, io.BytesIO(content), len(content)).jar_id}",
                    "status": "success",
                }
            case "DELETE", ["jars", jar_id]:
                twin.delete_jar(jar_id)
                return 200, {}
            case "POST", ["jars", jar_id, "run"]:
                return self._run(jar_id, json.loads(body))
            case _, ["jobs", job_id, *rest]:
                return self._of_job(method, job_id, rest, body)
        return 404, {"errors": ["Unable to load requested file."]}

    def _run(self, jar_id: str, wish: dict[str, Any]) -> Reply:
        submit = Submit(
            flink_job_id=wish["jobId"],
            jar_id=jar_id,
            entry_class=wish.get("entryClass"),
            args=tuple(wish.get("programArgsList", ())),
            parallelism=wish["parallelism"],
            restore_from=wish.get("savepointPath"),
            allow_non_restored_state=wish.get("allowNonRestoredState", False),
            configuration=wish.get("flinkConfiguration", {}),
        )
        return _answered(self.twin.submit(submit), 200, {"jobid": submit.flink_job_id})

    def _of_job(self, method: str, job_id: str, rest: list[str], body: bytes) -> Reply:
        twin = self.twin
        match method, rest:
            case "POST", ["stop"]:
                wish = json.loads(body)
                answer = twin.stop(job_id, trigger_id=wish["triggerId"], target_directory=wish["targetDirectory"])
                return _answered(answer, 202, {"request-id": wish["triggerId"]})
            case "POST", ["savepoints"]:
                wish = json.loads(body)
                answer = twin.savepoint(job_id, trigger_id=wish["triggerId"], target_directory=wish["target-directory"])
                return _answered(answer, 202, {"request-id": wish["triggerId"]})
            case "GET", ["savepoints", trigger_id]:
                return _trigger(twin, job_id, trigger_id)
            case "PATCH", []:
                return _answered(twin.cancel(job_id), 202, {})
            case "GET", ["checkpoints", *what]:
                return _checkpoints(twin, job_id, is_config=what == ["config"])
            case "GET", ["config"]:
                given = twin.parameters(job_id)
                return 200, {"jid": job_id, **({} if given is None else {"execution-config": {"user-config": given}})}
            case "GET", ["exceptions"]:
                return 200, {"exceptionHistory": {"entries": []}, "root-exception": twin.root_cause(job_id)}
            case "GET", []:
                graph = twin.graph(job_id) or ()
                nodes = [{"id": vertex.id, "inputs": [{"id": given} for given in vertex.inputs]} for vertex in graph]
                vertices = [{"id": vertex.id, "name": vertex.name, "parallelism": 1} for vertex in graph]
                return 200, {"vertices": vertices, "plan": {"nodes": nodes}}
            case "GET", ["vertices", vertex_id, "backpressure"]:
                load = twin.load(job_id, vertex_id)
                if load is None:
                    return 200, {"status": "deprecated"}
                subtask = {"subtask": load.subtask, "ratio": load.backpressured, "busyRatio": load.busy}
                return 200, {"status": "ok", "subtasks": [subtask]}
        return 404, {"errors": ["Unable to load requested file."]}


@contextmanager
def serving(options: TwinOptions) -> Iterator[FlinkServer]:
    """Serve a twin on a free port of loopback."""
    server = FlinkServer(options)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                status, document = server.answer(
                    self.command, self.path.partition("?")[0], body, self.headers.get("Content-Type", "")
                )
            content = json.dumps(document).encode()
            status, content = server.rubbish(self.command, self.path.partition("?")[0]) or (status, content)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815  # the base class names them

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.daemon_threads = True
        server.url = f"http://127.0.0.1:{httpd.server_port}"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            httpd.shutdown()
            thread.join()


def _task_manager(seen: TaskManagerSeen) -> dict[str, Any]:
    shares = {"managedMemory": 0, "networkMemory": 0, "taskOffHeapMemory": 0}
    return {
        "slotsNumber": seen.slots,
        "freeSlots": seen.slots_free,
        "hardware": {"cpuCores": seen.cpu_cores},
        "memoryConfiguration": {
            "totalProcessMemory": seen.memory_bytes,
            "frameworkHeap": 0,
            "taskHeap": seen.heap_bytes,
            "networkMemory": seen.network_bytes,
        },
        "totalResource": {"taskHeapMemory": (seen.shared_bytes or 0) // 2**20, **shares},
        "freeResource": {"taskHeapMemory": (seen.free_bytes or 0) // 2**20, **shares},
    }


def _job(job: Any) -> dict[str, Any]:
    return {
        "jid": job.flink_job_id,
        "name": job.name,
        "state": job.state.value,
        "last-modification": job.modified_ms,
        "tasks": {"running": job.tasks_running, "finished": 0, "total": job.tasks_total},
    }


def _answered(answer: Answer, status: int, document: Any) -> Reply:
    if isinstance(answer, Accepted):
        return status, document
    words = _WORDS.get(answer.kind, "") if isinstance(answer, Refused) else ""
    return 400, {"errors": [f"{words}{answer.cause}"]}


def _part(body: bytes, kind: str) -> tuple[str, bytes]:
    """Take the one file out of a multipart upload."""
    message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    part = message.get_payload(0)
    assert not isinstance(part, str)
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return str(part.get_filename()), content


def _trigger(twin: FlinkTwin, job_id: str, trigger_id: str) -> Reply:
    match twin.trigger(job_id, trigger_id):
        case TriggerInProgress():
            return 200, {"status": {"id": "IN_PROGRESS"}, "operation": None}
        case TriggerCompleted(path=path):
            return 200, {"status": {"id": "COMPLETED"}, "operation": {"location": path}}
        case TriggerFailed(cause=cause):
            failure = {"class": "CheckpointException", "stack-trace": cause}
            return 200, {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": failure}}
        case _:
            return 404, {"errors": [f"There is no savepoint operation with triggerId={trigger_id} for job {job_id}."]}


def _checkpoints(twin: FlinkTwin, job_id: str, *, is_config: bool) -> Reply:
    found = twin.checkpoints(job_id)
    if found is None:
        return 404, {"errors": [f"NotFoundException: Job {job_id} not found"]}
    if is_config:
        externalization = {"enabled": True, "delete_on_cancellation": found.deletes_on_cancellation}
        return 200, {"interval": 1000 if found.is_enabled else NO_CHECKPOINTS, "externalization": externalization}
    entry: Callable[[Any], Any] = lambda one: (  # noqa: E731  # two uses, right below
        None
        if one is None
        else {
            "id": one.id,
            "external_path": one.path,
            "is_savepoint": one.is_savepoint,
            "checkpoint_type": "SYNC_SAVEPOINT" if one.is_stop else "CHECKPOINT",
        }
    )
    return 200, {
        "counts": {"completed": found.completed_count, "failed": found.failed_count},
        "latest": {"completed": entry(found.completed), "savepoint": entry(found.savepoint)},
        "history": [],
    }
