"""Where the controller keeps what it knows: two tables and the artifact bucket.

Teams write specs, the controller writes state; two tables make that one sentence of IAM, and keep status writes from
waking the function that makes them.
"""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from constructs import Construct

from flink_controller.adapters.dynamodb_items import BY_ARTIFACT, BY_DUE, BY_KIND
from infra.config import DeploymentConfig

_ACCESS_LOG_DAYS = 90


class Storage(Construct):
    """The spec table, the state table and the artifact bucket with its access log."""

    def __init__(self, scope: Construct, construct_id: str, *, config: DeploymentConfig) -> None:
        super().__init__(scope, construct_id)
        self._removal = RemovalPolicy.RETAIN if config.retain_data else RemovalPolicy.DESTROY
        self.specs = self._specs(config)
        self.state = self._state(config)
        self.access_log = self._access_log()
        self.artifacts = self._artifacts()
        # Made by somebody else: versions must be on there, and admission refuses what was uploaded without.
        named = {name: s3.Bucket.from_bucket_name(self, f"Artifacts-{name}", name) for name in _distinct(config)}
        self.of_namespaces = {namespace: named[name] for namespace, name in sorted(config.namespace_buckets.items())}

    def _specs(self, config: DeploymentConfig) -> dynamodb.Table:
        return dynamodb.Table(
            self,
            "JobSpecs",
            partition_key=dynamodb.Attribute(name="job_id", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            # Keys are all that a wake-up carries: the reconciler reads the spec itself, so an old image could only mislead.
            stream=dynamodb.StreamViewType.KEYS_ONLY,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            point_in_time_recovery_specification=_RECOVERY,
            deletion_protection=config.deletion_protection,
            removal_policy=self._removal,
        )

    def _state(self, config: DeploymentConfig) -> dynamodb.Table:
        table = dynamodb.Table(
            self,
            "ControllerState",
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            # For `publish_events` alone: nothing that a look does is triggered by what a look records.
            stream=dynamodb.StreamViewType.NEW_IMAGE,
            # Garbage only: DynamoDB deletes up to days late, so no decision may hang on it.
            time_to_live_attribute="expires_at",
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            point_in_time_recovery_specification=_RECOVERY,
            deletion_protection=config.deletion_protection,
            removal_policy=self._removal,
        )
        table.add_global_secondary_index(
            index_name=BY_KIND,
            partition_key=dynamodb.Attribute(name="kind", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="name", type=dynamodb.AttributeType.STRING),
            projection_type=dynamodb.ProjectionType.INCLUDE,
            non_key_attributes=["summary"],
        )
        table.add_global_secondary_index(
            index_name=BY_ARTIFACT,
            partition_key=dynamodb.Attribute(name="artifact", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            projection_type=dynamodb.ProjectionType.KEYS_ONLY,
        )
        table.add_global_secondary_index(
            index_name=BY_DUE,
            partition_key=dynamodb.Attribute(name="due_kind", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="due_at", type=dynamodb.AttributeType.NUMBER),
            projection_type=dynamodb.ProjectionType.KEYS_ONLY,
        )
        return table

    def _access_log(self) -> s3.Bucket:
        return s3.Bucket(
            self,
            "ArtifactAccessLog",
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            lifecycle_rules=[s3.LifecycleRule(id="expire-logs", expiration=Duration.days(_ACCESS_LOG_DAYS))],
            removal_policy=self._removal,
        )

    def _artifacts(self) -> s3.Bucket:
        # Versioned, because what was verified is a version: a later upload under the same key is another artifact.
        return s3.Bucket(
            self,
            "Artifacts",
            versioned=True,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            server_access_logs_bucket=self.access_log,
            lifecycle_rules=[
                s3.LifecycleRule(id="abort-multipart-uploads", abort_incomplete_multipart_upload_after=Duration.days(1))
            ],
            removal_policy=self._removal,
        )


def _distinct(config: DeploymentConfig) -> list[str]:
    return sorted(set(config.namespace_buckets.values()))


_RECOVERY = dynamodb.PointInTimeRecoverySpecification(point_in_time_recovery_enabled=True)
