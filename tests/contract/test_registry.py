"""What `Registry` and `EditableRegistry` promise."""

from datetime import timedelta
from typing import Any

import pytest

from flink_controller.domain.artifact import KeyAlgorithm, KeyStatus, TrustedKey
from flink_controller.domain.cluster import Auth
from flink_controller.domain.errors import RejectedError, StaleWriteError, TransientError
from flink_controller.domain.status import Pause
from flink_controller.domain.trust import (
    Denial,
    NamespacePolicy,
    Quotas,
    Reaction,
    RegistryEvent,
    StatementRule,
    Threshold,
    Trust,
)
from tests.contract.samples import CLUSTER, DIGEST
from tests.contract.worlds import NOW, AwsWorld, World

KEY = TrustedKey(
    key_id="team",
    algorithm=KeyAlgorithm.ED25519,
    public_key="-----BEGIN PUBLIC KEY-----\n…\n-----END PUBLIC KEY-----\n",
    namespaces=("default", "data"),
    prefixes=("shared/",),
    status=KeyStatus.RETIRING,
    not_before=NOW,
)
PLAIN_CLUSTER = {
    "url": {"S": "http://flink:8081"},
    "savepoint_root": {"S": "s3://state/savepoints"},
    "checkpoint_root": {"S": "s3://state/checkpoints"},
}


def put_by_hand(world: AwsWorld, partition_key: str, attributes: dict[str, Any]) -> None:
    world.dynamodb.put_item(
        TableName=world.state_table, Item={"pk": {"S": partition_key}, "sk": {"S": "ITEM"}, **attributes}
    )


def test_a_cluster_that_nobody_registered_is_none(world: World) -> None:
    assert world.registry.cluster("absent") is None


def test_a_registered_cluster_is_read_back(world: World) -> None:
    cluster = CLUSTER.model_copy(
        update={"auth": Auth.BEARER, "secret": "arn:x", "heartbeat_timeout_s": 12.5, "high_availability": True}
    )

    world.registry.put_cluster(cluster)

    assert world.registry.cluster("default") == cluster
    assert world.registry.clusters() == [cluster]


def test_registering_again_replaces(world: World) -> None:
    world.registry.put_cluster(CLUSTER)
    world.registry.put_cluster(CLUSTER.model_copy(update={"url": "http://other:8081"}))

    assert [found.url for found in world.registry.clusters()] == ["http://other:8081"]


def test_a_removed_cluster_is_gone_and_removing_twice_is_harmless(world: World) -> None:
    world.registry.put_cluster(CLUSTER)

    world.registry.delete_cluster("default")
    world.registry.delete_cluster("default")

    assert world.registry.cluster("default") is None
    assert world.registry.clusters() == []


def test_a_malformed_cluster_is_refused_by_name_and_left_out_of_lists(world: World) -> None:
    world.registry.put_cluster(CLUSTER)
    world.registry.put_cluster(CLUSTER.model_copy(update={"name": "broken"}))
    world.spoil_cluster("broken")

    with pytest.raises(RejectedError, match="CLUSTER#broken"):
        world.registry.cluster("broken")
    assert [found.name for found in world.registry.clusters()] == ["default"]


def test_every_fault_of_a_malformed_cluster_is_named(aws_world: AwsWorld) -> None:
    aws_world.registry.put_cluster(CLUSTER)
    aws_world.spoil_cluster("default")

    with pytest.raises(RejectedError) as caught:
        aws_world.registry.cluster("default")

    assert "colour" in str(caught.value)
    assert "heartbeat_timeout_s" in str(caught.value)


def test_a_key_is_read_back(world: World) -> None:
    world.registry.put_key(KEY)

    assert world.registry.key("team") == KEY
    assert world.registry.keys() == [KEY]
    assert world.registry.key("absent") is None


def told(subject: str, action: str = "Added", at: int = 0) -> RegistryEvent:
    return RegistryEvent(time=NOW + timedelta(seconds=at), action=action, subject=subject, message="because", by="me")


def test_a_key_is_replaced_only_where_it_is_the_expected_one(world: World) -> None:
    revoked = KEY.model_copy(update={"status": KeyStatus.REVOKED, "not_after": NOW})

    world.registry.replace_key(KEY, expected=None, event=told("KEY#team"))
    world.registry.replace_key(revoked, expected=KEY, event=told("KEY#team", "Revoked", 1))
    with pytest.raises(StaleWriteError):
        world.registry.replace_key(KEY, expected=KEY, event=told("KEY#team", "Changed", 2))
    with pytest.raises(StaleWriteError):
        world.registry.replace_key(KEY, expected=None, event=told("KEY#team", "Added", 3))

    assert world.registry.key("team") == revoked
    assert world.registry.changes("KEY#team") == [told("KEY#team"), told("KEY#team", "Revoked", 1)]
    assert world.registry.keys() == [revoked]


def test_a_key_that_gained_a_field_is_not_the_expected_one(world: World) -> None:
    limited = KEY.model_copy(update={"not_after": NOW})
    world.registry.put_key(limited)

    with pytest.raises(StaleWriteError):
        world.registry.replace_key(KEY, expected=KEY, event=told("KEY#team"))
    world.registry.replace_key(KEY, expected=limited, event=told("KEY#team"))

    assert world.registry.key("team") == KEY


def test_trust_is_told_of_keys_and_a_digest_at_once(world: World) -> None:
    world.registry.put_key(KEY)

    assert world.registry.trust(["team", "absent"], DIGEST) == Trust({"team": KEY, "absent": None})
    world.registry.put_denial(Denial(sha256=DIGEST, reason="bad", denied_at=NOW), told(f"DENY#{DIGEST}", "Denied"))

    assert world.registry.trust([], DIGEST).denial == Denial(sha256=DIGEST, reason="bad", denied_at=NOW)
    assert world.registry.trust([], "0" * 64).denial is None
    assert [found.sha256 for found in world.registry.denials()] == [DIGEST]


def test_a_denial_can_be_lifted_and_both_are_told(world: World) -> None:
    subject = f"DENY#{DIGEST}"
    world.registry.put_denial(Denial(sha256=DIGEST), told(subject, "Denied"))
    world.registry.delete_denial(DIGEST, told(subject, "Lifted", 1))

    assert world.registry.trust([], DIGEST).denial is None
    assert world.registry.denials() == []
    assert [event.action for event in world.registry.changes(subject)] == ["Denied", "Lifted"]


def test_a_policy_is_read_back_and_has_defaults(world: World) -> None:
    policy = NamespacePolicy(
        namespace="payments",
        statement=StatementRule.REQUIRED,
        thresholds=(Threshold(prefix="payments/", keys=2),),
        on_distrust=Reaction.SUSPEND,
        state_roots=("s3://bucket/path",),
        quotas=Quotas(active_runs=3),
        allowed_clusters=("default", "other"),
    )

    world.registry.put_policy(policy, told("POLICY#payments", "Changed"))

    assert world.registry.policy("payments") == policy
    assert policy.state_roots == ("s3://bucket/path/",)
    assert world.registry.policy("default") == NamespacePolicy(namespace="default")
    assert world.registry.policies() == [policy]
    assert [event.action for event in world.registry.changes("POLICY#payments")] == ["Changed"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"statement": {"S": "sometimes"}},
        {"thresholds": {"L": [{"M": {"prefix": {"S": "payments/"}, "keys": {"N": "3"}}}]}},
        {"thresholds": {"L": [{"M": {"prefix": {"S": "nowhere"}, "keys": {"N": "2"}}}]}},
        {"state_roots": {"L": [{"S": "https://example.com/"}]}},
        {"state_roots": {"L": [{"S": "s3://bucket/../other"}]}},
        {"quotas": {"M": {"active_runs": {"N": "-1"}}}},
        {"quotas": {"M": {"runs": {"N": "1"}}}},
        {"allowed_clusters": {"L": []}},
        {"allowed_clusters": {"L": [{"S": "http://flink:8081"}]}},
        {"colour": {"S": "red"}},
    ],
)
def test_a_malformed_policy_is_refused_by_name(aws_world: AwsWorld, attributes: dict[str, Any]) -> None:
    put_by_hand(aws_world, "POLICY#payments", {"kind": {"S": "POLICY"}, "name": {"S": "payments"}, **attributes})

    with pytest.raises(RejectedError, match="POLICY#payments"):
        aws_world.registry.policy("payments")
    assert aws_world.registry.policies() == []


def test_a_malformed_key_is_trusted_for_nothing_and_a_malformed_denial_denies(aws_world: AwsWorld) -> None:
    for kind, name in (("KEY", "team"), ("DENY", DIGEST)):
        attributes = {"kind": {"S": kind}, "name": {"S": name}, "colour": {"S": "red"}}
        put_by_hand(aws_world, f"{kind}#{name}", attributes)

    found = aws_world.registry.trust(["team"], DIGEST)

    assert found.keys == {"team": None}
    assert found.denial is not None
    assert [denial.sha256 for denial in aws_world.registry.denials()] == [DIGEST]


def test_a_pause_and_a_cluster_are_told_with_who_wrote_them(world: World) -> None:
    world.registry.put_cluster(CLUSTER, told("CLUSTER#default"))
    world.registry.put_pause(Pause(scope="job/data/etl", reason="migration"), told("PAUSE#job/data/etl", "Paused"))
    world.registry.delete_pause("job/data/etl", told("PAUSE#job/data/etl", "Unpaused", 1))

    assert (world.registry.cluster("default"), world.registry.pauses()) == (CLUSTER, [])
    assert world.registry.changes("CLUSTER#default") == [told("CLUSTER#default")]
    assert [(one.action, one.by) for one in world.registry.changes("PAUSE#job/data/etl")] == [
        ("Paused", "me"),
        ("Unpaused", "me"),
    ]


def test_pauses_come_and_go(world: World) -> None:
    world.registry.put_pause(Pause(scope="namespace/data", reason="migration"))
    world.registry.put_pause(Pause(scope="all"))
    world.registry.delete_pause("all")
    world.registry.delete_pause("all")

    assert world.registry.pauses() == [Pause(scope="namespace/data", reason="migration")]


SCOPES = ("all", "cluster/default", "namespace/data", "job/data/etl")


def test_a_job_whose_scopes_nobody_paused_is_not_paused(world: World) -> None:
    world.registry.put_pause(Pause(scope="job/other", reason="elsewhere"))

    assert world.registry.pause_of(SCOPES) is None
    assert world.registry.pause_of([]) is None


@pytest.mark.parametrize("scope", SCOPES)
def test_a_pause_of_any_scope_is_found(world: World, scope: str) -> None:
    pause = Pause(scope=scope, reason="migration")
    world.registry.put_pause(pause)

    assert world.registry.pause_of(SCOPES) == pause
    world.registry.delete_pause(scope)
    assert world.registry.pause_of(SCOPES) is None


def test_of_several_pauses_the_first_scope_is_told(world: World) -> None:
    for scope in reversed(SCOPES[1:]):
        world.registry.put_pause(Pause(scope=scope, reason=scope))

    assert world.registry.pause_of(SCOPES) == Pause(scope="cluster/default", reason="cluster/default")


def test_a_scope_may_be_asked_for_twice_and_be_any_text(world: World) -> None:
    world.registry.put_pause(Pause(scope="job/etl"))

    assert world.registry.pause_of(["all", "all", "job/a\x00b", "job/" + "x" * 3000, "job/etl"]) == Pause(scope="job/etl")


def test_a_pause_counts_at_once_and_in_one_call(aws_world: AwsWorld) -> None:
    aws_world.registry.put_pause(Pause(scope="job/data/etl"))
    calls: list[dict[str, Any]] = []
    events = aws_world.registry._client.meta.events
    events.register("provide-client-params.dynamodb.*", lambda params, model, **_: calls.append({model.name: params}))

    aws_world.registry.pause_of(SCOPES)

    assert [list(call) for call in calls] == [["BatchGetItem"]]
    assert calls[0]["BatchGetItem"]["RequestItems"][aws_world.state_table]["ConsistentRead"] is True


def test_kinds_do_not_mix(world: World) -> None:
    world.registry.put_cluster(CLUSTER)
    world.registry.put_pause(Pause(scope="default"))

    assert world.registry.keys() == []
    assert world.registry.key("default") is None


@pytest.mark.parametrize("name", ["x" * 3000, "a\x00b", "#"], ids=["long", "control", "hash"])
def test_any_text_can_be_looked_up(world: World, name: str) -> None:
    assert world.registry.cluster(name) is None
    assert world.registry.key(name) is None


def test_an_item_written_by_hand_needs_no_name_of_its_own(aws_world: AwsWorld) -> None:
    put_by_hand(aws_world, "CLUSTER#default", PLAIN_CLUSTER)

    assert aws_world.registry.cluster("default") == CLUSTER


def test_an_item_copied_by_hand_is_called_as_its_key_says(aws_world: AwsWorld) -> None:
    put_by_hand(aws_world, "CLUSTER#copy", {**PLAIN_CLUSTER, "kind": {"S": "CLUSTER"}, "name": {"S": "copy"}})

    assert [found.name for found in aws_world.registry.clusters()] == ["copy"]


def test_a_string_set_written_by_hand_is_taken_for_a_list(aws_world: AwsWorld) -> None:
    attributes = {
        "algorithm": {"S": "ed25519"},
        "public_key": {"S": "pem"},
        "namespaces": {"SS": ["default", "data"]},
    }
    put_by_hand(aws_world, "KEY#team", attributes)

    key = aws_world.registry.key("team")

    assert key is not None
    assert key.namespaces == ("data", "default")


def test_a_date_without_its_time_zone_is_refused(aws_world: AwsWorld) -> None:
    attributes = {
        "algorithm": {"S": "ed25519"},
        "public_key": {"S": "pem"},
        "not_after": {"S": "2026-03-01T00:00:00"},
    }
    put_by_hand(aws_world, "KEY#team", attributes)

    with pytest.raises(RejectedError, match="not_after"):
        aws_world.registry.key("team")


def test_a_malformed_pause_pauses(aws_world: AwsWorld) -> None:
    put_by_hand(
        aws_world, "PAUSE#all", {"kind": {"S": "PAUSE"}, "name": {"S": "all"}, "reason": {"N": "1"}, "who": {"S": "me"}}
    )

    assert [found.scope for found in aws_world.registry.pauses()] == ["all"]
    found = aws_world.registry.pause_of(SCOPES)
    assert found is not None
    assert "PAUSE#all is malformed" in found.reason


def test_what_dynamodb_leaves_unread_is_asked_for_again(aws_world: AwsWorld) -> None:
    aws_world.registry.put_pause(Pause(scope="all"))
    left = Unread(aws_world, times=2)

    assert aws_world.registry.pause_of(SCOPES) == Pause(scope="all")
    assert left.times == 0


def test_pauses_that_stay_unread_fail_the_look(aws_world: AwsWorld) -> None:
    Unread(aws_world, times=10)

    with pytest.raises(TransientError, match="left 4 items unread"):
        aws_world.registry.pause_of(SCOPES)


class Unread:
    """Has DynamoDB leave a batch unread some times, as it does when it is busy."""

    def __init__(self, world: AwsWorld, times: int) -> None:
        self.times = times
        world.registry._client.meta.events.register("after-call.dynamodb.BatchGetItem", self._leave)
        self._table = world.state_table

    def _leave(self, parsed: dict[str, Any], **_: object) -> None:
        if self.times:
            self.times -= 1
            keys = [{"pk": {"S": f"PAUSE#{scope}"}, "sk": {"S": "ITEM"}} for scope in SCOPES]
            parsed["Responses"] = {self._table: []}
            parsed["UnprocessedKeys"] = {self._table: {"Keys": keys, "ConsistentRead": True}}
