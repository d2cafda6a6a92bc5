"""Wake the jobs whose time has come, found by an index: the cost grows with what is due, not with what exists."""

from flink_controller.domain.status import DueKind
from flink_controller.ports import Ports


def wake_due(ports: Ports, kind: DueKind) -> list[str]:
    """Wake every job with something of this kind due now; the look decides what is done about it.

    Raises:
        TransientError: the index or the queue does not answer; the next tick does the same again.
    """
    job_ids = list(dict.fromkeys(ports.statuses.due(kind, ports.clock.now())))
    if job_ids:
        ports.follow_ups.send_now(job_ids)
    return job_ids
