"""How the controller wakes itself, sets failures aside, and reaches a person."""

from typing import Final

from aws_cdk import Aws, Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.config import DeploymentConfig

_RECEIVES_BEFORE_DEAD: Final = 5
"""AWS's recommended least number: throttled deliveries count as receives too."""
_KEPT_FAILURES: Final = Duration.days(14)
"""The longest that SQS can keep a message: time for a person to come back from a holiday."""


class Messaging(Construct):
    """The follow-up queue, the queues of what failed, and the alert topic."""

    def __init__(self, scope: Construct, construct_id: str, *, config: DeploymentConfig, reconciler_timeout_s: int) -> None:
        super().__init__(scope, construct_id)
        self.follow_up_failures = self._queue("FollowUpFailures", retention=_KEPT_FAILURES)
        """Wake-ups that no worker survived."""
        self.stream_failures = self._queue("StreamFailures", retention=_KEPT_FAILURES)
        """Positions of spec stream batches that were given up."""
        self.invocation_failures = self._queue("InvocationFailures", retention=_KEPT_FAILURES)
        """Asynchronous events that were given up, whole: they can be sent again."""
        self.event_failures = self._queue("EventFailures", retention=_KEPT_FAILURES)
        """Positions of events that could not be published."""
        self.failures = (self.follow_up_failures, self.stream_failures, self.invocation_failures, self.event_failures)
        """All four."""
        self.events = events.EventBus(
            self, "Events", description="Every event of jobs and artifacts, for programs outside of the controller."
        )
        self.follow_ups = self._queue(
            "FollowUps",
            retention=Duration.days(4),
            visibility=Duration.seconds(reconciler_timeout_s * config.follow_up_visibility_factor),
            dead_letters=sqs.DeadLetterQueue(queue=self.follow_up_failures, max_receive_count=_RECEIVES_BEFORE_DEAD),
        )
        self.alerts = self._alerts(config)

    def _queue(
        self,
        construct_id: str,
        *,
        retention: Duration,
        visibility: Duration | None = None,
        dead_letters: sqs.DeadLetterQueue | None = None,
    ) -> sqs.Queue:
        return sqs.Queue(
            self,
            construct_id,
            retention_period=retention,
            visibility_timeout=visibility,
            dead_letter_queue=dead_letters,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
        )

    def _alerts(self, config: DeploymentConfig) -> sns.Topic:
        topic = sns.Topic(self, "Alerts", enforce_ssl=True)
        # The TLS statement replaces the topic's default policy, so the alarms' right to publish has to be said.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfThisAccount",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        if config.alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(config.alarm_email))
        return topic
