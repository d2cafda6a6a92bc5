"""Specs: `validate`, `plan`, `apply`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Annotated, Any

import typer

from flink_controller.cli.changes import signed, unsigned
from flink_controller.cli.context import Remote, remote_of, session_of
from flink_controller.cli.document import FileOption, read_documents
from flink_controller.cli.fault import FAILED, FailureError
from flink_controller.cli.output import Format, FormatOption, emit, print_pairs, printable, say, tell
from flink_controller.cli.waiting import wait_for
from flink_controller.domain.errors import RejectedError, StaleWriteError
from flink_controller.domain.goal import Goal
from flink_controller.domain.plan import living
from flink_controller.domain.preview import Preview, Step, notes_on, preview
from flink_controller.domain.spec import (
    AbandonedSpec,
    InvalidSpec,
    JobSpec,
    NoSpec,
    ValidSpec,
    canonical_json,
    read_spec,
    recorded_spec,
)
from flink_controller.domain.status import DesiredState, JobStatus

DEFAULT_TIMEOUT_SECONDS = 600
"""Twice the default deadline of a revision's health, so that a rollback is still told."""


@dataclass(frozen=True)
class Checked:
    """A document with what the controller's own code says about it."""

    job_id: str
    valid: bool
    faults: tuple[str, ...]
    warnings: tuple[str, ...]
    """Fields without effect on a job of its type."""
    notes: tuple[str, ...]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: flinkctl validate -f job.yaml")(validate)
    app.command(epilog="Example: flinkctl plan -f job.yaml")(plan)
    app.command(epilog="Example: flinkctl apply -f job.yaml --wait")(apply)


def validate(file: FileOption, output: FormatOption = Format.TABLE) -> None:
    """Check a spec offline, with the controller's own code.

    Lists every fault with its path, and the fields that have no effect on a job of its type.
    """
    checked = [_check(document) for document in read_documents(file)]

    def table() -> None:
        for one in checked:
            _tell_check(one)

    emit({"items": [asdict(one) for one in checked]}, output, table=table)
    if not all(one.valid for one in checked):
        raise typer.Exit(FAILED)


def plan(context: typer.Context, file: FileOption, output: FormatOption = Format.TABLE) -> None:
    """Tell what applying a spec would do, and do nothing.

    Restart or not, which state the job would start from, whether outputs would be repeated, what it would wait for.
    """
    documents = _valid_documents(file)
    session, remote = session_of(context), remote_of(context)
    previews = [_preview(remote, document, view, session.clock.now()) for document, view in documents]

    def table() -> None:
        for index, one in enumerate(previews):
            if index:
                say("")
            _tell_preview(one)

    emit({"items": [one.model_dump(mode="json") for one in previews]}, output, table=table)
    if any(one.step is Step.REFUSE for one in previews):
        raise typer.Exit(FAILED)


def apply(
    context: typer.Context,
    file: FileOption,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job is stable (or completed, or suspended).")] = False,  # noqa: FBT002  # a flag
    timeout: Annotated[
        int, typer.Option(min=1, metavar="SECONDS", help="How long --wait waits, in seconds.")
    ] = DEFAULT_TIMEOUT_SECONDS,
) -> None:
    """Write specs; the controller does the rest.

    Each item is written only if it is still as it was read. Nothing is written when any document has a fault.
    """
    session, remote = session_of(context), remote_of(context)
    applicable = [_applicable(remote, document) for document in _documents_without_fault(file)]
    written = [(document, _write(remote, document, stored)) for document, stored in applicable]
    for document, outcome in written:
        say(f"{document['job_id']} {outcome}")
    if not wait:
        return
    deadline = session.clock.now() + timedelta(seconds=timeout)
    for document, _ in written:
        left = max(deadline - session.clock.now(), timedelta(seconds=1))
        say(wait_for(session, document["job_id"], _goal_of(document), left, or_else=Goal.COMPLETED))


def _check(document: Mapping[str, Any]) -> Checked:
    job_id = document.get("job_id")
    name = job_id if isinstance(job_id, str) else ""
    view = read_spec(name, document)
    match view:
        case InvalidSpec(faults=faults):
            return Checked(name, valid=False, faults=faults, warnings=(), notes=())
        case ValidSpec(warnings=warnings):
            return Checked(name, valid=True, faults=(), warnings=warnings, notes=notes_on(document))
        case AbandonedSpec() | NoSpec():
            return Checked(name, valid=True, faults=(), warnings=(), notes=("asks the controller to forget the job",))


def _tell_check(one: Checked) -> None:
    name = printable(one.job_id) or "(no job_id)"
    say(f"{name}: valid" if one.valid else f"{name}: {_count(one.faults, 'fault')}")
    for fault in one.faults:
        say(f"  {fault}")
    for warning in one.warnings:
        say(f"  warning: {warning} has no effect on a job of its type")
    for note in one.notes:
        say(f"  note: {note}")


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _documents_without_fault(file: str) -> list[dict[str, Any]]:
    documents = read_documents(file)
    checked = [_check(document) for document in documents]
    wrong = [one for one in checked if not one.valid]
    for one in wrong:
        for fault in one.faults:
            tell(f"{one.job_id or '(no job_id)'}: {fault}")
    if wrong:
        raise FailureError(f"{_count([fault for one in wrong for fault in one.faults], 'fault')}; nothing was written")
    return documents


def _valid_documents(file: str) -> list[tuple[dict[str, Any], ValidSpec]]:
    found = []
    for document in _documents_without_fault(file):
        view = read_spec(document["job_id"], document)
        if not isinstance(view, ValidSpec):
            raise FailureError(
                f"{printable(document['job_id'])}: state abandoned has no plan; see flinkctl delete --abandon"
            )
        found.append((document, view))
    return found


def _applicable(remote: Remote, document: dict[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    stored = remote.specs.read(document["job_id"])
    is_same = _is_same(document, stored)
    if document.get("state") == DesiredState.ABANDONED.value and not is_same:
        raise FailureError(f"{document['job_id']}: a job is abandoned with flinkctl delete {document['job_id']} --abandon")
    return document, stored


def _write(remote: Remote, document: dict[str, Any], stored: Mapping[str, Any] | None) -> str:
    if _is_same(document, stored):
        return "unchanged"
    try:
        remote.specs.replace(document["job_id"], signed(remote, document), expected=stored)
    except StaleWriteError as error:
        raise FailureError(
            f"{document['job_id']}: changed since it was read, and was not written; see flinkctl get {document['job_id']} --spec,"
            " then run this again"
        ) from error
    return "created" if stored is None else "changed"


def _is_same(document: Mapping[str, Any], stored: Mapping[str, Any] | None) -> bool:
    return stored is not None and canonical_json(unsigned(stored)) == canonical_json(unsigned(document))


def _goal_of(document: Mapping[str, Any]) -> Goal:
    return Goal.SUSPENDED if document.get("state") == DesiredState.SUSPENDED.value else Goal.STABLE


def _preview(remote: Remote, document: dict[str, Any], view: ValidSpec, now: Any) -> Preview:
    spec = view.spec
    bucket = remote.policy.bucket_of(spec.artifact_path)
    stored = remote.specs.read(spec.job_id)
    status = remote.statuses.read(spec.job_id)
    pin = spec.pinned_digest
    version = None if pin is None else remote.records.admitted_with_digest(bucket, spec.artifact_path, pin)
    try:
        asked_of_namespace = remote.registry.policy(spec.name.namespace)
    except RejectedError as error:
        raise FailureError(f"{error}; an operator writes the policy again with flinkctl policy set") from error
    try:
        cluster = remote.registry.cluster(spec.cluster)
    except RejectedError as error:
        raise FailureError(
            f"cluster {spec.cluster}: {error}; an operator registers it again with flinkctl cluster add"
        ) from error
    return preview(
        view,
        status,
        stored=None if stored is None else unsigned(stored),
        item=unsigned(document),
        artifact=remote.records.head(bucket, spec.artifact_path),
        pinned=None if version is None else version.artifact,
        cluster=cluster,
        running_spec=None if status is None else _running_spec(remote, status),
        policy=remote.policy,
        asked_of_namespace=asked_of_namespace,
        now=now,
    )


def _running_spec(remote: Remote, status: JobStatus) -> JobSpec | None:
    attempt = living(status)
    revision = None if attempt is None else remote.statuses.revision(status.job_id, attempt.revision)
    return None if revision is None else recorded_spec(revision)


def _tell_preview(one: Preview) -> None:
    say(f"{one.job_id}: {one.summary}")
    print_pairs(
        [
            ("  step", one.step.value),
            ("  change", one.change or "first"),
            ("  revision", one.revision if one.revision is not None else "none yet"),
            ("  changed fields", ", ".join(one.changed_fields)),
            ("  restart", "yes" if one.restart else "no"),
            ("  state", one.state.value),
            ("  starts from", one.starts_from),
            ("  outputs", f"{one.outputs.value}{': ' if one.outputs_because else ''}{one.outputs_because}"),
            ("  waits for", one.waits_for),
        ]
    )
    for note in one.notes:
        say(f"  note: {note}")
    for warning in one.warnings:
        say(f"  warning: {warning} has no effect on a job of its type")
