"""Many at once on the AWS emulator: leases, fences, versions and heads lose nothing.

Never on moto: its server loses concurrent updates.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import TypeVar

import pytest

from flink_controller.adapters.dynamodb_artifacts import DynamoArtifactRecords
from flink_controller.adapters.dynamodb_specs import EditableDynamoSpecStore
from flink_controller.adapters.dynamodb_statuses import DynamoStatusStore
from flink_controller.domain.errors import LeaseTakenError, QuotaExceededError, StaleWriteError, TransientError
from flink_controller.domain.status import Run, RunOutcome, StagedJar
from flink_controller.domain.trust import Quotas
from flink_controller.ports import Commit, Held
from tests.contract.samples import DIGEST, event, held, recorded, status, version
from tests.contract.worlds import KNOWN_FIELDS, AwsWorld, after

pytestmark = pytest.mark.aws

RACERS = 8
T = TypeVar("T")


def race(actions: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Run all at once; give what each returned or raised."""
    barrier = Barrier(len(actions))

    def run(action: Callable[[], T]) -> T | Exception:
        barrier.wait()
        try:
            return action()
        except (LeaseTakenError, StaleWriteError) as error:
            return error

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


@pytest.fixture
def stores(emulated_world: AwsWorld) -> list[DynamoStatusStore]:
    """Give every racer a client of its own."""
    return [DynamoStatusStore(emulated_world.client("dynamodb"), emulated_world.state_table) for _ in range(RACERS)]


def test_one_of_many_gets_the_lease(stores: list[DynamoStatusStore]) -> None:
    for round_ in range(15):
        job_id = f"job-{round_}"
        results = race([lambda s=s, n=n, j=job_id: held(s, j, owner=f"owner-{n}") for n, s in enumerate(stores)])  # type: ignore[misc]  # bound now

        winners = [result for result in results if isinstance(result, Held)]
        assert [winner.fence for winner in winners] == [1]


@pytest.mark.parametrize("has_items", [False, True], ids=["status alone", "transaction"])
def test_one_of_many_commits_on_one_version(stores: list[DynamoStatusStore], *, has_items: bool) -> None:
    for round_ in range(15):
        lease = held(stores[0], f"job-{round_}")

        def commit(store: DynamoStatusStore, number: int, lease: Held = lease) -> int:
            events = (event(number + 1),) if has_items else ()
            store.commit(lease, Commit(status(lease.job_id, cluster=f"c{number}"), events=events), release=False)
            return number

        results = race([lambda s=s, n=n: commit(s, n) for n, s in enumerate(stores)])  # type: ignore[misc]  # bound now

        (winner,) = [result for result in results if isinstance(result, int)]
        stored = stores[0].read(lease.job_id)
        assert stored is not None
        assert stored.cluster == f"c{winner}"
        assert [e.sequence for e in stores[0].events(lease.job_id)] == ([winner + 1] if has_items else [])


def test_no_update_is_lost_when_nobody_respects_the_lease(stores: list[DynamoStatusStore]) -> None:
    # Everybody calls himself by the same name, so that the lease keeps nobody out: fence and version must do it alone.
    def count_up(store: DynamoStatusStore) -> tuple[int, list[int]]:
        done, fences = 0, []
        for _ in range(12):
            lease = held(store, owner="everybody")
            fences.append(lease.fence)
            before = lease.status or status()
            after_ = before.model_copy(update={"attempt_counter": before.attempt_counter + 1})
            try:
                store.commit(lease, Commit(after_, events=(event(after_.attempt_counter),)), release=False)
                done += 1
            except StaleWriteError:
                continue
        return done, fences

    results = race([lambda s=s: count_up(s) for s in stores])  # type: ignore[misc]  # bound now

    counts = [result for result in results if isinstance(result, tuple)]
    assert len(counts) == RACERS
    total = sum(done for done, _ in counts)
    stored = stores[0].read("job")
    assert total > 0
    assert stored is not None
    assert stored.attempt_counter == total
    assert [found.sequence for found in stores[0].events("job", limit=1000)] == list(range(1, total + 1))
    fences = [fence for _, own in counts for fence in own]
    assert len(set(fences)) == len(fences)
    assert all(own == sorted(own) for _, own in counts)


def test_exactly_one_of_a_jars_users_is_the_last(stores: list[DynamoStatusStore]) -> None:
    for round_ in range(8):
        jar = StagedJar(cluster=f"cluster-{round_}", sha256=DIGEST, jar_id="1_a.jar", incarnation="life-1")
        for number in range(RACERS):
            recorded(stores[0], Commit(status(f"job-{number}"), jar=jar))

        results = race(
            [lambda s=s, n=n, c=jar.cluster: s.release_jar(c, DIGEST, f"job-{n}") for n, s in enumerate(stores)]  # type: ignore[misc]  # bound now
        )

        assert [result for result in results if isinstance(result, StagedJar)] == [jar]
        assert stores[0].staged_jar(jar.cluster, DIGEST) is None


def test_verdicts_at_once_lose_no_version_and_the_newest_upload_is_the_head(emulated_world: AwsWorld) -> None:
    stores = [DynamoArtifactRecords(emulated_world.client("dynamodb"), emulated_world.state_table) for _ in range(RACERS)]

    def record(number: int) -> None:
        for _ in range(RACERS + 1):
            try:
                stores[number].record(version(f"v{number}", uploaded_at=after(number)), burst_window=timedelta(seconds=5))
            except StaleWriteError:
                continue
            else:
                return
        raise AssertionError("every round of the race must have a winner")

    race([lambda n=n: record(n) for n in range(RACERS)])  # type: ignore[misc]  # bound now

    head = emulated_world.records.head("artifacts", "artifacts/a.jar")
    assert head is not None
    assert head.admitted is not None
    assert f"v{RACERS - 1}" == head.latest.version_id == head.admitted.version_id
    assert len(emulated_world.records.versions("artifacts", "artifacts/a.jar")) == RACERS


def test_one_of_many_edits_a_spec(emulated_world: AwsWorld) -> None:
    emulated_world.put_spec("job", {"labels": {"round": "start"}})
    stores = [
        EditableDynamoSpecStore(emulated_world.client("dynamodb"), emulated_world.spec_table, known_fields=KNOWN_FIELDS)
        for _ in range(RACERS)
    ]
    for _ in range(10):
        read = emulated_world.specs.read("job")

        def edit(store: EditableDynamoSpecStore, number: int, read: object = read) -> int:
            store.replace("job", {"labels": {"by": str(number)}, "nonce": repr(read)[-20:]}, expected=read)  # type: ignore[arg-type]  # as read
            return number

        results = race([lambda s=s, n=n: edit(s, n) for n, s in enumerate(stores)])  # type: ignore[misc]  # bound now

        (winner,) = [result for result in results if isinstance(result, int)]
        stored = emulated_world.specs.read("job")
        assert stored is not None
        assert stored["labels"] == {"by": str(winner)}


def test_one_of_many_starts_an_instant_and_the_quota_holds(stores: list[DynamoStatusStore]) -> None:
    # Jobs of one namespace, each with a lease of its own: only the quota and the runs' own conditions are between them.
    leases = [held(store, f"race/job-{number}") for number, store in enumerate(stores)]

    def start(store: DynamoStatusStore, lease: Held) -> str:
        made = Run(scheduled_at=after(0), outcome=RunOutcome.RUNNING)
        while True:
            try:
                store.commit(
                    lease, Commit(status(lease.job_id), started_runs=(made,), quotas=Quotas(active_runs=3)), release=False
                )
            except QuotaExceededError:
                return "refused"
            except TransientError:
                continue
            return "started"

    results = race([lambda s=s, le=le: start(s, le) for s, le in zip(stores, leases, strict=True)])  # type: ignore[misc]  # bound now

    assert sorted(map(str, results)) == ["refused"] * (RACERS - 3) + ["started"] * 3
    assert sum(len(stores[0].runs(lease.job_id)) for lease in leases) == 3
