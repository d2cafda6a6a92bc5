"""The controller's own record of every job.

Lease, fence and status share one item, so that taking the lease, raising the fence and reading the status are one write,
and recording a status on condition of fence and version is one more. A status that comes with revisions, events or a jar
is one transaction.
"""

import random
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import is_busy, translated
from flink_controller.adapters.dynamodb_batches import MAX_BATCH, batch
from flink_controller.adapters.dynamodb_items import (
    BY_ARTIFACT,
    BY_DUE,
    BY_KIND,
    Item,
    document,
    epoch_ms,
    from_epoch_ms,
    is_hashed,
    name_key,
    number,
    parsed,
    text,
)
from flink_controller.domain.errors import (
    ControllerError,
    LeaseTakenError,
    RunTakenError,
    StaleWriteError,
    TransientError,
)
from flink_controller.domain.lifecycle import summarise
from flink_controller.domain.names import JobName, shown
from flink_controller.domain.report import surplus
from flink_controller.domain.status import (
    SCHEMA_VERSION,
    DueKind,
    Event,
    JobStatus,
    Revision,
    Run,
    SavepointRecord,
    StagedJar,
    StatusSummary,
)
from flink_controller.domain.trust import asked_to_fit, no_room
from flink_controller.ports import STATUS_LIMIT_BYTES, Commit, Held

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_dynamodb import DynamoDBClient

READ_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:GetItem", "dynamodb:Query"})
"""On the state table, and `Query` on its indexes `by_kind`, `by_artifact` and `by_due`."""
BATCH_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:BatchGetItem"})
"""What reading many statuses needs, on the state table; no function does."""
WRITE_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"})
"""On the state table."""

EVENT_RETENTION: Final = timedelta(days=90)
"""Events are for people; three months cover a quarter's questions."""
_JOB: Final = "JOB#"
_STATUS: Final = "STATUS"
_REVISION: Final = "REVISION#"
_EVENT: Final = "EVENT#"
_RUN: Final = "RUN#"
_SAVEPOINT: Final = "SAVEPOINT#"
_COMMIT_TRIES: Final = 3
_LONGEST_PAUSE_S: Final = 0.05


class DynamoStatusStore:
    """`StatusStore` on DynamoDB.

    Writes: `acquire`, `commit` and `release` one each (a transaction counts as one request and twice the capacity),
    `release_jar` two.
    """

    def __init__(self, client: "ClientSource[DynamoDBClient]", table_name: str) -> None:
        self._source = client
        self._table = table_name

    @cached_property
    def _client(self) -> "DynamoDBClient":
        return opened(self._source)

    def acquire(self, job_id: str, *, owner: str, now: datetime, until: datetime) -> Held:
        """Take the job's lease, raise its fence, and read its status, in one write."""
        with translated(f"take the lease of {shown(job_id)}"):
            try:
                item = self._client.update_item(
                    TableName=self._table,
                    Key=_key(job_id, _STATUS),
                    # A repetition of this call, after a lost answer, raises the fence once more: it only has to grow.
                    UpdateExpression="SET lease_owner = :owner, lease_until = :until,"
                    " #version = if_not_exists(#version, :none) ADD fence :one",
                    ConditionExpression="attribute_not_exists(lease_until) OR lease_until <= :now OR lease_owner = :owner",
                    ExpressionAttributeNames={"#version": "version"},
                    ExpressionAttributeValues={
                        ":owner": text(owner),
                        ":until": number(epoch_ms(until)),
                        ":now": number(epoch_ms(now)),
                        ":none": number(0),
                        ":one": number(1),
                    },
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )["Attributes"]
            except self._client.exceptions.ConditionalCheckFailedException as error:
                held_until = _item_of(error).get("lease_until", number(epoch_ms(until)))
                raise LeaseTakenError(job_id, from_epoch_ms(int(held_until["N"]))) from error
        return Held(job_id, _status(item), int(item["fence"]["N"]), int(item["version"]["N"]))

    def commit(self, held: Held, commit: Commit, *, release: bool) -> Held:
        """Record a status and its items, all or nothing, on condition of fence and version."""
        # botocore repeats a call whose answer was lost. The repetition finds the version raised, by ourselves, and must not
        # be told that the write is stale: the caller would give up a step whose intent stands, and wait for the next look.
        # Turning repetitions off would turn every lost answer into just that. So each commit leaves a random id in the item,
        # and a refused condition looks for it in the item that comes back with the refusal: no second read, no race.
        # A deterministic client request token would not do: DynamoDB compares it for ten minutes only, and answers "done"
        # to a different writer's commit that happens to have the same token.
        commit_id = uuid.uuid4().hex
        update = self._status_update(held, commit.status, commit_id=commit_id, release=release)
        # The conditions of a new run stand where a cancellation can be read by its place: see _judge_cancellation.
        conditional = [*self._new_runs(held.job_id, commit), *self._quota_update(held, commit)]
        items = [
            *conditional,
            *self._puts(held.job_id, commit),
            *self._deletes(held.job_id, commit),
            *self._claims(held, commit),
            *self._jar_update(held.job_id, commit.jar),
        ]
        for attempt in range(_COMMIT_TRIES):
            if self._try_commit(held, update, items, commit_id, commit):
                return replace(held, status=commit.status, version=held.version + 1)
            if attempt < _COMMIT_TRIES - 1:
                # Another request on the same item was under way, most often somebody who asks for the lease in vain.
                time.sleep(random.uniform(0, _LONGEST_PAUSE_S))  # noqa: S311  # spreads load, guards nothing
        raise TransientError(f"the status of {shown(held.job_id)} is busy")

    def release(self, held: Held) -> None:
        """Give up the lease without recording anything. Harmless when it is somebody else's already."""
        with translated(f"release the lease of {shown(held.job_id)}"):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=_key(held.job_id, _STATUS),
                    UpdateExpression="REMOVE lease_owner, lease_until",
                    ConditionExpression="fence = :fence",
                    ExpressionAttributeValues={":fence": number(held.fence)},
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return

    def read(self, job_id: str) -> JobStatus | None:
        """Read a status consistently."""
        item = self._get(_key(job_id, _STATUS))
        return None if item is None else _status(item)

    def read_many(self, job_ids: Sequence[str]) -> dict[str, JobStatus]:
        """Read some statuses consistently, a hundred a call."""
        found = dict[str, Item]()
        for start in range(0, len(job_ids), MAX_BATCH):
            keys = [_key(job_id, _STATUS) for job_id in job_ids[start : start + MAX_BATCH]]
            found |= batch(self._client, self._table, keys, doing="read statuses")
        items = ((job_id, found.get(_key(job_id, _STATUS)["pk"]["S"])) for job_id in job_ids)
        statuses = ((job_id, None if item is None else _status(item)) for job_id, item in items)
        return {job_id: status for job_id, status in statuses if status is not None}

    def revision(self, job_id: str, number: int) -> Revision | None:
        """Read a revision consistently."""
        item = self._get(_key(job_id, _revision_key(number)))
        return None if item is None else parsed(Revision, item)

    def revisions(self, job_id: str) -> list[Revision]:
        """Read all retained revisions, oldest first."""
        return [parsed(Revision, item) for item in self._query(_under(job_id, _REVISION))]

    def events(self, job_id: str, limit: int = 100) -> list[Event]:
        """Read the newest events, oldest first."""
        if limit <= 0:
            return []
        newest: list[Event] = []
        for item in self._query({**_under(job_id, _EVENT), "ScanIndexForward": False, "Limit": limit}):
            newest.append(parsed(Event, item))
            if len(newest) == limit:
                break
        return newest[::-1]

    def run(self, job_id: str, scheduled_at: datetime) -> Run | None:
        """Read a run's record consistently."""
        item = self._get(_key(job_id, _run_key(scheduled_at)))
        return None if item is None else parsed(Run, item)

    def runs(self, job_id: str, limit: int = 100) -> list[Run]:
        """Read the newest records of runs, oldest first."""
        if limit <= 0:
            return []
        found = self._query({**_under(job_id, _RUN), "ScanIndexForward": False, "Limit": min(limit, 1000)})
        return [parsed(Run, item) for item in islice(found, limit)][::-1]

    def prune_runs(self, job_id: str, *, succeeded: int, other: int) -> int:
        """Delete the oldest records beyond what is kept: one query, and one write a record."""
        gone = surplus([parsed(Run, item) for item in self._query(_under(job_id, _RUN))], succeeded=succeeded, other=other)
        for run in gone:
            with translated(f"delete a run's record of {shown(job_id)}"):
                self._client.delete_item(TableName=self._table, Key=_key(job_id, _run_key(run.scheduled_at)))
        return len(gone)

    def holders(self, path: str) -> list[str]:
        """Name the jobs whose status claims a place as an origin, consistently, in order."""
        arguments = {
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": _place_key(path)},
            "ConsistentRead": True,
        }
        return [item["sk"]["S"] for item in self._query(arguments)]

    def savepoints(self, job_id: str) -> list[SavepointRecord]:
        """Read the records of all savepoints, oldest first, consistently."""
        return [parsed(SavepointRecord, item) for item in self._query(_under(job_id, _SAVEPOINT))]

    def summaries(self) -> Iterator[StatusSummary]:
        """Read the index of all statuses. May lag behind."""
        arguments = {
            "IndexName": BY_KIND,
            "KeyConditionExpression": "kind = :kind",
            "ExpressionAttributeValues": {":kind": text(_STATUS)},
        }
        for item in self._query(arguments):
            yield parsed(StatusSummary, item, "summary")

    def jobs_naming(self, bucket: str, key: str) -> Iterator[str]:
        """Find the jobs whose accepted spec names an artifact. May lag behind."""
        arguments = {
            "IndexName": BY_ARTIFACT,
            "KeyConditionExpression": "artifact = :artifact",
            "ExpressionAttributeValues": {":artifact": text(f"{bucket}/{key}")},
        }
        yield from self._names(arguments)

    def due(self, kind: DueKind, now: datetime) -> Iterator[str]:
        """Find due jobs in the index, most overdue first."""
        arguments = {
            "IndexName": BY_DUE,
            "KeyConditionExpression": "due_kind = :kind AND due_at <= :now",
            "ExpressionAttributeValues": {":kind": text(kind.value), ":now": number(epoch_ms(now))},
        }
        yield from self._names(arguments)

    def staged_jar(self, cluster: str, sha256: str) -> StagedJar | None:
        """Read the record of an artifact's jar on a cluster, consistently."""
        item = self._get(_jar_key(cluster, sha256))
        return None if item is None else _jar(cluster, sha256, item)

    def release_jar(self, cluster: str, sha256: str, job_id: str) -> StagedJar | None:
        """Take a job off a jar's users; give the record back, now deleted, if that was the last. Harmless twice."""
        with translated(f"release the jar of {shown(job_id)}"):
            try:
                item = self._client.update_item(
                    TableName=self._table,
                    Key=_jar_key(cluster, sha256),
                    UpdateExpression="DELETE #users :user",
                    # Without it, the update would make a record of nothing.
                    ConditionExpression="attribute_exists(pk)",
                    ExpressionAttributeNames={"#users": "users"},
                    ExpressionAttributeValues={":user": {"SS": [job_id]}},
                    ReturnValues="ALL_NEW",
                )["Attributes"]
            except self._client.exceptions.ConditionalCheckFailedException:
                return None
        # DynamoDB has no empty sets: the attribute goes with its last member.
        return None if "users" in item else self._delete_unused(_jar(cluster, sha256, item))

    def _delete_unused(self, jar: StagedJar) -> StagedJar | None:
        with translated(f"delete the record of jar {jar.jar_id}"):
            try:
                self._client.delete_item(
                    TableName=self._table,
                    Key=_jar_key(jar.cluster, jar.sha256),
                    # Another job may have claimed the jar, or staged a newer one, since its last user left.
                    ConditionExpression="attribute_not_exists(#users) AND jar_id = :jar_id",
                    ExpressionAttributeNames={"#users": "users"},
                    ExpressionAttributeValues={":jar_id": text(jar.jar_id)},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except self._client.exceptions.ConditionalCheckFailedException as error:
                # No record at all: our own deletion, whose answer was lost. The jar is still ours to remove.
                return None if _item_of(error) else jar
        return jar

    def _try_commit(
        self,
        held: Held,
        update: Mapping[str, Any],
        items: list[dict[str, Any]],
        commit_id: str,
        commit: Commit,
    ) -> bool:
        """Commit once; False when another request on the same item was in the way."""
        with translated(f"record the status of {shown(held.job_id)}"):
            try:
                if items:
                    self._client.transact_write_items(TransactItems=[{"Update": update}, *items])  # type: ignore[list-item,typeddict-item]  # built as plain dicts
                else:
                    self._client.update_item(**update)
            except self._client.exceptions.ConditionalCheckFailedException as error:
                _demand_own_commit(held, _item_of(error), commit_id, error)
            except self._client.exceptions.TransactionConflictException:
                return False
            except self._client.exceptions.TransactionCanceledException as error:
                return _judge_cancellation(held, commit_id, commit, error)
        return True

    def _status_update(self, held: Held, status: JobStatus, *, commit_id: str, release: bool) -> dict[str, Any]:
        values = {
            ":document": document(status),
            ":summary": document(summarise(status)),
            ":schema_version": number(status.schema_version),
            ":commit_id": text(commit_id),
            ":kind": text(_STATUS),
            ":name": text(name_key(held.job_id)),
            ":fence": number(held.fence),
            ":version": number(held.version),
            ":next_version": number(held.version + 1),
        }
        size_bytes = len(values[":document"]["S"].encode()) + len(values[":summary"]["S"].encode())
        if size_bytes > STATUS_LIMIT_BYTES:
            raise ControllerError(
                f"the status of {shown(held.job_id)} has {size_bytes} bytes, more than {STATUS_LIMIT_BYTES}: a message in it"
                " was not bounded"
            )
        assignments = (
            "SET document = :document, summary = :summary, schema_version = :schema_version, commit_id = :commit_id,"
            " kind = :kind, #name = :name, #version = :next_version"
        )
        removals = ["lease_owner", "lease_until"] if release else []
        artifact = _artifact_of(status)
        if artifact is None:
            removals.append("artifact")
        else:
            assignments += ", artifact = :artifact"
            values[":artifact"] = text(artifact)
        if status.due is None:
            removals += ["due_kind", "due_at"]
        else:
            kind, at = status.due
            assignments += ", due_kind = :due_kind, due_at = :due_at"
            values |= {":due_kind": text(kind.value), ":due_at": number(epoch_ms(at))}
        return {
            "TableName": self._table,
            "Key": _key(held.job_id, _STATUS),
            "UpdateExpression": f"{assignments} REMOVE {', '.join(removals)}" if removals else assignments,
            "ConditionExpression": "fence = :fence AND #version = :version",
            "ExpressionAttributeNames": {"#name": "name", "#version": "version"},
            "ExpressionAttributeValues": values,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def _puts(self, job_id: str, commit: Commit) -> Iterator[dict[str, Any]]:
        for revision in commit.revisions:
            yield self._put(job_id, _revision_key(revision.number), {"document": document(revision)})
        for run in commit.runs:
            yield self._put(job_id, _run_key(run.scheduled_at), {"document": document(run)})
        for savepoint in commit.savepoints:
            yield self._put(job_id, f"{_SAVEPOINT}{savepoint.number:012d}", {"document": document(savepoint)})
        for event in commit.events:
            expires_at = (epoch_ms(event.time + EVENT_RETENTION)) // 1000
            attributes = {"document": document(event), "expires_at": number(expires_at)}
            yield self._put(job_id, f"{_EVENT}{event.sequence:012d}", attributes)

    def _new_runs(self, job_id: str, commit: Commit) -> Iterator[dict[str, Any]]:
        for run in commit.started_runs:
            made = self._put(job_id, _run_key(run.scheduled_at), {"document": document(run)})
            made["Put"]["ConditionExpression"] = "attribute_not_exists(sk)"
            yield made

    def _quota_update(self, held: Held, commit: Commit) -> Iterator[dict[str, Any]]:
        """Take places of the namespace's quotas, or give them back; once, because it is part of the status's write."""
        changes = commit.takes(held.status)
        if not changes:
            return
        update: dict[str, Any] = {
            "TableName": self._table,
            "Key": {"pk": text(f"QUOTA#{JobName.parse(held.job_id).namespace}"), "sk": text("RUNS")},
            "UpdateExpression": f"ADD {', '.join(f'#{name} :{name}' for name in changes)}",
            "ExpressionAttributeNames": {f"#{name}": name for name in changes},
            "ExpressionAttributeValues": {f":{name}": number(more) for name, more in changes.items()},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        conditions = []
        for name, more, limit in asked_to_fit(commit.quotas, changes):
            if more > limit:
                # The condition lets the first of a namespace pass.
                raise no_room(commit.quotas, changes, {})
            conditions.append(f"(attribute_not_exists(#{name}) OR #{name} <= :room_{name})")
            update["ExpressionAttributeValues"][f":room_{name}"] = number(limit - more)
        if conditions:
            update["ConditionExpression"] = " AND ".join(conditions)
        yield {"Update": update}

    def _deletes(self, job_id: str, commit: Commit) -> Iterator[dict[str, Any]]:
        for number_ in commit.forgotten:
            yield {"Delete": {"TableName": self._table, "Key": _key(job_id, _revision_key(number_))}}

        for number_ in commit.disposed:
            yield {"Delete": {"TableName": self._table, "Key": _key(job_id, f"{_SAVEPOINT}{number_:012d}")}}

    def _claims(self, held: Held, commit: Commit) -> Iterator[dict[str, Any]]:
        """One item a claim, so that whoever would remove what lies at a place finds it by one query."""
        before = set() if held.status is None else set(held.status.claims)
        for path in sorted(set(commit.status.claims) - before):
            yield {"Put": {"TableName": self._table, "Item": {"pk": _place_key(path), "sk": text(held.job_id)}}}
        for path in sorted(before - set(commit.status.claims)):
            yield {"Delete": {"TableName": self._table, "Key": {"pk": _place_key(path), "sk": text(held.job_id)}}}

    def _put(self, job_id: str, sort_key: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
        return {"Put": {"TableName": self._table, "Item": {**_key(job_id, sort_key), **attributes}}}

    def _jar_update(self, job_id: str, jar: StagedJar | None) -> Iterator[dict[str, Any]]:
        if jar is None:
            return
        yield {
            "Update": {
                "TableName": self._table,
                "Key": _jar_key(jar.cluster, jar.sha256),
                "UpdateExpression": "SET jar_id = :jar_id, incarnation = :incarnation, #path = :path ADD #users :user",
                "ExpressionAttributeNames": {"#users": "users", "#path": "path"},
                "ExpressionAttributeValues": {
                    ":jar_id": text(jar.jar_id),
                    ":incarnation": text(jar.incarnation),
                    ":path": text(jar.path),
                    ":user": {"SS": [job_id]},
                },
            }
        }

    def _get(self, key: Mapping[str, Any]) -> Item | None:
        with translated(f"read {key['pk']['S']}"):
            return self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")

    def _names(self, arguments: Mapping[str, Any]) -> Iterator[str]:
        for item in self._query(arguments):
            name = item["pk"]["S"].removeprefix(_JOB)
            # A hashed name is no valid one, so its spec was never accepted and nothing can be due or change for it.
            if not is_hashed(name):
                yield name

    def _query(self, arguments: Mapping[str, Any]) -> Iterator[Item]:
        asked = {"TableName": self._table, **arguments}
        while True:
            with translated("query the state table"):
                page = self._client.query(**asked)
            yield from page["Items"]
            last = page.get("LastEvaluatedKey")
            if not last:
                return
            asked["ExclusiveStartKey"] = last


def _judge_cancellation(held: Held, commit_id: str, commit: Commit, error: "ClientError") -> bool:
    reasons: list[Any] = list(error.response.get("CancellationReasons", ()))
    codes = [str(reason.get("Code", "None")) for reason in reasons]
    failed = codes.index("ConditionalCheckFailed") if "ConditionalCheckFailed" in codes else None
    if failed is not None and failed > 0:
        # The status update comes first, then the new runs, then the quota; nothing else has a condition.
        if failed <= len(commit.started_runs):
            raise RunTakenError(held.job_id, commit.started_runs[failed - 1].scheduled_at) from error
        item = reasons[failed].get("Item", {})
        taken = {name: int(value["N"]) for name, value in item.items() if "N" in value}
        raise no_room(commit.quotas, commit.takes(held.status), taken) from error
    if failed == 0:
        _demand_own_commit(held, reasons[0].get("Item", {}), commit_id, error)
        return True
    if "TransactionConflict" in codes:
        return False
    if any(is_busy(code) for code in codes):
        raise TransientError(f"recording {shown(held.job_id)}: {', '.join(codes)}") from error
    raise ControllerError(f"recording {shown(held.job_id)}: {', '.join(codes)}") from error


def _demand_own_commit(held: Held, item: Item, commit_id: str, error: Exception) -> None:
    """Pass when the stored status is the one that was to be written, and the fence is still ours.

    A newer holder may have gone on from our commit already. The write then counts, but this holder may not go on.
    """
    is_ours = item.get("commit_id") == text(commit_id) and item.get("fence") == number(held.fence)
    if not is_ours:
        raise StaleWriteError(f"the status of {shown(held.job_id)} moved on since it was read") from error


def _item_of(error: "ClientError") -> Item:
    """Give the item that a refused condition met; empty when there was none."""
    found: Item | None = error.response.get("Item")  # type: ignore[assignment]  # not in the stubs' type
    return found or {}


def _status(item: Item) -> JobStatus | None:
    if "document" not in item:
        return None
    # Beside the document, whose defaults are left out: the version that wrote it would leave its own out as well.
    version = int(item.get("schema_version", number(SCHEMA_VERSION))["N"])
    if version > SCHEMA_VERSION:
        raise ControllerError(
            f"{shown(item['pk']['S'])} was written by a newer controller, in form {version}; this one reads up to"
            f" {SCHEMA_VERSION}: deploy the newer version again, or restore a backup of this one"
        )
    return parsed(JobStatus, item)


def _artifact_of(status: JobStatus) -> str | None:
    if status.artifact_location is not None:
        return status.artifact_location
    return None if status.desired is None else f"{status.desired.artifact.bucket}/{status.desired.artifact.key}"


def _jar(cluster: str, sha256: str, item: Item) -> StagedJar:
    return StagedJar(
        cluster=cluster,
        sha256=sha256,
        jar_id=item["jar_id"]["S"],
        incarnation=item["incarnation"]["S"],
        path=item["path"]["S"] if "path" in item else "",
    )


def _key(job_id: str, sort_key: str) -> dict[str, Any]:
    return {"pk": text(_JOB + name_key(job_id)), "sk": text(sort_key)}


def _revision_key(revision: int) -> str:
    return f"{_REVISION}{revision:08d}"


def _place_key(path: str) -> dict[str, Any]:
    return text(f"STATE#{name_key(path)}")


def _run_key(scheduled_at: datetime) -> str:
    return f"{_RUN}{epoch_ms(scheduled_at):015d}"


def _jar_key(cluster: str, sha256: str) -> dict[str, Any]:
    return {"pk": text(f"JAR#{name_key(cluster)}"), "sk": text(sha256)}


def _under(job_id: str, prefix: str) -> dict[str, Any]:
    return {
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
        "ExpressionAttributeValues": {":pk": text(_JOB + name_key(job_id)), ":prefix": text(prefix)},
        "ConsistentRead": True,
    }
