"""Flink's REST interface, with everything that can go wrong between here and there.

HTTP answers are hints, the job list is the truth: nothing in here decides whether a job runs. What this module owes its
callers is honesty about the one thing that only it can know: whether a request can have reached Flink at all.

Uses no IAM action.
"""

import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, Any, Final, TypeVar

import requests
from requests_toolbelt import MultipartEncoder
from tenacity import Retrying
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError
from urllib3.exceptions import SSLError as TLSError

from flink_controller.adapters import flink_answers as answers
from flink_controller.adapters.flink_answers import NotFlinksAnswerError
from flink_controller.adapters.flink_sessions import ClusterSession
from flink_controller.adapters.retrying import IDEMPOTENT_WRITES, READS
from flink_controller.domain.actions import Submit
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.cluster_check import ClusterOverview
from flink_controller.domain.errors import Delivery, FlinkUnreachableError, RejectedError
from flink_controller.domain.names import shown
from flink_controller.domain.observation import (
    Accepted,
    Answer,
    ApplicationSeen,
    CheckpointProgress,
    Checkpoints,
    ClusterConfig,
    GraphVertex,
    JarSeen,
    JobSeen,
    Load,
    NoAnswer,
    NotSent,
    RefusalKind,
    Refused,
    TaskFailure,
    TaskManagerSeen,
    TriggerStatus,
    TriggerUnknown,
    UploadedJar,
    Vertex,
)
from flink_controller.ports import Secrets

_T = TypeVar("_T")
IAM_ACTIONS: Final[frozenset[str]] = frozenset()
ANSWER_LIMIT_BYTES: Final = 8 * 2**20
"""Some 20,000 jobs in `/jobs/overview`, at 0.4 kB each."""
ERROR_LIMIT_BYTES: Final = 256 * 2**10
"""Flink's errors are stack traces of 2 to 60 kB."""
CHUNK_BYTES: Final = 2**16
FAILURES_READ: Final = 8
"""Root exceptions of a job that are read at a time: more have hardly happened since the last look."""
_FLINK_ID: Final = re.compile(r"[0-9a-f]{32}")
_NOT_FLINK_ITSELF: Final = frozenset({408, 425, 429, 502, 503, 504})
"""Said by gateways, or by a JobManager that is not the leader; whether it was carried out is open."""


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long one call may take, in seconds."""

    connect_s: float = 2.0
    """A cluster in the same network accepts within milliseconds; this is also the longest pause while sending."""
    read_s: float = 5.0
    """Reads answer within 0.4 s at 1,000 jobs; the rest is for a garbage collection."""
    upload_s: float = 25.0
    """Until the answer to an upload, once all bytes are sent."""
    submit_s: float = 25.0
    """A submit runs the job's main() before it answers. What takes longer is found in the list by the next look."""
    plan_s: float = 10.0
    """A plan of SQL takes 0.1 s, the first of a JobManager 5 s (measured); a check that takes longer is left out."""


class FlinkRest:
    """`FlinkGateway` over HTTP: one cluster, connections kept alive."""

    def __init__(self, url: str, session: ClusterSession, timeouts: Timeouts, *, reads: Retrying, writes: Retrying) -> None:
        self._url = url.rstrip("/")
        self._session = session
        self._timeouts = timeouts
        self._reads = reads
        self._writes = writes

    def config(self) -> ClusterConfig:
        """Read configuration and incarnation. One call."""
        return self._get("/jobmanager/config", answers.cluster_config)

    def overview(self) -> ClusterOverview:
        """Read version and slots. One call."""
        return self._get("/overview", answers.cluster_overview)

    def free_slots(self) -> int:
        """Count free task slots. One call."""
        return self.overview().slots_free

    def task_managers(self) -> tuple[TaskManagerSeen, ...]:
        """List TaskManagers. One call."""
        return self._get("/taskmanagers", answers.task_managers)

    def jobs(self, prefix: str = "") -> list[JobSeen]:
        """List the jobs whose ids begin so. One call; `/jobs/overview` is current, where `/jobs/:id` comes from a cache."""
        return self._get("/jobs/overview", lambda body: answers.jobs(body, prefix))

    def parameters(self, flink_job_id: str) -> Mapping[str, str] | None:
        """Read a job's global parameters. One call."""

        def read() -> Mapping[str, str] | None:
            reply = self._call("GET", f"/jobs/{_flink_id(flink_job_id)}/config")
            if reply.status == HTTPStatus.NOT_FOUND and answers.says_unknown_job(self._errors(reply)):
                return None
            return self._parse(reply, answers.parameters)

        return self._reads(read)

    def jars(self) -> list[JarSeen]:
        """List uploaded jars. One call."""
        return self._get("/jars", answers.jars)

    def upload_jar(self, name: str, content: IO[bytes], size_bytes: int) -> UploadedJar:
        """Upload a jar as a stream. One call, not repeated: the stream is read once.

        Raises:
            RejectedError: the name is no plain file name.
        """
        encoder = MultipartEncoder({"jarfile": (_jar(name), _Counted(content, size_bytes), "application/x-java-archive")})
        reply = self._call("POST", "/jars/upload", data=encoder, kind=encoder.content_type, read_s=self._timeouts.upload_s)
        return self._parse(reply, answers.uploaded_jar)

    def delete_jar(self, jar_id: str) -> None:
        """Delete a jar. One call."""
        path = f"/jars/{_jar(jar_id)}"

        def delete() -> None:
            reply = self._call("DELETE", path)
            # Flink says 400 for a jar that is not there.
            if reply.status not in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
                raise self._unusable(reply)
            if reply.status != HTTPStatus.OK and not any("does not exist" in text for text in self._errors(reply)):
                raise self._unusable(reply)

        self._writes(delete)

    def submit(self, submit: Submit) -> Answer:
        """Run a jar under a chosen job id. One call, never repeated."""
        is_application = submit.application_id is not None

        def run() -> Answer:
            path = f"/jars/{_jar(submit.jar_id)}/run{'-application' if is_application else ''}"
            reply = self._call("POST", path, json=_run_request(submit), read_s=self._timeouts.submit_s)
            if is_application and reply.status == HTTPStatus.ACCEPTED:
                return self._parse(reply, _accepted, HTTPStatus.ACCEPTED)
            if reply.status == HTTPStatus.OK:
                started = self._parse(reply, answers.started_job)
                return Accepted() if started == submit.flink_job_id else NoAnswer(f"Flink answered for job {started}")
            texts = self._errors(reply)
            if answers.is_undecided(texts):
                return NoAnswer(answers.error_cause(texts))
            return Refused(*answers.refusal(texts))

        return _answer(run)

    def plan(self, submit: Submit) -> Answer:
        """Plan a jar without running it. One call, not repeated: a plan may take long."""

        def ask() -> Answer:
            path = f"/jars/{_jar(submit.jar_id)}/plan"
            reply = self._call("POST", path, json=_plan_request(submit), read_s=self._timeouts.plan_s, may_be_cut=True)
            if reply.status == HTTPStatus.OK:
                return Accepted()
            texts = self._errors(reply)
            if answers.is_undecided(texts):
                return NoAnswer(answers.error_cause(texts))
            return Refused(*answers.refusal(texts))

        return _answer(ask)

    def application(self, application_id: str) -> ApplicationSeen | None:
        """Look at a main() that runs by itself. One call, two for one that failed."""
        path = f"/applications/{_flink_id(application_id)}"

        def read() -> ApplicationSeen | None:
            reply = self._call("GET", path)
            if reply.status != HTTPStatus.OK and answers.says_unknown_application(self._errors(reply)):
                return None
            seen = self._parse(reply, answers.application)
            if seen is not None:
                return seen
            told = self._call("GET", f"{path}/exceptions", may_be_cut=True)
            return self._parse(told, lambda body: answers.failed_application(body, is_cut=told.is_cut))

        return self._reads(read)

    def cancel_application(self, application_id: str) -> Answer:
        """Ask for the end of a main(). One call, or two."""

        def ask() -> Answer:
            reply = self._call("POST", f"/applications/{_flink_id(application_id)}/cancel")
            if reply.status == HTTPStatus.ACCEPTED:
                return self._parse(reply, _accepted, HTTPStatus.ACCEPTED)
            return Refused(RefusalKind.OTHER, answers.error_cause(self._errors(reply)))

        return self._carefully(ask)

    def stop(self, flink_job_id: str, *, trigger_id: str, target_directory: str) -> Answer:
        """Trigger a stop with savepoint. One call, or two."""
        body = {"triggerId": trigger_id, "targetDirectory": target_directory, "drain": False}
        return self._write("POST", flink_job_id, "/stop", body)

    def savepoint(self, flink_job_id: str, *, trigger_id: str, target_directory: str) -> Answer:
        """Trigger a savepoint. One call, or two."""
        # The same fields as for a stop, in another spelling: Flink ignores the wrong one without a word.
        body = {"triggerId": trigger_id, "target-directory": target_directory, "cancel-job": False}
        return self._write("POST", flink_job_id, "/savepoints", body)

    def dispose(self, path: str) -> Answer:
        """Ask for the deletion of a savepoint. One call, or two."""

        def ask() -> Answer:
            reply = self._call("POST", "/savepoint-disposal", json={"savepoint-path": path})
            if reply.status == HTTPStatus.OK:
                return self._parse(reply, _accepted)
            return Refused(RefusalKind.OTHER, answers.error_cause(self._errors(reply)))

        return self._carefully(ask)

    def trigger(self, flink_job_id: str, trigger_id: str) -> TriggerStatus:
        """Look up a stop or savepoint. One call."""
        path = f"/jobs/{_flink_id(flink_job_id)}/savepoints/{_flink_id(trigger_id)}"

        def look_up() -> TriggerStatus:
            reply = self._call("GET", path, may_be_cut=True)
            if reply.status == HTTPStatus.NOT_FOUND and answers.says_unknown_trigger(self._errors(reply)):
                return TriggerUnknown()
            return self._parse(reply, lambda body: answers.trigger_status(body, is_cut=reply.is_cut))

        return self._reads(look_up)

    def checkpoint(self, flink_job_id: str) -> Answer:
        """Ask for a checkpoint as the job is configured. One call, or two."""
        return self._write("POST", flink_job_id, "/checkpoints", {"checkpointType": "CONFIGURED"})

    def cancel(self, flink_job_id: str) -> Answer:
        """Ask for a cancel. One call, or two."""
        return self._write("PATCH", flink_job_id, "?mode=cancel")

    def vertices(self, flink_job_id: str) -> tuple[Vertex, ...] | None:
        """Read wanted and actual parallelism. Two calls."""

        def read() -> tuple[Vertex, ...] | None:
            wanted = self._call("GET", f"/jobs/{_flink_id(flink_job_id)}/resource-requirements")
            actual = self._call("GET", f"/jobs/{flink_job_id}") if wanted.status == HTTPStatus.OK else wanted
            for reply in (wanted, actual):
                if reply.status != HTTPStatus.OK and answers.says_unknown_job(self._errors(reply)):
                    return None
                if reply.status != HTTPStatus.OK:
                    raise self._unusable(reply)
            return self._parse(actual, lambda body: answers.vertices(wanted.body, body))

        return self._reads(read)

    def rescale(self, flink_job_id: str, *, before: int, after: int) -> Answer:
        """Ask for another parallelism. Two calls, the second one perhaps twice."""
        path = f"/jobs/{_flink_id(flink_job_id)}/resource-requirements"

        def ask() -> Answer:
            known = self._call("GET", path)
            if known.status != HTTPStatus.OK:
                return Refused(RefusalKind.OTHER, answers.error_cause(self._errors(known)))
            # Flink wants every vertex named, the unchanged ones too.
            body = self._parse(known, lambda found: answers.rescaled(found, before=before, after=after))
            reply = self._call("PUT", path, json=body)
            if reply.status == HTTPStatus.OK:
                return self._parse(reply, _accepted)
            return Refused(RefusalKind.OTHER, answers.error_cause(self._errors(reply)))

        return self._carefully(ask)

    def checkpoints(self, flink_job_id: str) -> Checkpoints | None:
        """Read checkpoint statistics and configuration. Two calls; one when there is nothing to read."""
        path = f"/jobs/{_flink_id(flink_job_id)}/checkpoints"

        def read() -> Checkpoints | None:
            statistics = self._call("GET", path)
            config = self._call("GET", f"{path}/config") if statistics.status == HTTPStatus.OK else statistics
            for reply in (statistics, config):
                if reply.status == HTTPStatus.NOT_FOUND:
                    texts = self._errors(reply)
                    if answers.says_no_checkpointing(texts):
                        return Checkpoints(is_enabled=False)
                    if answers.says_unknown_job(texts):
                        return None
                if reply.status != HTTPStatus.OK:
                    raise self._unusable(reply)
            return self._parse(config, lambda body: answers.checkpoints(statistics.body, body))

        return self._reads(read)

    def checkpoint_progress(self, flink_job_id: str) -> CheckpointProgress | None:
        """Read how far periodic checkpoints have come. One call."""
        path = f"/jobs/{_flink_id(flink_job_id)}/checkpoints"

        def read() -> CheckpointProgress | None:
            reply = self._call("GET", path)
            if reply.status == HTTPStatus.NOT_FOUND:
                texts = self._errors(reply)
                if answers.says_no_checkpointing(texts) or answers.says_unknown_job(texts):
                    return None
            return self._parse(reply, answers.checkpoint_progress)

        return self._reads(read)

    def failures(self, flink_job_id: str) -> tuple[TaskFailure, ...] | None:
        """Read the newest root exceptions. One call."""
        path = f"/jobs/{_flink_id(flink_job_id)}/exceptions?maxExceptions={FAILURES_READ}"

        def read() -> tuple[TaskFailure, ...] | None:
            reply = self._call("GET", path, may_be_cut=True)
            if reply.status == HTTPStatus.NOT_FOUND and answers.says_unknown_job(self._errors(reply)):
                return None
            return self._parse(reply, lambda body: answers.failures(body, is_cut=reply.is_cut))

        return self._reads(read)

    def graph(self, flink_job_id: str) -> tuple[GraphVertex, ...] | None:
        """Read a job's vertices. One call."""
        path = f"/jobs/{_flink_id(flink_job_id)}"

        def read() -> tuple[GraphVertex, ...] | None:
            reply = self._call("GET", path)
            if reply.status == HTTPStatus.NOT_FOUND and answers.says_unknown_job(self._errors(reply)):
                return None
            return self._parse(reply, answers.graph)

        return self._reads(read)

    def load(self, flink_job_id: str, vertex_id: str) -> Load | None:
        """Read how a vertex spends its time. One call."""
        path = f"/jobs/{_flink_id(flink_job_id)}/vertices/{_flink_id(vertex_id)}/backpressure"

        def read() -> Load | None:
            reply = self._call("GET", path)
            if reply.status >= HTTPStatus.BAD_REQUEST:
                texts = self._errors(reply)
                if answers.says_no_readings(texts) or answers.says_unknown_job(texts):
                    return None
            return self._parse(reply, answers.load)

        return self._reads(read)

    def root_cause(self, flink_job_id: str) -> str | None:
        """Read why a job failed. One call, or two."""
        path = f"/jobs/{_flink_id(flink_job_id)}"

        def read() -> str | None:
            reply = self._call("GET", f"{path}/exceptions", may_be_cut=True)
            if reply.status == HTTPStatus.NOT_FOUND and answers.says_unknown_job(self._errors(reply)):
                return None
            found = self._parse(reply, lambda body: answers.job_failure(body, is_cut=reply.is_cut))
            if found is not None:
                return found
            # A job that could not be initialised may have no exceptions, and has a result all the same.
            reply = self._call("GET", f"{path}/execution-result", may_be_cut=True)
            if reply.status != HTTPStatus.OK and answers.says_unknown_job(self._errors(reply)):
                return None
            return self._parse(reply, lambda body: answers.job_result_failure(body, is_cut=reply.is_cut))

        return self._reads(read)

    def _get(self, path: str, parse: Callable[[bytes], _T]) -> _T:
        return self._reads(lambda: self._parse(self._call("GET", path), parse))

    def _write(self, method: str, flink_job_id: str, what: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Ask something of a job that is harmless twice."""

        def ask() -> Answer:
            reply = self._call(method, f"/jobs/{_flink_id(flink_job_id)}{what}", json=body)
            if reply.status == HTTPStatus.ACCEPTED:
                return self._parse(reply, _accepted, HTTPStatus.ACCEPTED)
            return Refused(RefusalKind.OTHER, answers.error_cause(self._errors(reply)))

        return self._carefully(ask)

    def _carefully(self, ask: Callable[[], Answer]) -> Answer:
        """Repeat what is harmless twice, and remember what may have arrived."""
        deliveries = []

        def tried() -> Answer:
            try:
                return ask()
            except FlinkUnreachableError as error:
                deliveries.append(error.delivery)
                raise

        answer = _answer(lambda: self._writes(tried))
        if isinstance(answer, NotSent) and Delivery.UNKNOWN in deliveries:
            # The second try did not leave; the first one did.
            return NoAnswer(answer.cause)
        return answer

    def _parse(self, reply: "_Reply", parse: Callable[[bytes], _T], success: int = HTTPStatus.OK) -> _T:
        if reply.status != success:
            raise self._unusable(reply)
        try:
            return parse(reply.body)
        except NotFlinksAnswerError as error:
            raise FlinkUnreachableError(f"{self._url} does not answer as Flink does: {error}") from None

    def _errors(self, reply: "_Reply") -> list[str]:
        """Read Flink's own words of refusal; whatever is not that, is no usable answer."""
        if reply.status < HTTPStatus.BAD_REQUEST or reply.status in _NOT_FLINK_ITSELF:
            raise self._unusable(reply)
        try:
            return answers.errors(reply.body, is_cut=reply.is_cut)
        except NotFlinksAnswerError:
            raise self._unusable(reply) from None

    def _unusable(self, reply: "_Reply") -> FlinkUnreachableError:
        try:
            said = answers.error_cause(answers.errors(reply.body, is_cut=reply.is_cut))
        except NotFlinksAnswerError:
            said = "not in Flink's words"
        return FlinkUnreachableError(f"{self._url} answered {reply.status}: {said}")

    def _call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: Any = None,
        kind: str | None = None,
        read_s: float | None = None,
        may_be_cut: bool = False,
    ) -> "_Reply":
        """Send one request and read the whole bounded answer, or where it is a stack trace that may be cut, its beginning.

        Raises:
            FlinkUnreachableError: there is none; `delivery` says whether the request can have arrived.
        """
        wait_s = self._timeouts.read_s if read_s is None else read_s
        try:
            # A stream is read once. An upload comes after reads of the same look, which have found what is accepted.
            with self._session.sent(
                lambda session: session.request(
                    method,
                    self._url + path,
                    json=json,
                    data=data,
                    headers={"Content-Type": kind} if kind else None,
                    timeout=(self._timeouts.connect_s, wait_s),
                    allow_redirects=False,
                    stream=True,
                ),
                is_repeatable=data is None,
            ) as response:
                return _reply(response, wait_s, may_be_cut=may_be_cut)
        except (requests.RequestException, HTTPError, OSError, NotFlinksAnswerError) as error:
            delivery = Delivery.NOT_SENT if _is_proof_of_not_sent(error) else Delivery.UNKNOWN
            message = f"{self._url} gives no answer: {_told(error)}"
            raise FlinkUnreachableError(message, delivery) from error


class FlinkRestConnections:
    """`FlinkConnections` that keeps one session per registered cluster.

    Args:
        timeouts: of its calls.
        secrets: holds the credentials of clusters; None where only clusters that ask for none are reached.
        is_local: whether this is a laptop, where a cluster may be on loopback and needs no TLS.
        reads: how reads are repeated.
        writes: how harmless writes are repeated.
    """

    def __init__(
        self,
        timeouts: Timeouts | None = None,
        *,
        secrets: Secrets | None = None,
        is_local: bool = False,
        reads: Retrying = READS,
        writes: Retrying = IDEMPOTENT_WRITES,
    ) -> None:
        self._secrets = secrets
        self._is_local = is_local
        self._timeouts = timeouts or Timeouts()
        self._reads = reads
        self._writes = writes
        self._sessions: dict[str, tuple[Cluster, ClusterSession]] = {}

    def connect(self, cluster: Cluster) -> FlinkRest:
        """Give the gateway of a cluster. Makes no call.

        Raises:
            RejectedError: the cluster is registered in a way that cannot be used; the message says why.
        """
        known, session = self._sessions.get(cluster.name, (None, None))
        if session is None or known != cluster:
            if session is not None:
                session.close()
            session = ClusterSession(cluster, self._secrets, is_local=self._is_local)
            self._sessions[cluster.name] = (cluster, session)
        return FlinkRest(cluster.url, session, self._timeouts, reads=self._reads, writes=self._writes)


@dataclass(frozen=True)
class _Reply:
    status: int
    body: bytes
    is_cut: bool = False
    """Whether a stack trace went on; its beginning is enough."""


class _Counted:
    """A stream that says how long it is, which `MultipartEncoder` needs, and notices when it is not."""

    def __init__(self, content: IO[bytes], size_bytes: int) -> None:
        self._content = content
        self.len = size_bytes
        """Bytes that are still to come."""

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        wanted = self.len if size < 0 else min(size, self.len)
        chunk = self._content.read(wanted) if wanted else b""
        if wanted and not chunk:
            raise OSError(f"the content ended {self.len} bytes early")
        self.len -= len(chunk)
        return chunk


def _answer(call: Callable[[], Answer]) -> Answer:
    try:
        return call()
    except FlinkUnreachableError as error:
        return NotSent(str(error)) if error.delivery is Delivery.NOT_SENT else NoAnswer(str(error))
    except RejectedError as error:
        # Nobody but Flink and the controller makes ids, so this is a fault of ours; the promise is not to raise.
        return NotSent(str(error))


def _reply(response: requests.Response, wait_s: float, *, may_be_cut: bool) -> _Reply:
    """Read a body up to its limit; what is beyond is not worth its memory, and what drips not worth waiting for."""
    limit = ANSWER_LIMIT_BYTES if response.ok else ERROR_LIMIT_BYTES
    # requests bounds the wait for each piece only, so that a slow sender could hold a function for ever.
    deadline = time.monotonic() + wait_s
    body = bytearray()
    while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
        body += chunk
        if len(body) > limit:
            if response.ok and not may_be_cut:
                raise NotFlinksAnswerError(f"the answer is longer than {limit} bytes")
            return _Reply(response.status_code, bytes(body[:limit]), is_cut=True)
        if time.monotonic() > deadline:
            raise NotFlinksAnswerError(f"the answer was not complete after {wait_s:g} s")
    return _Reply(response.status_code, bytes(body))


def _plan_request(submit: Submit) -> dict[str, Any]:
    body: dict[str, Any] = {
        "jobId": _flink_id(submit.flink_job_id),
        "programArgsList": list(submit.args),
        "parallelism": submit.parallelism,
        "flinkConfiguration": dict(submit.configuration),
    }
    if submit.entry_class is not None:
        body["entryClass"] = submit.entry_class
    return body


def _run_request(submit: Submit) -> dict[str, Any]:
    body = {**_plan_request(submit), "allowNonRestoredState": submit.allow_non_restored_state}
    if submit.application_id is not None:
        body["applicationId"] = _flink_id(submit.application_id)
    if submit.restore_from is not None:
        body |= {"savepointPath": submit.restore_from, "claimMode": "NO_CLAIM"}
    return body


def _accepted(body: bytes) -> Answer:
    answers.check_object(body)
    return Accepted()


def _is_proof_of_not_sent(error: BaseException) -> bool:
    """Tell whether no byte of a request can have left: there never was a connection, or not to whom we trust.

    A connection that broke is no proof, not even a stale one that was reset at once: the other side may have read the
    request first.
    """
    outer = error.args[0] if error.args else None
    reason = outer.reason if isinstance(outer, MaxRetryError) else outer
    if isinstance(reason, TLSError):
        # Certificates are checked before the first byte of a request.
        return bool(reason.args) and isinstance(reason.args[0], ssl.SSLCertVerificationError)
    return isinstance(reason, ConnectTimeoutError)


def _told(error: BaseException) -> str:
    """Name an error by its innermost reason; the outer ones only say that something failed."""
    found: Any = error
    while isinstance(inner := getattr(found, "reason", None) or (found.args[0] if found.args else None), BaseException):
        found = inner
    return answers.one_line(f"{type(found).__name__}: {found}")


def _flink_id(text: str) -> str:
    if not _FLINK_ID.fullmatch(text):
        raise RejectedError(f"{shown(text)} is no id of Flink: write 32 lower-case hex digits")
    return text


def _jar(text: str) -> str:
    if not answers.JAR_ID.fullmatch(text) or set(text) == {"."}:
        raise RejectedError(f"{shown(text)} is no name of a jar: write letters, digits, dots, underscores and hyphens")
    return text
