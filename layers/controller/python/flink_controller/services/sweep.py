"""Look over the whole fleet once a minute and wake the jobs that need attention. Changes nothing itself.

Cost: one list of jobs per cluster, at most 20 samples of running jobs on each (`services/sample.py`), one read of the
status index and one of the pauses, a fifteenth of the specs and of the artifacts that they name. A quiet tick writes nothing
and wakes nobody.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from flink_controller.domain.artifact import KeyStatus
from flink_controller.domain.census import Census, census
from flink_controller.domain.circuit import Circuit
from flink_controller.domain.errors import FlinkUnreachableError, RejectedError
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.names import TAG_DIGITS, JobName, tag
from flink_controller.domain.observation import JobSeen
from flink_controller.domain.pauses import scopes_of
from flink_controller.domain.plan import Policy
from flink_controller.domain.spec import hash_item
from flink_controller.domain.status import StatusSummary
from flink_controller.ports import FlinkGateway, Ports
from flink_controller.services.gate import closed, failed
from flink_controller.services.sample import suspects

SWEEP = "the tick of the fleet"
"""Who counts a failure of the overview."""
ASKING = timedelta(seconds=30)
"""No cluster is asked after this: half of a tick's minute, so that clusters that hang (5 s each) cannot use it up."""
SEGMENTS = 15
"""A lost stream record, or an upload that no index named a job for, heals within this many ticks."""
MAX_KEY_BYTES = 1024
"""Of an object in S3. A spec that was refused may name something longer, which no table would look up."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep found."""

    jobs: int
    clusters: int
    unreachable: tuple[str, ...]
    woken: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    """Live jobs that no known job has started, as `cluster/id`. They are left alone."""
    distrusted: tuple[str, ...] = ()
    """Jobs that run on a revoked key or denied bytes."""
    open_circuits: tuple[str, ...] = ()
    """Clusters that looks do not ask, because they did not answer several times in a row."""
    census: Census = field(default_factory=Census, compare=False)


@dataclass(frozen=True)
class _Answer:
    """What a cluster said in this tick."""

    circuit: Circuit
    listed: dict[str, JobSeen] | None = None
    """None when it did not answer, or was not asked."""
    suspects: tuple[str, ...] = ()
    is_asked: bool = True
    """False when the time for asking was over."""


Each: TypeAlias = Callable[[Callable[[str], _Answer], Sequence[str]], Iterable[_Answer]]
"""Do something for each of some names and give the results in their order, like `map`."""


def reconcile_fleet(ports: Ports, policy: Policy, *, each: Each = map) -> Sweep:
    """Wake the jobs whose time has come, whose cluster says something else than expected, or whose spec was missed.

    Args:
        ports: the world.
        policy: the numbers to decide by.
        each: asks the clusters: one after the other, or several at once, as a pool of threads does.

    Raises:
        TransientError: the index or the queue does not answer; the next tick does the same again.
    """
    now = ports.clock.now()
    summaries = list(ports.statuses.summaries())
    woken: dict[str, None] = {}

    def wake(job_ids: Iterable[str]) -> None:
        """Send at once: whatever fails or takes long after it, these are on their way."""
        new = [job_id for job_id in dict.fromkeys(job_ids) if job_id not in woken]
        if new:
            ports.follow_ups.send_now(new)
            woken.update(dict.fromkeys(new))

    wake(known.job_id for known in summaries if known.next_look is not None and known.next_look <= now)
    by_cluster: dict[str, list[StatusSummary]] = defaultdict(list)
    for summary in summaries:
        if summary.cluster:
            by_cluster[summary.cluster].append(summary)
    ours = {tag(policy.controller_id, summary.job_id) for summary in summaries}
    found: list[str] = []
    unreachable, foreign, open_circuits = [], [], []
    circuits = {name: ports.circuits.read(name).circuit for name in by_cluster}
    gateways = {name: _gateway(ports, name) for name in by_cluster}

    def ask(name: str) -> _Answer:
        gateway = gateways[name]
        if gateway is None or ports.clock.now() >= now + ASKING:
            return _Answer(circuits[name], is_asked=gateway is None)
        listed, circuit = _list(ports, name, gateway, circuits[name])
        suspected = () if listed is None else suspects(policy, gateway, by_cluster[name], listed, now)
        return _Answer(circuit, listed, tuple(suspected))

    names = _in_turn(circuits, now)
    for name, answer in zip(names, each(ask, names), strict=True):
        if not answer.is_asked and answer.circuit.is_closed:
            continue
        if not answer.circuit.is_closed:
            open_circuits.append(name)
        if answer.listed is None:
            unreachable.append(name)
        foreign += [
            f"{name}/{job.flink_job_id}" for job in _alive(answer.listed) if job.flink_job_id[:TAG_DIGITS] not in ours
        ]
        found += [*answer.suspects, *_disagreeing(policy, by_cluster[name], answer.listed)]
    wake(found)
    wake(_newly_paused(ports, summaries))
    distrusted = _distrusted(ports, summaries)
    wake(known.job_id for known in summaries if known.is_flagged_distrusted is not (known.job_id in distrusted))
    wake(_newly_limited(ports, summaries))
    wake(_missed(ports, policy, summaries, int(now.timestamp() // 60) % SEGMENTS))
    return Sweep(
        len(summaries),
        len(by_cluster),
        tuple(sorted(unreachable)),
        tuple(woken),
        tuple(foreign),
        tuple(distrusted),
        tuple(sorted(open_circuits)),
        census(summaries, now),
    )


def _gateway(ports: Ports, name: str) -> FlinkGateway | None:
    """Give the way to a cluster; None when it is not registered, or wrongly."""
    try:
        cluster = ports.registry.cluster(name)
        return None if cluster is None else ports.flink.connect(cluster)
    except RejectedError:
        return None


def _in_turn(circuits: Mapping[str, Circuit], now: datetime) -> list[str]:
    """Order the clusters: those that answered last time before the others, and each group begun elsewhere every minute."""
    names = sorted(circuits)
    start = int(now.timestamp() // 60) % max(len(names), 1)
    return sorted(names[start:] + names[:start], key=lambda name: not circuits[name].is_closed)


def _list(ports: Ports, name: str, gateway: FlinkGateway, circuit: Circuit) -> tuple[dict[str, JobSeen] | None, Circuit]:
    """List a cluster's jobs (None when it does not answer), and give its circuit after that."""
    # Asked whatever its circuit says: once a minute is little, and closes it within a minute of the cluster's return.
    try:
        listed = {job.flink_job_id: job for job in gateway.jobs()}
    except FlinkUnreachableError as error:
        return None, failed(ports.circuits, name, circuit, ports.clock.now(), error, by=SWEEP)
    except RejectedError:
        return None, circuit
    return listed, closed(ports.circuits, name, circuit)


def _alive(listed: dict[str, JobSeen] | None) -> list[JobSeen]:
    return [job for job in (listed or {}).values() if not job.state.is_terminal]


def _disagreeing(policy: Policy, summaries: list[StatusSummary], listed: dict[str, JobSeen] | None) -> Iterable[str]:
    if listed is None:
        # Each job says so once; from then on its own looks find out when the cluster is back.
        live = [known for known in summaries if known.is_expected_live or known.live_run_ids]
        return [known.job_id for known in live if not known.is_flagged_unreachable]
    ours: dict[str, list[JobSeen]] = defaultdict(list)
    for job in _alive(listed):
        ours[job.flink_job_id[:TAG_DIGITS]].append(job)
    return [known.job_id for known in summaries if _disagrees(policy, known, ours, listed)]


def _disagrees(policy: Policy, known: StatusSummary, alive: dict[str, list[JobSeen]], listed: dict[str, JobSeen]) -> bool:
    if known.is_flagged_unreachable:
        return True
    named = {known.flink_job_id, *known.run_ids}
    if any(job.flink_job_id not in named for job in alive.get(tag(policy.controller_id, known.job_id), [])):
        return True
    if any(run not in listed or listed[run].state.is_terminal for run in known.live_run_ids):
        return True
    job = None if known.flink_job_id is None else listed.get(known.flink_job_id)
    is_live = job is not None and not job.state.is_terminal
    if known.is_expected_live:
        # A change that is over by now is one all the same: Flink has restarted the job.
        is_changed = job is not None and known.is_watched and job.modified_ms != known.modified_ms
        return job is None or not job.is_processing or is_changed
    return is_live and known.next_look is None


def _distrusted(ports: Ports, summaries: list[StatusSummary]) -> list[str]:
    """Find the jobs that run on bytes which would not be started again. Each look of theirs decides by itself."""
    running = [known for known in summaries if known.signers]
    if not running:
        return []
    keys = ports.registry.keys()
    trusted = {key.key_id for key in keys if key.status is not KeyStatus.REVOKED}
    denied = {denial.sha256 for denial in ports.registry.denials()}
    return [
        known.job_id
        for known in running
        if not denied.isdisjoint((known.artifact_sha256, *known.run_digests)) or not trusted.issuperset(known.signers)
    ]


def _newly_paused(ports: Ports, summaries: list[StatusSummary]) -> Iterable[str]:
    """Find jobs whose status does not tell yet that they are paused. Those that tell it look again by themselves."""
    paused = {pause.scope for pause in ports.registry.pauses()}
    for known in summaries if paused else ():
        is_over = known.lifecycle in {Lifecycle.DELETED.value, Lifecycle.FAILED.value}
        if not is_over and known.reason != "Paused" and not paused.isdisjoint(scopes_of(known.job_id, (known.cluster,))):
            yield known.job_id


def _newly_limited(ports: Ports, summaries: list[StatusSummary]) -> Iterable[str]:
    """Find jobs whose status does not say yet what their namespace's policy makes of them.

    They run where it lets nothing start, or does again; or they are not counted though it has a quota now, or still are. A
    policy that cannot be read says nothing about what runs.
    """
    policies = {policy.namespace: policy for policy in ports.registry.policies()}
    alive = (known for known in summaries if known.is_expected_live or known.live_run_ids)
    for known in alive if policies else ():
        policy = policies.get(JobName.parse(known.job_id).namespace)
        if policy is None:
            continue
        is_uncounted = known.is_expected_live and policy.quotas.counts_streams is not known.is_counted
        if policy.allows(known.cluster) is known.is_flagged_disallowed or is_uncounted:
            yield known.job_id


def _missed(ports: Ports, policy: Policy, summaries: list[StatusSummary], segment: int) -> Iterable[str]:
    """Find specs and artifacts that changed without anybody having been woken, in one part of all."""
    observed, following = {known.job_id: known for known in summaries}, dict[str, tuple[str, str]]()
    for job_id, item in ports.specs.segment(segment, SEGMENTS):
        known = observed.get(job_id)
        if known is None or known.observed_spec_hash != hash_item(item):
            yield job_id
        elif known.artifact_version is not None and (key := _followed(item)) is not None:
            following[job_id] = (policy.bucket_of(key), key)
    heads = ports.records.heads(dict.fromkeys(following.values()))
    for job_id, place in following.items():
        head = heads.get(place)
        newest = None if head is None or head.admitted is None else head.admitted.version_id
        if newest not in {None, observed[job_id].artifact_version}:
            yield job_id
    expected = [
        known.job_id
        for known in summaries
        if known.lifecycle not in {Lifecycle.DELETED.value, Lifecycle.DELETING.value}
        and zlib.crc32(known.job_id.encode()) % SEGMENTS == segment
    ]
    present = ports.specs.present(expected)
    yield from (job_id for job_id in expected if job_id not in present)


def _followed(item: Mapping[str, Any]) -> str | None:
    """Name the key whose newest version an accepted spec runs. A pin names its bytes once and for all."""
    key = item.get("artifact_path")
    if not isinstance(key, str) or len(key.encode()) > MAX_KEY_BYTES or item.get("artifact_signature") is not None:
        return None
    return key
