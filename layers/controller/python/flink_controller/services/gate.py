"""What stands between a look and a cluster: pauses and the cluster's circuit, read together once a look."""

from datetime import datetime

from flink_controller.domain.circuit import Circuit
from flink_controller.domain.errors import FlinkUnreachableError, StaleWriteError, TransientError
from flink_controller.domain.observation import FlinkUnreachable
from flink_controller.domain.pauses import scopes_of
from flink_controller.domain.status import Pause
from flink_controller.ports import Barriers, Circuits

_TRIES = 3
"""Of counting a failure that others count at the same time: enough for one burst of them to open the circuit."""


class Gate:
    """The gate of one look. Read anew when the job turns to another cluster.

    Args:
        circuits: where the barriers are recorded.
        job_id: the job that is looked at.
        owner: names this look as a prober.
    """

    def __init__(self, circuits: Circuits, job_id: str, owner: str) -> None:
        self._circuits = circuits
        self._job_id = job_id
        self._prober = f"{owner} for {job_id}"
        self._cluster = ""
        self._scopes: tuple[str, ...] = ()
        self._barriers = Barriers()

    def pause(self, cluster: str, destination: str) -> Pause | None:
        """Give the widest pause in force for the job on these clusters; the first is the one that is asked."""
        scopes = scopes_of(self._job_id, (cluster, destination))
        if (cluster, scopes) != (self._cluster, self._scopes):
            self._cluster, self._scopes = cluster, scopes
            return self.pause_now()
        return self._barriers.pause

    def pause_now(self) -> Pause | None:
        """Read anew what was asked for last."""
        self._barriers = self._circuits.read(self._cluster, self._scopes)
        return self._barriers.pause

    def refusal(self, now: datetime) -> FlinkUnreachable | None:
        """Say why the cluster must not be asked now; None when it may, which an open circuit lets one look at a time."""
        circuit = self._barriers.circuit
        if circuit.is_closed or circuit.prober == self._prober:
            return None
        if not circuit.allows(now):
            return circuit.refusal()
        probing = circuit.probed_by(self._prober, now)
        try:
            self._circuits.replace(self._cluster, probing, expected=circuit)
        except TransientError:
            # Somebody else probes, or the store does not answer: one who does not know must not be a second prober.
            return probing.refusal()
        self._barriers = Barriers(probing, self._barriers.pause)
        return None

    def answered(self) -> None:
        """Note that the cluster has answered."""
        self._barriers = Barriers(closed(self._circuits, self._cluster, self._barriers.circuit), self._barriers.pause)

    def unanswered(self, now: datetime, error: FlinkUnreachableError) -> None:
        """Note that it has not."""
        circuit = failed(self._circuits, self._cluster, self._barriers.circuit, now, error, by=self._prober)
        self._barriers = Barriers(circuit, self._barriers.pause)


def closed(circuits: Circuits, cluster: str, known: Circuit) -> Circuit:
    """Record an answer, if that changes anything. What cannot be recorded is found out again by the next call."""
    after = known.after_success()
    return known if after is known else _replaced(circuits, cluster, known, after)


def failed(
    circuits: Circuits, cluster: str, known: Circuit, now: datetime, error: FlinkUnreachableError, *, by: str
) -> Circuit:
    """Record a failure, if that changes anything."""
    for _ in range(_TRIES):
        after = known.after_failure(now, str(error), by=by, reason=error.reason)
        if after is known:
            break
        try:
            circuits.replace(cluster, after, expected=known)
        except StaleWriteError:
            known = circuits.read(cluster).circuit
        except TransientError:
            break
        else:
            return after
    return known


def _replaced(circuits: Circuits, cluster: str, before: Circuit, after: Circuit) -> Circuit:
    try:
        circuits.replace(cluster, after, expected=before)
    except TransientError:
        return before
    return after
