"""Runs of batch jobs, from the tick that finds them due to their record."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flink_controller.domain.actions import Submit
from flink_controller.domain.artifact import KeyStatus
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.names import tag
from flink_controller.domain.observation import Answer, NoAnswer
from flink_controller.domain.report import report
from flink_controller.domain.run_arguments import iso
from flink_controller.domain.status import Event, RunOutcome
from flink_controller.domain.trust import Denial, NamespacePolicy, Quotas, Reaction, RegistryEvent
from flink_controller.ports import Commit
from flink_controller.services.reconcile import reconcile_job
from flink_controller.services.sweep import reconcile_fleet
from flink_controller.testing.clock import VirtualClock
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.jars import jar_bytes
from tests.unit.services.batch_bench import FAILING, LONG, MINUTE, QUICK, BatchBench
from tests.unit.services.bench import JOB, POLICY, SECOND, trusted

SUCCEEDED, FAILED, SKIPPED, MISSED = RunOutcome.SUCCEEDED, RunOutcome.FAILED, RunOutcome.SKIPPED, RunOutcome.MISSED
FOREVER = JobBehaviour(is_batch=True)


def starts(bench: BatchBench) -> int:
    return len([start for start in bench.flink.history if not start.is_restart])


def events(bench: BatchBench) -> list[Event]:
    return bench.statuses.events(JOB)


def allow_active_runs(bench: BatchBench, count: int) -> None:
    policy = NamespacePolicy(namespace="default", quotas=Quotas(active_runs=count))
    told = RegistryEvent(time=bench.now, action="Changed", subject="POLICY#default", message="")
    bench.registry.put_policy(policy, told)


def test_each_instant_becomes_one_run_within_a_tick() -> None:
    bench = BatchBench()
    bench.schedule()
    bench.run(bench.to_next_minute)
    began = bench.now

    bench.minutes(5)

    assert bench.outcomes() == [SUCCEEDED] * 5
    assert [run.scheduled_at for run in bench.history] == [began + step * MINUTE for step in range(5)]
    assert all(run.started_at is not None and run.started_at - run.scheduled_at < 75 * SECOND for run in bench.history)
    assert starts(bench) == 5
    assert lifecycle(bench.status) is Lifecycle.STABLE


def test_a_run_knows_its_instant_and_the_one_before() -> None:
    bench = BatchBench()
    bench.schedule(args=None or ())
    bench.run(bench.to_next_minute)
    began = bench.now
    bench.minutes(2)

    submitted = [start.args for start in bench.flink.history]

    assert submitted == [
        ("--scheduled-time", iso(at), "--previous-scheduled-time", iso(at - MINUTE)) for at in (began, began + MINUTE)
    ]


def test_placeholders_take_the_place_of_the_arguments() -> None:
    bench = BatchBench()
    bench.upload(behaviour=QUICK)
    bench.edit(args=("--day", "{{scheduled_time}}", "--since={{previous_scheduled_time}}"))
    bench.look()
    bench.run(bench.to_next_minute)
    began = bench.now
    bench.minutes(1)

    assert bench.flink.history[0].args == ("--day", iso(began), f"--since={iso(began - MINUTE)}")


def test_a_job_without_a_schedule_runs_once_per_revision() -> None:
    bench = BatchBench()
    bench.schedule(cron=None)
    bench.minutes(3)
    assert bench.outcomes() == [SUCCEEDED]
    assert lifecycle(bench.status) is Lifecycle.COMPLETED

    bench.edit(cron=None, max_runs=7)
    bench.look()
    bench.minutes(2)
    assert bench.outcomes() == [SUCCEEDED]

    bench.edit(cron=None, args=("again",))
    bench.look()
    bench.minutes(2)
    assert bench.outcomes() == [SUCCEEDED] * 2


def test_a_job_whose_only_run_failed_has_failed() -> None:
    bench = BatchBench()
    bench.schedule(FAILING, cron=None)

    bench.minutes(3)

    assert bench.outcomes() == [FAILED]
    assert lifecycle(bench.status) is Lifecycle.FAILED
    assert "told to fail" in (bench.status.halted or "")


def test_forbid_skips_what_overlaps() -> None:
    bench = BatchBench()
    bench.schedule(LONG, overlap_policy="forbid")
    bench.run(bench.to_next_minute)

    bench.minutes(5)

    assert bench.outcomes()[:4] == [SUCCEEDED, SKIPPED, SKIPPED, RunOutcome.RUNNING]
    assert bench.reasons()[1:3] == ["Overlap"] * 2


def test_forbid_lets_the_one_run_of_a_new_revision_wait_for_its_turn() -> None:
    bench = BatchBench()
    bench.schedule(LONG, cron=None, overlap_policy="forbid")

    bench.edit(cron=None, overlap_policy="forbid", args=("two",))
    bench.look()
    assert (starts(bench), len(bench.status.runs.pending)) == (1, 1)
    bench.minutes(7)

    assert [(run.outcome, run.revision) for run in bench.history] == [(SUCCEEDED, 1), (SUCCEEDED, 2)]
    assert lifecycle(bench.status) is Lifecycle.COMPLETED


def test_of_several_new_revisions_the_newest_waits() -> None:
    bench = BatchBench()
    bench.schedule(LONG, cron=None)

    for args in (("two",), ("three",)):
        bench.edit(cron=None, args=args)
        bench.look()
        bench.run(SECOND)
    bench.minutes(7)

    assert [(run.outcome, run.reason) for run in bench.history] == [
        (SUCCEEDED, "Finished"),
        (SKIPPED, "Withdrawn"),
        (SUCCEEDED, "Finished"),
    ]
    assert [start.args[0] for start in bench.flink.history] == ["--scheduled-time", "three"]


def test_a_run_of_an_old_revision_that_fails_does_not_stop_the_new_one() -> None:
    bench = BatchBench()
    bench.schedule(JobBehaviour(is_batch=True, fails_after=30 * SECOND, restarts=0), cron=None)

    bench.upload(jar_bytes("v2"), behaviour=QUICK)
    bench.edit(cron=None, args=("two",))
    bench.look()
    bench.minutes(3)

    assert bench.outcomes() == [FAILED, SUCCEEDED]
    assert lifecycle(bench.status) is Lifecycle.COMPLETED


def test_a_malformed_policy_lets_no_run_start_until_it_is_mended() -> None:
    bench = BatchBench()
    bench.schedule()
    bench.registry.spoil("POLICY#default")

    bench.run(bench.to_next_minute)
    bench.minutes(2)
    assert starts(bench) == 0
    assert bench.status.waiting is not None
    assert "item POLICY#default is malformed" in bench.status.waiting[1]

    allow_active_runs(bench, 5)
    bench.minutes(3)

    assert bench.outcomes()[-1] is SUCCEEDED


def test_allow_runs_them_side_by_side() -> None:
    bench = BatchBench()
    bench.schedule(LONG, overlap_policy="allow")
    bench.run(bench.to_next_minute)

    bench.minutes(3)

    assert len(bench.status.runs.active) == 3 - bench.outcomes().count(SUCCEEDED)
    assert SKIPPED not in bench.outcomes()
    bench.minutes(3)
    assert bench.outcomes()[:3] == [SUCCEEDED] * 3


def test_allow_is_bounded_per_job_with_a_reason() -> None:
    bench = BatchBench()
    bench.schedule(FOREVER, overlap_policy="allow")
    bench.run(bench.to_next_minute)

    bench.minutes(10)

    assert bench.outcomes() == [RunOutcome.RUNNING] * 5 + [SKIPPED] * 5
    assert bench.reasons()[5:] == ["TooManyActive"] * 5


def test_runs_on_a_revoked_key_are_flagged_within_a_tick_and_run_on() -> None:
    bench = BatchBench()
    bench.schedule(FOREVER)
    bench.run(bench.to_next_minute)
    bench.minutes(1)
    bench.registry.put_key(trusted("team", b"team", status=KeyStatus.REVOKED))

    found = reconcile_fleet(bench.ports, POLICY)
    bench.run(30 * SECOND)

    assert found.distrusted == (JOB,)
    condition = bench.status.condition("ArtifactVerified")
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "KeyRevoked")
    assert [event.reason for event in events(bench)].count("ArtifactDistrusted") == 1
    assert bench.outcomes()[0] is RunOutcome.RUNNING
    reconcile_fleet(bench.ports, POLICY)
    bench.run(60 * SECOND)
    again = reconcile_fleet(bench.ports, POLICY)
    assert (again.distrusted, again.woken) == ((JOB,), ())


def test_where_the_policy_says_so_runs_on_denied_bytes_are_stopped_and_runs_on_others_go_on() -> None:
    bench = BatchBench()
    told = RegistryEvent(time=bench.now, action="Changed", subject="POLICY#default", message="")
    bench.registry.put_policy(NamespacePolicy(namespace="default", on_distrust=Reaction.SUSPEND), told)
    bench.schedule(FOREVER, overlap_policy="allow", backoff_limit=3, max_runs=2)
    bench.run(bench.to_next_minute)
    bench.minutes(1)
    denied = bench.head.latest.sha256
    assert denied is not None
    bench.upload(jar_bytes("other"), behaviour=FOREVER)
    bench.minutes(1)
    bench.registry.put_denial(Denial(sha256=denied), told)

    bench.minutes(3)

    assert bench.outcomes()[:2] == [RunOutcome.CANCELLED, RunOutcome.RUNNING]
    assert bench.reasons()[0] == "DigestDenied"
    assert len(bench.flink.live_copies(tag(POLICY.controller_id, JOB))) == 1
    condition = bench.status.condition("ArtifactVerified")
    assert condition is not None
    assert condition.status == "True"


def test_allow_is_bounded_by_the_quota_of_the_namespace() -> None:
    bench = BatchBench()
    allow_active_runs(bench, 2)
    bench.schedule(FOREVER, overlap_policy="allow")
    bench.run(bench.to_next_minute)

    bench.minutes(4)

    assert bench.outcomes() == [RunOutcome.RUNNING] * 2 + [SKIPPED] * 2
    assert bench.reasons()[2:] == ["QuotaExceeded"] * 2


def test_a_run_without_a_place_waits_for_the_end_of_another() -> None:
    bench = BatchBench()
    allow_active_runs(bench, 0)
    bench.schedule()
    bench.run(bench.to_next_minute)

    bench.look()

    assert bench.history == []
    assert bench.status.waiting is not None
    assert bench.status.waiting[0] == "QuotaExceeded"
    assert lifecycle(bench.status) is Lifecycle.WAITING
    allow_active_runs(bench, 1)
    bench.look()
    bench.run(10 * SECOND)
    assert bench.outcomes() == [SUCCEEDED]


def test_queue_one_starts_the_newest_when_the_run_before_is_over() -> None:
    bench = BatchBench()
    bench.schedule(LONG, overlap_policy="queue_one")
    bench.run(bench.to_next_minute)

    bench.minutes(7)

    done = [run for run in bench.history if run.outcome is SUCCEEDED]
    skipped = [run for run in bench.history if run.outcome is SKIPPED]
    assert len(done) == 2
    assert {run.reason for run in skipped} == {"Overlap"}
    assert done[1].started_at is not None
    assert done[0].ended_at is not None
    assert done[1].started_at - done[0].ended_at < MINUTE


def test_replace_cancels_what_runs() -> None:
    bench = BatchBench()
    bench.schedule(LONG, overlap_policy="replace")
    bench.run(bench.to_next_minute)

    bench.minutes(3)

    assert bench.outcomes() == [RunOutcome.CANCELLED, RunOutcome.CANCELLED, RunOutcome.RUNNING]
    assert bench.reasons()[:2] == ["Replaced"] * 2
    assert len(bench.flink.live_copies()) == 1


@pytest.mark.parametrize(
    ("policy", "made_up_for"),
    [("skip", 0), ("run_latest", 1), ("run_all", 10)],
)
def test_what_follows_an_outage_is_what_the_policy_says(policy: str, made_up_for: int) -> None:
    bench = BatchBench()
    bench.schedule(missed_run_policy=policy, cron="*/10 * * * *")
    bench.run(3 * timedelta(hours=1) - timedelta(minutes=5))

    bench.minutes(4)

    assert bench.outcomes().count(SUCCEEDED) == made_up_for
    assert starts(bench) == made_up_for
    missed = [run for run in bench.history if run.outcome is MISSED]
    assert sum(1 if run.until is None else (run.until - run.scheduled_at) // (10 * MINUTE) + 1 for run in missed) == (
        17 - made_up_for
    )


def test_a_year_without_ticks_costs_one_look() -> None:
    bench = BatchBench()
    bench.schedule(missed_run_policy="run_all")
    bench.clock.advance(timedelta(days=365))

    bench.minutes(12)

    assert bench.outcomes().count(SUCCEEDED) >= 10
    assert starts(bench) <= 10 + 12


def test_an_instant_past_its_deadline_is_missed() -> None:
    bench = BatchBench()
    bench.schedule(cron="0 * * * *", starting_deadline_seconds=600)
    bench.clock.advance(2 * timedelta(hours=1) - timedelta(minutes=bench.now.minute - 15))

    bench.minutes(1)

    assert set(bench.outcomes()) == {MISSED}
    assert "StartingDeadline" in bench.reasons()


def test_max_runs_are_never_exceeded_and_the_job_is_completed() -> None:
    bench = BatchBench()
    bench.schedule(max_runs=3)

    bench.minutes(8)

    assert bench.outcomes() == [SUCCEEDED] * 3
    assert lifecycle(bench.status) is Lifecycle.COMPLETED
    assert bench.status.due is None


def test_a_run_past_its_time_to_live_expires_and_the_schedule_goes_on() -> None:
    bench = BatchBench()
    bench.schedule(FOREVER, ttl_seconds=90)

    bench.minutes(7)

    assert bench.outcomes().count(RunOutcome.EXPIRED) >= 2
    expired = next(run for run in bench.history if run.outcome is RunOutcome.EXPIRED)
    assert expired.started_at is not None
    assert expired.ended_at is not None
    assert timedelta(seconds=90) <= expired.ended_at - expired.started_at < timedelta(seconds=170)
    assert len(bench.flink.live_copies()) <= 1


def test_a_failed_run_is_tried_again_with_growing_pauses() -> None:
    bench = BatchBench()
    bench.schedule(FAILING, cron=None, backoff_limit=2)

    bench.minutes(3)

    assert bench.outcomes() == [FAILED]
    assert starts(bench) == 3
    assert bench.history[0].attempt == 3
    begun = [start.at for start in bench.flink.history]
    assert begun[1] - begun[0] >= 10 * SECOND
    assert begun[2] - begun[1] >= 20 * SECOND
    assert [event.reason for event in events(bench)].count("JobFailed") == 2


def test_a_submission_that_is_refused_is_told_apart() -> None:
    bench = BatchBench()
    bench.schedule(JobBehaviour(is_batch=True, main_throws="no such table"), cron=None)

    bench.minutes(3)

    assert (bench.outcomes(), bench.reasons()) == ([FAILED], ["SubmissionRefused"])
    assert "no such table" in bench.history[0].message


def test_too_many_failures_suspend_the_schedule_and_say_so() -> None:
    bench = BatchBench()
    bench.schedule(FAILING, suspend_after_failures=2)

    bench.minutes(6)

    assert bench.outcomes() == [FAILED, FAILED]
    assert lifecycle(bench.status) is Lifecycle.FAILED
    assert bench.status.halt_reason == "TooManyFailures"
    scheduled = bench.status.condition("Scheduled")
    assert scheduled is not None
    assert (scheduled.status, scheduled.reason) == ("False", "TooManyFailures")


def test_a_suspended_job_starts_nothing_and_what_was_due_is_skipped_on_record() -> None:
    bench = BatchBench()
    bench.schedule(LONG)
    bench.run(bench.to_next_minute)
    bench.minutes(1)

    bench.edit(state="suspended")
    bench.look()
    bench.minutes(5)
    assert bench.outcomes()[0] is SUCCEEDED
    assert lifecycle(bench.status) is Lifecycle.SUSPENDED

    bench.edit()
    bench.look()
    bench.minutes(2)
    assert set(bench.outcomes()[1:-1]) == {SKIPPED}
    assert set(bench.reasons()[1:-1]) == {"Suspended"}
    assert any(run.until is not None for run in bench.history)
    assert starts(bench) == 2


def test_a_deleted_job_ends_with_nothing_live() -> None:
    bench = BatchBench()
    bench.schedule(FOREVER, overlap_policy="allow")
    bench.minutes(4)

    bench.specs.delete(JOB)
    bench.look()
    bench.run(MINUTE)

    assert bench.flink.live_copies() == []
    assert lifecycle(bench.status) is Lifecycle.DELETED
    assert set(bench.outcomes()) == {RunOutcome.CANCELLED}


def test_a_job_written_again_makes_up_for_nothing() -> None:
    bench = BatchBench()
    bench.schedule()
    bench.minutes(2)
    known = len(bench.history)
    bench.specs.delete(JOB)
    bench.look()
    bench.clock.advance(timedelta(hours=1))

    bench.edit()
    bench.look()
    bench.run(SECOND)

    assert starts(bench) == known
    assert bench.reasons()[-1] == "Deleted"


def test_a_run_that_nobody_saw_end_is_lost_and_not_repeated() -> None:
    bench = BatchBench()
    bench.schedule(FOREVER, cron=None, backoff_limit=5)
    bench.run(30 * SECOND)

    bench.flink.restart_jobmanager()
    bench.minutes(6)

    assert bench.outcomes() == [RunOutcome.LOST]
    assert starts(bench) == 1


def test_a_run_cancelled_by_somebody_else_is_told_and_not_repeated() -> None:
    bench = BatchBench()
    bench.schedule(FOREVER, cron=None, backoff_limit=5)
    bench.run(30 * SECOND)

    bench.flink.cancel(bench.status.runs.active[0].attempt.flink_job_id)
    bench.minutes(2)

    assert (bench.outcomes(), bench.reasons()) == ([RunOutcome.CANCELLED], ["CancelledOutside"])


def test_a_job_whose_only_run_was_cancelled_by_somebody_else_has_failed() -> None:
    bench = BatchBench()
    bench.schedule(FOREVER, cron=None)
    bench.run(30 * SECOND)

    bench.flink.cancel(bench.status.runs.active[0].attempt.flink_job_id)
    bench.minutes(2)

    assert lifecycle(bench.status) is Lifecycle.FAILED
    assert bench.status.halt_reason == "RunFailed"
    assert "CancelledOutside" in (bench.status.halted or "")


def test_a_scheduled_run_that_somebody_cancels_is_no_failure_in_a_row() -> None:
    bench = BatchBench()
    bench.schedule(FOREVER, suspend_after_failures=1)
    bench.minutes(2)

    bench.flink.cancel(bench.status.runs.active[0].attempt.flink_job_id)
    bench.minutes(2)

    assert bench.outcomes()[0] is RunOutcome.CANCELLED
    assert lifecycle(bench.status) is Lifecycle.STABLE


def test_an_only_run_whose_time_is_over_between_two_attempts_has_expired_and_the_job_has_failed() -> None:
    bench = BatchBench()
    bench.upload(behaviour=FAILING)
    bench.put(
        job_type="batch",
        deployment={"on_failure": {"backoff_seconds": 300}},
        batch_config={"ttl_seconds": 60, "backoff_limit": 1},
    )
    bench.look()

    bench.minutes(4)

    assert bench.outcomes() == [RunOutcome.EXPIRED]
    assert starts(bench) == 1
    assert lifecycle(bench.status) is Lifecycle.FAILED
    assert "told to fail" in (bench.status.halted or "")


def test_an_active_run_keeps_its_revision() -> None:
    bench = BatchBench()
    bench.schedule(LONG, cron="0 * * * *", run_now={"nonce": "1", "args": ["--mine"]})
    bench.run(30 * SECOND)

    bench.edit(args=("new",), cron="0 * * * *", run_now={"nonce": "1", "args": ["--mine"]})
    bench.look()
    bench.minutes(4)

    assert bench.outcomes() == [SUCCEEDED]
    assert bench.history[0].revision == 1
    assert bench.history[0].args == ("--mine",)
    assert bench.status.desired is not None
    assert bench.status.desired.number == 2


def test_a_run_now_is_one_run_per_nonce_with_its_own_arguments() -> None:
    bench = BatchBench()
    bench.schedule(cron="0 0 1 1 *")
    for nonce in ("a", "a", "b"):
        bench.edit(cron="0 0 1 1 *", run_now={"nonce": nonce, "args": ["--only", nonce]})
        bench.look()
        bench.run(20 * SECOND)

    assert bench.outcomes() == [SUCCEEDED] * 2
    assert [start.args[-2:] for start in bench.flink.history] == [("--only", "a"), ("--only", "b")]
    assert all(run.is_manual for run in bench.history)


def test_a_retry_of_a_run_now_keeps_its_arguments_after_the_next_wish() -> None:
    bench = BatchBench()
    bench.schedule(FAILING, cron="0 0 1 1 *", backoff_limit=1, run_now={"nonce": "a", "args": ["--only", "a"]})
    bench.run(5 * SECOND)

    bench.edit(cron="0 0 1 1 *", backoff_limit=1, run_now={"nonce": "b", "args": ["--only", "b"]})
    bench.look()
    bench.run(MINUTE)

    assert [start.args[-1] for start in bench.flink.history[:2]] == ["a", "a"]


def test_an_unreachable_cluster_delays_what_is_due_and_loses_nothing() -> None:
    bench = BatchBench()
    bench.schedule(cron="*/10 * * * *")
    bench.flink.kill_jobmanager()
    bench.minutes(12)

    bench.flink.start_jobmanager()
    bench.minutes(8)

    assert SUCCEEDED in bench.outcomes()
    assert set(bench.outcomes()) <= {SUCCEEDED, MISSED}


def test_a_clock_far_behind_fires_nothing_and_says_so() -> None:
    bench = BatchBench()
    bench.schedule()
    bench.clock.advance(timedelta(days=30))
    bench.minutes(2)
    known = starts(bench)
    behind = replace(bench.ports, clock=VirtualClock(bench.now - timedelta(days=29)))

    reconcile_job(behind, POLICY, JOB, owner="me")

    assert starts(bench) == known
    assert bench.status.waiting is not None
    assert bench.status.waiting[0] == "ClockBehind"


def test_records_are_kept_within_their_limits() -> None:
    bench = BatchBench()
    bench.schedule(succeeded_runs_kept=3)

    bench.minutes(10)

    assert 3 <= len(bench.history) <= 4


def test_the_jar_is_given_up_on_completion_where_the_spec_says_so() -> None:
    bench = BatchBench()
    bench.schedule(cron=None, cleanup_on_completion=True)

    bench.minutes(2)

    assert bench.outcomes() == [SUCCEEDED]
    assert bench.flink.jars() == []


def test_a_quiet_look_writes_nothing_but_its_lease() -> None:
    bench = BatchBench()
    bench.schedule(cron="0 * * * *")
    bench.run(MINUTE)
    writes = bench.statuses.writes

    bench.look()

    assert bench.statuses.writes - writes == 2


def test_the_status_tells_what_comes_next() -> None:
    bench = BatchBench()
    bench.schedule(cron="0 * * * *")

    told = report(bench.status)

    assert told.runs is not None
    assert told.runs.next_at is not None
    assert told.runs.next_at - bench.now <= timedelta(hours=1)
    assert told.ready


def test_a_run_is_told_once_it_is_written() -> None:
    bench, told = BatchBench(), list[Commit]()
    bench.upload(behaviour=QUICK)
    bench.edit(cron=None)

    reconcile_job(bench.ports, POLICY, JOB, owner="me", told=told.append)

    assert [run.outcome for commit in told for run in commit.started_runs] == [RunOutcome.RUNNING]


def test_jitter_is_the_same_for_every_run_of_a_job() -> None:
    bench = BatchBench()
    bench.schedule(cron="*/10 * * * *", jitter_seconds=300)

    bench.minutes(40)

    late = {(run.started_at - run.scheduled_at) // MINUTE for run in bench.history if run.started_at is not None}
    assert len(late) <= 2
    assert max(late) <= 6


def test_a_run_now_that_succeeds_lets_a_job_go_on_that_had_failed_too_often() -> None:
    bench = BatchBench()
    bench.schedule(FAILING, suspend_after_failures=1)
    bench.minutes(3)
    assert lifecycle(bench.status) is Lifecycle.FAILED
    failed = starts(bench)
    bench.upload(jar_bytes("mended"), behaviour=QUICK)

    bench.edit(suspend_after_failures=1, run_now={"nonce": "1", "args": []})
    bench.look()
    bench.minutes(3)

    assert lifecycle(bench.status) is Lifecycle.STABLE
    assert starts(bench) >= failed + 2
    assert bench.outcomes()[-1] is SUCCEEDED


def test_a_run_now_of_a_job_whose_only_run_failed_runs_once() -> None:
    bench = BatchBench()
    bench.schedule(JobBehaviour(is_batch=True, fails_after=1 * SECOND, finishes_after=2 * SECOND, restarts=0), cron=None)
    bench.minutes(2)
    assert bench.reasons() == ["JobFailed"]
    digest = bench.status.desired.artifact.sha256 if bench.status.desired is not None else ""
    bench.flink.behaviours[digest] = QUICK

    bench.edit(cron=None, run_now={"nonce": "1", "args": []})
    bench.look()
    bench.minutes(3)

    assert bench.outcomes() == [FAILED, SUCCEEDED]
    assert lifecycle(bench.status) is Lifecycle.COMPLETED


def test_a_restart_of_a_job_whose_only_run_failed_runs_it_again() -> None:
    bench = BatchBench()
    bench.schedule(FAILING, cron=None)
    bench.minutes(2)
    item = dict(bench.specs.read(JOB) or {})
    digest = bench.status.desired.artifact.sha256 if bench.status.desired is not None else ""
    bench.flink.behaviours[digest] = QUICK

    bench.specs.put(JOB, {**item, "deployment": {"restart_nonce": "1"}})
    bench.look()
    bench.minutes(2)

    assert bench.outcomes() == [FAILED, SUCCEEDED]
    assert lifecycle(bench.status) is Lifecycle.COMPLETED


def test_a_job_that_was_created_suspended_runs_once_it_is_resumed() -> None:
    bench = BatchBench()
    bench.upload(behaviour=QUICK)
    bench.edit(state="suspended", cron=None)
    bench.look()
    bench.minutes(2)
    assert bench.history == []

    bench.edit(cron=None)
    bench.look()
    bench.minutes(2)

    assert bench.outcomes() == [SUCCEEDED]


def test_a_deleted_job_without_a_schedule_runs_once_more_when_it_is_written_again() -> None:
    bench = BatchBench()
    bench.schedule(cron=None)
    bench.minutes(2)
    bench.specs.delete(JOB)
    bench.look()

    bench.edit(cron=None)
    bench.look()
    bench.minutes(2)

    assert bench.outcomes() == [SUCCEEDED] * 2


def test_a_time_to_live_is_kept_to_the_second() -> None:
    bench = BatchBench()
    bench.schedule(FOREVER, cron=None, ttl_seconds=20)

    bench.run(25 * SECOND)

    assert bench.outcomes() == [RunOutcome.EXPIRED]


def test_a_job_keeps_its_kind_once_it_has_run() -> None:
    bench = BatchBench()
    bench.schedule(cron=None)
    bench.minutes(2)

    bench.put(job_type="stream")
    bench.look()

    valid = bench.status.condition("SpecValid")
    assert valid is not None
    assert valid.message.startswith("job_type: stays batch")


@pytest.mark.parametrize("has_high_availability", [False, True])
def test_a_submit_that_nobody_answered_is_never_a_second_run(*, has_high_availability: bool) -> None:
    bench = BatchBench()
    bench.registry.put_cluster(bench.cluster.model_copy(update={"high_availability": has_high_availability}))
    bench.flink.options = replace(bench.flink.options, high_availability=has_high_availability)
    digest = bench.upload(behaviour=QUICK)
    bench.edit(cron=None, backoff_limit=3)
    arrives, lost = bench.flink.submit, list[Submit]()

    def unheard(submit: Submit) -> Answer:
        lost.append(submit)
        bench.flink.submit = arrives  # type: ignore[method-assign]  # only the first is lost
        return NoAnswer("the request vanished")

    bench.flink.submit = unheard  # type: ignore[method-assign]  # a request that never arrives, as nobody can know
    bench.look()
    bench.minutes(8)

    ran = [start for start in bench.flink.history if start.jar_sha256 == digest]
    assert bench.outcomes() == [RunOutcome.LOST if has_high_availability else SUCCEEDED]
    assert [start.flink_job_id for start in ran] == ([] if has_high_availability else [lost[0].flink_job_id])


def test_a_run_past_its_time_on_a_cluster_that_is_away_is_not_looked_at_all_the_time() -> None:
    bench = BatchBench()
    bench.schedule(FOREVER, cron=None, ttl_seconds=20)
    bench.run(10 * SECOND)
    bench.flink.kill_jobmanager()
    bench.run(30 * SECOND)
    writes = bench.statuses.writes

    bench.minutes(5)

    assert bench.statuses.writes - writes < 60
    bench.flink.start_jobmanager()
    bench.minutes(5)
    assert bench.outcomes() == [RunOutcome.EXPIRED]
