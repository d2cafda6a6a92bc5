"""The shape of the stack: what is stored, how it is protected, what invokes what, what is told to whom."""

import json
import platform
import sys
from collections.abc import Callable, Mapping
from typing import Any

import aws_cdk as cdk
import pytest

from flink_controller.settings import SCRAPE_ALIAS, Settings
from infra.app import build
from infra.functions import FUNCTIONS
from tests.infra.conftest import Synthesized


def test_teams_find_exactly_the_promised_outputs(deployment: Synthesized) -> None:
    assert set(deployment.template["Outputs"]) == {
        "ArtifactBucketName",
        "JobSpecTableName",
        "ControllerStateTableName",
        "FollowUpQueueUrl",
        "FollowUpFailuresQueueUrl",
        "StreamFailuresQueueUrl",
        "EventFailuresQueueUrl",
        "InvocationFailuresQueueUrl",
        "AlertTopicArn",
        "EventBusName",
        "HealthUrl",
    }


def test_the_spec_table_streams_keys_and_nothing_else(deployment: Synthesized) -> None:
    table = deployment.only("AWS::DynamoDB::Table", "Storage/JobSpecs")["Properties"]

    assert table["KeySchema"] == [{"AttributeName": "job_id", "KeyType": "HASH"}]
    assert table["StreamSpecification"] == {"StreamViewType": "KEYS_ONLY"}
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_the_state_table_wakes_only_what_publishes_and_forgets_only_garbage(deployment: Synthesized) -> None:
    table = deployment.only("AWS::DynamoDB::Table", "Storage/ControllerState")["Properties"]

    assert table["StreamSpecification"] == {"StreamViewType": "NEW_IMAGE"}
    readers = [
        deployment.label(mapping["Properties"]["FunctionName"])
        for mapping in deployment.of_type("AWS::Lambda::EventSourceMapping").values()
        if deployment.label(mapping["Properties"]["EventSourceArn"]).startswith("Storage/ControllerState")
    ]
    assert readers == ["publish_events/Function"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == [("pk", "HASH"), ("sk", "RANGE")]


def test_the_state_table_is_found_by_kind_by_artifact_and_by_what_is_due(deployment: Synthesized) -> None:
    table = deployment.only("AWS::DynamoDB::Table", "Storage/ControllerState")["Properties"]

    indexes = {
        index["IndexName"]: ([key["AttributeName"] for key in index["KeySchema"]], index["Projection"])
        for index in table["GlobalSecondaryIndexes"]
    }
    assert indexes == {
        "by_kind": (["kind", "name"], {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["summary"]}),
        "by_artifact": (["artifact", "pk"], {"ProjectionType": "KEYS_ONLY"}),
        "by_due": (["due_kind", "due_at"], {"ProjectionType": "KEYS_ONLY"}),
    }
    kinds = {attribute["AttributeName"]: attribute["AttributeType"] for attribute in table["AttributeDefinitions"]}
    assert kinds == {"pk": "S", "sk": "S", "kind": "S", "name": "S", "artifact": "S", "due_kind": "S", "due_at": "N"}


def test_both_tables_can_be_restored_to_any_second_and_are_encrypted(deployment: Synthesized) -> None:
    for table in deployment.of_type("AWS::DynamoDB::Table").values():
        assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert table["Properties"]["SSESpecification"] == {"SSEEnabled": True}


@pytest.mark.parametrize(("environment", "is_kept"), [("local", False), ("dev", True), ("prod", True)])
def test_only_a_laptop_forgets_its_data(
    environment: str, is_kept: object, synthesized: Callable[[str], Synthesized]
) -> None:
    deployment = synthesized(environment)

    stored = [
        resource
        for kind in ("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::Logs::LogGroup")
        for resource in deployment.of_type(kind).values()
    ]
    assert {resource["DeletionPolicy"] for resource in stored} == {"Retain" if is_kept else "Delete"}
    assert {resource["UpdateReplacePolicy"] for resource in stored} == {"Retain" if is_kept else "Delete"}
    for table in deployment.of_type("AWS::DynamoDB::Table").values():
        assert table["Properties"]["DeletionProtectionEnabled"] is is_kept


def test_every_bucket_is_private_encrypted_and_refuses_plain_text(deployment: Synthesized) -> None:
    for logical_id, bucket in deployment.of_type("AWS::S3::Bucket").items():
        properties = bucket["Properties"]
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
        assert properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        policies = [
            policy["Properties"]["PolicyDocument"]
            for policy in deployment.of_type("AWS::S3::BucketPolicy").values()
            if policy["Properties"]["Bucket"] == {"Ref": logical_id}
        ]
        assert _refuses_plain_text(policies)


def test_artifacts_are_versioned_and_abandoned_uploads_are_removed(deployment: Synthesized) -> None:
    bucket = deployment.only("AWS::S3::Bucket", "Storage/Artifacts/")["Properties"]

    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = bucket["LifecycleConfiguration"]["Rules"]
    assert [rule["AbortIncompleteMultipartUpload"] for rule in rules] == [{"DaysAfterInitiation": 1}]
    assert not any("Expiration" in key for rule in rules for key in rule)


def test_every_queue_is_encrypted_and_refuses_plain_text(deployment: Synthesized) -> None:
    for logical_id, queue in deployment.of_type("AWS::SQS::Queue").items():
        assert queue["Properties"]["SqsManagedSseEnabled"] is True
        policies = [
            policy["Properties"]["PolicyDocument"]
            for policy in deployment.of_type("AWS::SQS::QueuePolicy").values()
            if policy["Properties"]["Queues"] == [{"Ref": logical_id}]
        ]
        assert _refuses_plain_text(policies)


def test_alarms_may_publish_to_the_topic_although_it_refuses_plain_text(deployment: Synthesized) -> None:
    (policy,) = deployment.of_type("AWS::SNS::TopicPolicy").values()
    document = policy["Properties"]["PolicyDocument"]

    assert _refuses_plain_text([document])
    allowed = [statement for statement in document["Statement"] if statement["Effect"] == "Allow"]
    assert [statement["Principal"] for statement in allowed] == [{"Service": "cloudwatch.amazonaws.com"}]
    assert allowed[0]["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


@pytest.mark.parametrize(("environment", "visibility_s"), [("local", 120), ("dev", 360), ("prod", 360)])
def test_a_follow_up_is_hidden_for_longer_than_its_worker_can_live(
    environment: str, visibility_s: int, synthesized: Callable[[str], Synthesized]
) -> None:
    queue = synthesized(environment).only("AWS::SQS::Queue", "Messaging/FollowUps/")["Properties"]

    assert queue["VisibilityTimeout"] == visibility_s
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5


def test_spec_writes_are_retried_within_bounds_and_set_aside_when_given_up(deployment: Synthesized) -> None:
    mapping = deployment.only("AWS::Lambda::EventSourceMapping", "SpecStream")["Properties"]

    assert mapping["MaximumRetryAttempts"] == 3
    assert mapping["MaximumRecordAgeInSeconds"] == 900
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ParallelizationFactor"] == 2
    assert deployment.label(mapping["DestinationConfig"]["OnFailure"]["Destination"]) == "Messaging/StreamFailures"


@pytest.mark.parametrize(("environment", "most_workers"), [("local", None), ("dev", None), ("prod", 40)])
def test_follow_ups_fail_one_by_one(
    environment: str, most_workers: int | None, synthesized: Callable[[str], Synthesized]
) -> None:
    mapping = synthesized(environment).only("AWS::Lambda::EventSourceMapping", "FollowUps")["Properties"]

    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BatchSize"] == 5
    assert mapping.get("ScalingConfig", {}).get("MaximumConcurrency") == most_workers


def test_mappings_wait_for_the_permission_to_read_their_source(deployment: Synthesized) -> None:
    for mapping in deployment.of_type("AWS::Lambda::EventSourceMapping").values():
        waits_for = mapping["DependsOn"]
        kinds = {deployment.template["Resources"][name]["Type"] for name in waits_for}
        assert "AWS::IAM::Policy" in kinds


def test_a_failed_tick_is_not_repeated(deployment: Synthesized) -> None:
    rules = deployment.of_type("AWS::Events::Rule")

    ticking = {row.name: row.schedule.rate_minutes for row in FUNCTIONS if row.schedule}
    assert {deployment.path(rule).partition("/")[0] for rule in rules.values()} == set(ticking)
    for rule in rules.values():
        minutes = ticking[deployment.path(rule).partition("/")[0]]
        assert rule["Properties"]["ScheduleExpression"] == f"rate({minutes} minute{'s' if minutes > 1 else ''})"
        assert rule["Properties"]["State"] == "ENABLED"
        (target,) = rule["Properties"]["Targets"]
        assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 60 * minutes, "MaximumRetryAttempts": 0}
    for name, minutes in ticking.items():
        handling = deployment.only("AWS::Lambda::EventInvokeConfig", f"{name}/")["Properties"]
        assert (handling["MaximumRetryAttempts"], handling["MaximumEventAgeInSeconds"]) == (0, 60 * minutes)


def test_an_upload_that_could_not_be_admitted_is_kept(deployment: Synthesized) -> None:
    handling = deployment.only("AWS::Lambda::EventInvokeConfig", "admit_artifact/")["Properties"]

    assert handling["MaximumRetryAttempts"] == 2
    assert deployment.label(handling["DestinationConfig"]["OnFailure"]["Destination"]) == "Messaging/InvocationFailures"


def test_every_created_object_is_admitted_and_every_deleted_one_looked_after(deployment: Synthesized) -> None:
    own = {}
    for found in deployment.of_type("Custom::S3BucketNotifications").values():
        (name,) = {found["Properties"]["BucketName"]} if isinstance(found["Properties"]["BucketName"], str) else {""}
        configured = found["Properties"]["NotificationConfiguration"]["LambdaFunctionConfigurations"]
        own[name] = {tuple(one["Events"]): one.get("Filter") for one in configured}

    below = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "payments/"}]}}
    assert own.pop("") == {("s3:ObjectCreated:*",): None, ("s3:ObjectRemoved:*",): None}
    assert own == {
        bucket: {("s3:ObjectCreated:*",): below, ("s3:ObjectRemoved:*",): below}
        for bucket in deployment.config.namespace_buckets.values()
    }


def test_scrapers_that_cannot_sign_have_an_address_of_their_own_only_where_one_is_asked_for(
    context: Mapping[str, Any],
) -> None:
    chosen = {**context, "environment": "prod", "scrape_secret": "prometheus/token", "aws:cdk:bundling-stacks": []}
    app = cdk.App(context=chosen)
    stack = build(app)

    template = app.synth().get_stack_artifact(stack.artifact_id).template["Resources"]
    urls = {
        url["Properties"]["AuthType"]: url["Properties"] for url in template.values() if url["Type"] == "AWS::Lambda::Url"
    }
    (alias,) = [found["Properties"] for found in template.values() if found["Type"] == "AWS::Lambda::Alias"]
    readers = [policy for policy in template.values() if "prometheus/token-??????" in json.dumps(policy)]
    assert set(urls) == {"AWS_IAM", "NONE"}
    assert "Qualifier" not in urls["AWS_IAM"]
    assert urls["NONE"]["Qualifier"] == alias["Name"] == SCRAPE_ALIAS
    assert len(readers) == 1


def test_health_answers_signed_requests_only(deployment: Synthesized) -> None:
    (url,) = deployment.of_type("AWS::Lambda::Url").values()

    assert url["Properties"]["AuthType"] == "AWS_IAM"
    assert not [
        permission
        for permission in deployment.of_type("AWS::Lambda::Permission").values()
        if permission["Properties"]["Principal"] == "*"
    ]


def test_functions_are_what_their_rows_say(prod: Synthesized) -> None:
    functions = prod.functions()

    assert set(functions) == {row.name for row in FUNCTIONS}
    for row in FUNCTIONS:
        properties = functions[row.name]["Properties"]
        assert properties["FunctionName"] == f"flink-job-controller-prod-{row.name}"
        assert properties["Handler"] == f"functions.{row.name}.handler.lambda_handler"
        assert properties["Description"] == row.summary
        assert properties["Timeout"] == row.timeout_s
        assert properties["MemorySize"] == row.memory_mb
        assert properties["ReservedConcurrentExecutions"] == row.reserved_concurrency
        assert properties["Runtime"] == "python3.14"
        assert properties["Architectures"] == ["arm64"]
        assert properties["TracingConfig"] == {"Mode": "Active"}
        assert len(properties["Layers"]) == 2


def test_only_the_reconciler_may_wake_itself_without_end(deployment: Synthesized) -> None:
    looping = {name: function["Properties"].get("RecursiveLoop") for name, function in deployment.functions().items()}

    assert {name for name, choice in looping.items() if choice} == {"reconcile_job"}
    assert looping["reconcile_job"] == "Allow"


def test_concurrency_is_reserved_in_production_alone(synthesized: Callable[[str], Synthesized]) -> None:
    for environment in ("local", "dev"):
        for function in synthesized(environment).functions().values():
            assert "ReservedConcurrentExecutions" not in function["Properties"]


def test_a_laptop_runs_functions_on_its_own_interpreter_and_traces_nothing(local: Synthesized) -> None:
    for function in local.functions().values():
        properties = function["Properties"]
        assert properties["Runtime"] == f"python{sys.version_info.major}.{sys.version_info.minor}"
        assert properties["Architectures"] == ["arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x86_64"]
        assert "TracingConfig" not in properties


@pytest.mark.parametrize(("environment", "days"), [("local", 1), ("dev", 30), ("prod", 365)])
def test_every_function_has_a_log_group_that_forgets(
    environment: str, days: int, synthesized: Callable[[str], Synthesized]
) -> None:
    deployment = synthesized(environment)

    groups = deployment.of_type("AWS::Logs::LogGroup")
    assert {group["Properties"]["RetentionInDays"] for group in groups.values()} == {days}
    used = [function["Properties"]["LoggingConfig"]["LogGroup"]["Ref"] for function in deployment.functions().values()]
    assert sorted(used) == sorted(groups)


def test_every_function_s_environment_is_understood_by_settings(deployment: Synthesized) -> None:
    for function in deployment.functions().values():
        variables = function["Properties"]["Environment"]["Variables"]
        settings = Settings.from_env({name: _text(value) for name, value in variables.items()})

        assert settings.environment == deployment.config.environment.value
        assert settings.controller_id == deployment.config.controller_id
        assert settings.buckets_of_state == deployment.config.state_buckets
        assert settings.buckets_of_namespaces == deployment.config.namespace_buckets
        assert settings.tracing is deployment.config.tracing
        assert settings.submit_timeout_seconds >= 2 * settings.function_timeout_seconds
        assert settings.alert_topic_arn


def test_no_output_is_computed_from_a_name_that_a_deployment_fixes(deployment: Synthesized) -> None:
    for kind in ("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::SNS::Topic"):
        for resource in deployment.of_type(kind).values():
            named = {"TableName", "BucketName", "QueueName", "TopicName"} & set(resource.get("Properties", {}))
            assert not named, "a fixed name cannot be replaced, and collides with what an earlier stack left behind"


def _text(value: Any) -> str:
    """Stand in for what CloudFormation puts where the template has a reference."""
    return value if isinstance(value, str) else json.dumps(value)


def _refuses_plain_text(documents: list[dict[str, Any]]) -> bool:
    return any(
        statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for document in documents
        for statement in document["Statement"]
    )
