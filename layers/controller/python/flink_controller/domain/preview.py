"""What applying a spec would do, told before anything is done: the rules of the planner, asked without their effects.

The acceptance of the spec is the planner's own code, run on a copy of the status; what follows from it is told here for the
case that nothing goes wrong on the way.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from flink_controller.domain import batch, restoring
from flink_controller.domain.acceptance import accept
from flink_controller.domain.artifact import Artifact, ArtifactHead, Value
from flink_controller.domain.change import SpecChange, classify
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.observation import Observation
from flink_controller.domain.plan import Draft, Facts, Policy, living, target_of
from flink_controller.domain.run_arguments import iso
from flink_controller.domain.spec import JobSpec, UpgradeMode, ValidSpec, field_paths
from flink_controller.domain.status import Attempt, DesiredState, JobStatus, JobType, Operation, OperationKind
from flink_controller.domain.trust import NamespacePolicy

_NOTES = {
    "env_vars": "env_vars travel as Flink's global job parameters; they are no process environment",
    "monitoring.log_level": "monitoring.log_level travels as global job parameter log_level; it sets no logger",
}


class Step(StrEnum):
    """What the controller would do first."""

    NOTHING = "nothing"
    DEPLOY = "deploy"
    TAKE_OVER = "take over"
    """The running job already is what the spec asks for; only the record changes."""
    UPGRADE = "upgrade"
    RESCALE = "rescale"
    MOVE = "move"
    RESTART = "restart"
    RESTORE = "restore"
    SUSPEND = "suspend"
    SAVEPOINT = "savepoint"
    RUN = "run"
    """A batch job runs once."""
    SCHEDULE = "schedule"
    """A batch job runs when its next instant comes."""
    WAIT = "wait"
    REFUSE = "refuse"


class State(StrEnum):
    """What becomes of the job's state."""

    UNTOUCHED = "untouched"
    KEPT = "kept"
    INITIAL = "initial"
    """There is none yet; the job starts from a place that the spec names."""
    NONE = "none"
    """There is none yet; the job starts empty."""
    DROPPED = "dropped"
    REPLACED = "replaced"
    """The job starts from a place that the spec names; what there was is kept beside."""


class Outputs(StrEnum):
    """Whether what the job wrote may be written again."""

    NOT_REPEATED = "not repeated"
    REPEATED = "repeated"


class Preview(Value):
    """What would happen. Fields may be added."""

    job_id: str
    step: Step
    summary: str
    """One sentence for people."""
    change: str | None = None
    """Class of the change against the running revision: NONE, IGNORE, RESCALE, UPGRADE or REDEPLOY."""
    changed_fields: tuple[str, ...] = ()
    """Paths that differ from the stored item."""
    revision: int | None = None
    """Number that the revision would get, or has."""
    restart: bool = False
    """Whether the running job is stopped and started again."""
    state: State = State.UNTOUCHED
    starts_from: str | None = None
    """Which state the next attempt starts from, in words or as a path."""
    outputs: Outputs = Outputs.NOT_REPEATED
    outputs_because: str = ""
    waits_for: str | None = None
    """What must come first, such as an upload."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """Fields of the spec without effect on a job of its type."""


def notes_on(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Say of the fields that are set where they are not what their names suggest."""
    return tuple(note for path, note in _NOTES.items() if _at(item, path))


def changed_fields(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> tuple[str, ...]:
    """List the paths at which two spec items differ; nothing for a new one."""
    if old is None:
        return ()
    paths = [path for path, *_ in field_paths()]
    return tuple(path for path in paths if _at(old, path) != _at(new, path))


def preview(
    view: ValidSpec,
    status: JobStatus | None,
    *,
    stored: Mapping[str, Any] | None,
    item: Mapping[str, Any],
    artifact: ArtifactHead | None,
    pinned: Artifact | None,
    cluster: Cluster | None,
    running_spec: JobSpec | None,
    policy: Policy,
    asked_of_namespace: NamespacePolicy,
    now: datetime,
) -> Preview:
    """Tell what applying a spec would do.

    Args:
        view: the new spec.
        status: what is recorded of the job; None: nothing.
        stored: the spec item as it is now.
        item: the item that would be written.
        artifact: what is recorded of the object that the new spec names.
        pinned: the admitted version with the pinned digest.
        cluster: the cluster that the new spec names; None: nobody registered it.
        running_spec: spec of the revision on Flink, for where its savepoints go.
        policy: the installation's numbers.
        asked_of_namespace: what operators say of the job's namespace.
        now: the time of asking.
    """
    job_id = view.spec.job_id
    # A burst of uploads only delays; what is told is what comes once it is over.
    policy = replace(policy, debounce=timedelta(0))
    before = status or JobStatus(job_id=job_id, created_at=now, updated_at=now)
    observation = Observation(cluster=cluster, flink=None, artifact=artifact, pinned=pinned)
    draft = Draft(Facts(job_id, view, observation, now, policy), before.model_copy(update={"waiting": None}))
    accept(draft)
    fault = asked_of_namespace.fault_of(view.spec.cluster)
    asked = _Asked(view.spec, before, draft.status, cluster, running_spec, fault=fault, now=now)
    found = asked.preview()
    return found.model_copy(
        update={
            "changed_fields": changed_fields(stored, item),
            "notes": (*found.notes, *notes_on(item)),
            "warnings": view.warnings,
        }
    )


class _Asked:
    """One question: the status before and after acceptance, and what follows from the difference."""

    def __init__(
        self,
        spec: JobSpec,
        before: JobStatus,
        after: JobStatus,
        cluster: Cluster | None,
        running_spec: JobSpec | None,
        *,
        fault: str | None,
        now: datetime,
    ) -> None:
        self.now = now
        self.fault = fault
        self.spec = spec
        self.before = before
        self.after = after
        self.cluster = cluster
        self.running_spec = running_spec
        self.alive = living(before)

    def preview(self) -> Preview:
        if self.after.rejected_spec_hash is not None:
            return self._say(
                Step.REFUSE,
                "refused: job_type stays what it was once the job has run; what runs is left alone"
                if self.spec.job_type is not self.before.job_type
                else "refused: deployment.initial_savepoint_path applies to the very first start only; what runs is left alone",
            )
        if self.spec.job_type is JobType.BATCH:
            return self._batch()
        if self.after.desired_state is DesiredState.SUSPENDED:
            return self._suspend()
        restore = self.spec.deployment.restore
        if restore.nonce is not None and restore.nonce != self.before.restore_nonce:
            return self._restore()
        if self.alive is None:
            return self._start()
        operation = self.before.operation
        if operation is not None and operation.kind in {OperationKind.STOP, OperationKind.CANCEL}:
            return self._after_stop(operation)
        return self._change(self.alive)

    def _say(self, step: Step, summary: str, **more: Any) -> Preview:
        target = target_of(self.after)
        return Preview(
            job_id=self.spec.job_id, step=step, summary=summary, revision=None if target is None else target.number, **more
        )

    def _batch(self) -> Preview:
        """A batch job: active runs keep what they started with, so only the next run changes."""
        config, runs, waits = self.spec.batch_config, self.after.runs, self._waits()
        if self.after.desired_state is DesiredState.SUSPENDED:
            return self._say(Step.SUSPEND, "no run is started until the job is resumed; active runs finish")
        if config.max_runs is not None and runs.started >= config.max_runs:
            return self._say(Step.NOTHING, f"nothing: {runs.started} runs have started, and max_runs is {config.max_runs}")
        target, schedule = target_of(self.after), batch.schedule_of(config)
        is_new = runs.served is None or (target is not None and classify(runs.served, target) > SpecChange.IGNORE)
        is_asked = config.run_now.nonce is not None and config.run_now.nonce != runs.nonce
        if is_asked or (schedule is None and is_new):
            step, told = Step.RUN, "the job runs once, now; active runs keep their revision"
        elif schedule is None:
            return self._say(Step.NOTHING, "nothing: this revision has run; flinkctl run --now runs it again")
        else:
            next_at = schedule.next_fire(max(self.now, config.start) if config.start is not None else self.now)
            is_over = next_at is None or (config.end is not None and next_at > config.end)
            if next_at is None or is_over:
                return self._say(Step.NOTHING, "nothing: the schedule has no further instant")
            step, told = Step.SCHEDULE, f"the next run is that of {iso(next_at)}; active runs keep their revision"
        if waits is not None:
            return self._say(Step.WAIT, f"{told}, once there is what it waits for: {waits}", waits_for=waits)
        return self._say(step, told, state=State.NONE)

    def _suspend(self) -> Preview:
        if self.alive is None:
            return self._say(Step.NOTHING, "the job stays suspended; the new spec counts from its resume")
        return self._say(
            Step.SUSPEND,
            "the job is stopped with a savepoint, from which a resume goes on",
            state=State.KEPT,
            starts_from=self._new_savepoint(),
        )

    def _restore(self) -> Preview:
        origin, waits = self._place(self.spec.deployment.restore.from_), self._waits()
        notes = [f"where there is no complete savepoint or checkpoint at {origin}, nothing is touched"]
        if self.alive is not None:
            notes.append(
                f"the state that it has now is kept in {self._new_savepoint()}; the job goes back to it should it not start"
            )
        told = "the job is stopped and starts" if self.alive is not None else "the job starts"
        more: dict[str, Any] = {
            "restart": self.alive is not None,
            "state": State.REPLACED,
            "starts_from": origin,
            "outputs": Outputs.REPEATED,
            "outputs_because": self._because(Outputs.REPEATED),
            "notes": tuple(notes),
        }
        if waits is not None:
            return self._say(
                Step.WAIT, f"{told} from {origin}, once there is what it waits for: {waits}", waits_for=waits, **more
            )
        return self._say(Step.RESTORE, f"{told} from {origin}", **more)

    def _start(self) -> Preview:
        waits = self._waits()
        if self.before.attempt is None:
            origin = self._initial_path()
            state, outputs = (State.NONE if origin is None else State.INITIAL), Outputs.NOT_REPEATED
            told, because = "starts for the first time", "it is the first start"
        else:
            state, origin, outputs = self._state_at_rest()
            told, because = "starts again", self._because(outputs)
        told = f"{told}, {f'from {origin}' if origin else 'without state'}"
        if self.after.is_completed:
            return self._say(
                Step.NOTHING, "the job has finished; flinkctl restart, or a change of the spec, starts it again"
            )
        if self.after.halted is not None:
            return self._say(
                Step.NOTHING,
                f"the job stays FAILED ({self.after.halted}) until what makes a revision changes, or flinkctl restart",
            )
        more: dict[str, Any] = {
            "state": state,
            "starts_from": origin,
            "outputs": outputs,
            "outputs_because": because,
        }
        if waits is not None:
            return self._say(Step.WAIT, f"the job {told}, once there is what it waits for: {waits}", waits_for=waits, **more)
        return self._say(Step.DEPLOY, f"the job {told}", **more)

    def _after_stop(self, operation: Operation) -> Preview:
        """A stop that has begun is completed, whatever the spec says meanwhile; the next attempt goes on from its state."""
        told = f"the {operation.kind} for {operation.purpose} that is under way is completed first"
        is_stop = operation.kind is OperationKind.STOP
        if self.spec.deployment.upgrade_mode is UpgradeMode.STATELESS:
            state, origin, outputs = State.DROPPED, None, Outputs.REPEATED
        else:
            state, origin = State.KEPT, "its savepoint" if is_stop else "the newest checkpoint"
            outputs = Outputs.NOT_REPEATED if is_stop else Outputs.REPEATED
        return self._say(
            Step.RESTART,
            f"{told}; then the job starts {f'from {origin}' if origin else 'without state'}",
            restart=True,
            state=state,
            starts_from=origin,
            outputs=outputs,
            outputs_because=self._because(outputs),
            waits_for=self._waits(),
        )

    def _change(self, alive: Attempt) -> Preview:
        running, target, deployment = self.before.running, target_of(self.after), self.spec.deployment
        waits = self._waits()
        change = SpecChange.NONE if running is None or target is None else classify(running, target)
        new = target is not None and running is not None and target.number != running.number
        if new and change is SpecChange.RESCALE and self._is_in_place(alive):
            return self._rescale(alive)
        if new and change > SpecChange.IGNORE:
            return self._upgrade(alive, change, waits)
        wants_restart = deployment.restart_nonce is not None and deployment.restart_nonce != self.before.restart_nonce
        wants_savepoint = (
            deployment.savepoint_nonce is not None and deployment.savepoint_nonce != self.before.savepoint_nonce
        )
        if wants_restart:
            return self._restarted(Step.RESTART, "the job is restarted", alive, change, waits)
        if wants_savepoint:
            return self._say(
                Step.SAVEPOINT,
                "a savepoint is taken; the job runs on",
                change=change.name,
                starts_from=self._new_savepoint(),
            )
        if waits is not None:
            return self._say(
                Step.WAIT, f"what runs is left alone until there is {waits}", change=change.name, waits_for=waits
            )
        if new or change is SpecChange.IGNORE:
            return self._say(Step.TAKE_OVER, "taken over without touching the running job", change=change.name)
        return self._say(Step.NOTHING, "nothing: what runs already is what the spec asks for", change=change.name)

    def _is_in_place(self, alive: Attempt) -> bool:
        can = self.cluster is not None and self.cluster.adaptive_scheduler and alive.settled_at is not None
        is_told_apart = self.running_spec is not None and self.running_spec.deployment.parallelism > 1
        return can and is_told_apart and self.spec.deployment.upgrade_mode is not UpgradeMode.BLUE_GREEN

    def _rescale(self, alive: Attempt) -> Preview:
        assert self.running_spec is not None
        before, after = self.running_spec.deployment.parallelism, self.spec.deployment.parallelism
        return self._say(
            Step.RESCALE,
            f"the running job goes from parallelism {before} to {after} in place: Flink restarts its tasks from its newest"
            " checkpoint",
            change=SpecChange.RESCALE.name,
            state=State.KEPT,
            starts_from=f"its newest checkpoint below {alive.checkpoint_root}/{alive.flink_job_id}",
            outputs=Outputs.REPEATED,
            outputs_because=self._because(Outputs.REPEATED),
            notes=("should Flink not do it in time, it is made by an upgrade",),
        )

    def _upgrade(self, alive: Attempt, change: SpecChange, waits: str | None) -> Preview:
        is_move = self.spec.cluster != alive.cluster
        step = Step.MOVE if is_move else Step.UPGRADE
        told = f"the job moves from cluster {alive.cluster} to {self.spec.cluster}" if is_move else "the job is upgraded"
        return self._restarted(step, told, alive, change, waits)

    def _restarted(self, step: Step, told: str, alive: Attempt, change: SpecChange, waits: str | None) -> Preview:
        state, origin, outputs = self._state_of_a_stop(alive)
        notes = []
        if self.spec.deployment.upgrade_mode is UpgradeMode.BLUE_GREEN:
            notes.append(
                "blue-green: the new revision runs beside the old one until it is healthy, in free slots of its own; what is"
                " put out between its savepoint and the switch is put out twice, and the two must not share transactional ids"
            )
        if (
            state is State.KEPT
            and outputs is Outputs.NOT_REPEATED
            and self.spec.deployment.savepoint_fallback == "last-state"
        ):
            notes.append(
                "should no savepoint be possible in time, the newest checkpoint serves, and what was written since is repeated"
            )
        stable = self.before.stable
        if stable is not None and self.spec.deployment.rollback.enabled and step is not Step.RESTART:
            deadline = self.spec.deployment.rollback.deadline_seconds
            notes.append(f"a revision that is not healthy within {deadline} s is rolled back to revision {stable.number}")
        more: dict[str, Any] = {
            "change": change.name,
            "restart": True,
            "state": state,
            "starts_from": origin,
            "outputs": outputs,
            "outputs_because": self._because(outputs),
            "notes": tuple(notes),
        }
        how = f"stopped and started from {origin}" if origin else "cancelled and started empty"
        if waits is not None:
            return self._say(Step.WAIT, f"{told}, once there is what it waits for: {waits}", waits_for=waits, **more)
        return self._say(step, f"{told}: {how}", **more)

    def _state_of_a_stop(self, alive: Attempt) -> tuple[State, str | None, Outputs]:
        """Follow the planner's choice of how a live attempt is ended for its successor."""
        mode = self.spec.deployment.upgrade_mode
        if mode is UpgradeMode.STATELESS:
            return State.DROPPED, None, Outputs.REPEATED
        has_checkpoint = alive.retains_state and (alive.has_completed_checkpoint or alive.is_checkpointed is True)
        if mode is UpgradeMode.LAST_STATE and has_checkpoint:
            return State.KEPT, f"its newest checkpoint below {alive.checkpoint_root}/{alive.flink_job_id}", Outputs.REPEATED
        return State.KEPT, self._new_savepoint(), Outputs.NOT_REPEATED

    def _state_at_rest(self) -> tuple[State, str | None, Outputs]:
        attempt, handover = self.before.attempt, self.before.handover
        if self.spec.deployment.upgrade_mode is UpgradeMode.STATELESS:
            return State.DROPPED, None, Outputs.REPEATED
        assert attempt is not None
        if handover is None or handover.of_attempt != attempt.number:
            return State.KEPT, "the newest state that the last attempt left behind", Outputs.REPEATED
        if handover.path is None:
            return State.NONE, None, Outputs.REPEATED
        is_savepoint = self.before.savepoint is not None and self.before.savepoint.path == handover.path
        return State.KEPT, handover.path, Outputs.NOT_REPEATED if is_savepoint else Outputs.REPEATED

    def _new_savepoint(self) -> str:
        deployment = (self.running_spec or self.spec).deployment
        path = deployment.savepoint_path.strip("/")
        root = "" if self.cluster is None or self.before.cluster != self.cluster.name else f"{self.cluster.savepoint_root}/"
        return f"a new savepoint below {root}{self.spec.name.namespace}/{path}"

    def _initial_path(self) -> str | None:
        return self._place(self.spec.deployment.initial_savepoint_path)

    def _place(self, path: str | None) -> str | None:
        return path if self.cluster is None else restoring.place(self.spec, self.cluster, path)

    def _waits(self) -> str | None:
        if self.cluster is None:
            return f"cluster {self.spec.cluster}, which nobody registered (an operator runs flinkctl cluster add {self.spec.cluster})"
        if self.fault is not None:
            return f"another cluster or policy: {self.fault}"
        if self.after.waiting is not None:
            return self.after.waiting[1]
        return None

    def _because(self, outputs: Outputs) -> str:
        if outputs is Outputs.NOT_REPEATED:
            return "nothing is written between the state that is kept and the stop"
        if self.spec.deployment.upgrade_mode is UpgradeMode.STATELESS:
            return "the job forgets how far it had come; its sources decide where they begin"
        return "what was written after the state that is kept is written again, unless the sinks are transactional"


def _at(document: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(document, Mapping):
            return None
        document = document.get(part)
    return document
