"""How a status is shown: the part of it that indexes carry."""

from flink_controller.domain.status import JobStatus, StatusSummary


def summarise(status: JobStatus) -> StatusSummary:
    """Derive what the index of statuses carries."""
    attempt = status.attempt
    return StatusSummary(
        job_id=status.job_id,
        job_type=status.job_type,
        cluster=attempt.cluster if attempt is not None else status.cluster,
        lifecycle="",
        flink_job_id=attempt.flink_job_id if attempt is not None else None,
        observed_spec_hash=status.observed_spec_hash,
        next_look=status.next_look,
        desired_revision=status.desired.number if status.desired is not None else None,
        running_revision=attempt.revision if attempt is not None and not attempt.is_dead else None,
        updated_at=status.updated_at,
    )
