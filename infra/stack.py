"""The controller as one stack: composes constructs, defines nothing itself."""

import aws_cdk as cdk
from constructs import Construct

from flink_controller import settings
from infra.access import OperatorsPolicy, Resources, grants
from infra.alarms import Alarms
from infra.compute import ControllerFunction, Sizing, reconciler, settings_values
from infra.config import DeploymentConfig
from infra.dashboard import Dashboard
from infra.encryption import encrypt
from infra.functions import FUNCTIONS
from infra.layers import Layers, Target
from infra.messaging import Messaging
from infra.nag import acknowledge_findings
from infra.network import Network
from infra.storage import Storage
from infra.tenancy import Teams
from infra.triggers import Triggers

HEALTH = "health"


class FlinkJobControllerStack(cdk.Stack):
    """Everything that one deployment consists of."""

    def __init__(self, scope: Construct, config: DeploymentConfig) -> None:
        super().__init__(
            scope,
            f"flink-job-controller-{config.environment.value}",
            description=f"Flink Job Controller ({config.environment.value}): keeps Flink jobs as their specs say.",
            termination_protection=config.deletion_protection,
        )
        target = Target.of(config)
        row = reconciler(FUNCTIONS)
        self.storage = Storage(self, "Storage", config=config)
        self.messaging = Messaging(self, "Messaging", config=config, reconciler_timeout_s=Sizing.of(row, config).timeout_s)
        self.layers = Layers(self, "Layers", target=target)
        environment = settings.environment(
            settings_values(config=config, storage=self.storage, messaging=self.messaging, reconciler=row)
        )
        granted = grants(
            Resources(
                storage=self.storage,
                messaging=self.messaging,
                state_buckets=config.state_buckets,
                flink_secrets=config.flink_secrets,
                scrape_secret=config.scrape_secret,
            )
        )
        self.network = (
            None
            if config.network is None
            else Network(
                self,
                "Network",
                network=config.network,
                actions={
                    action
                    for row in FUNCTIONS
                    for access in row.access
                    for grant in granted[access]
                    for action in grant.actions
                },
            )
        )
        self.functions = {
            row.name: ControllerFunction(
                self,
                row,
                config=config,
                target=target,
                layers=self.layers.all,
                environment=environment,
                network=self.network,
            )
            for row in FUNCTIONS
        }
        self.triggers = Triggers(self, "Triggers", config=config, storage=self.storage, messaging=self.messaging)
        for function in self.functions.values():
            for access in function.row.access:
                for grant in granted[access]:
                    function.function.add_to_role_policy(grant.statement())
            self.triggers.connect(function)
        self.operators = OperatorsPolicy(
            self, "Operators", storage=self.storage, messaging=self.messaging, health_url=self.triggers.urls[HEALTH]
        )
        self.teams = Teams(self, "Teams", storage=self.storage, teams=config.teams)
        self.alarms = Alarms(self, "Alarms", config=config, functions=self.functions.values(), messaging=self.messaging)
        self.dashboard = Dashboard(
            self, "Dashboard", alarms=self.alarms, functions=list(self.functions.values()), messaging=self.messaging
        )
        if config.kms_key_arn is not None:
            encrypt(self, config.kms_key_arn, except_for=[self.storage.access_log])
        acknowledge_findings(
            self,
            config=config,
            storage=self.storage,
            messaging=self.messaging,
            functions=list(self.functions.values()),
            teams=self.teams,
        )
        self._output("ArtifactBucketName", self.storage.artifacts.bucket_name, "Upload artifacts here.")
        self._output("JobSpecTableName", self.storage.specs.table_name, "Write specs here.")
        self._output("ControllerStateTableName", self.storage.state.table_name, "Status and operators' items.")
        self._output("FollowUpQueueUrl", self.messaging.follow_ups.queue_url, "Wakes a job by its name.")
        failures = "What was given up, for flinkctl redrive: "
        self._output("FollowUpFailuresQueueUrl", self.messaging.follow_up_failures.queue_url, f"{failures}wake-ups.")
        self._output("StreamFailuresQueueUrl", self.messaging.stream_failures.queue_url, f"{failures}spec writes.")
        self._output("InvocationFailuresQueueUrl", self.messaging.invocation_failures.queue_url, f"{failures}uploads.")
        self._output("EventFailuresQueueUrl", self.messaging.event_failures.queue_url, f"{failures}events.")
        self._output("AlertTopicArn", self.messaging.alerts.topic_arn, "What needs a person.")
        self._output("EventBusName", self.messaging.events.event_bus_name, "Every event, for programs.")
        self._output("HealthUrl", self.triggers.urls[HEALTH].url, "Whether the controller works; IAM callers only.")
        if self.network is not None:
            self._output("FunctionSecurityGroupId", self.network.inside.security_group_id, "Of every function.")
            self._output("FlinkCallersSecurityGroupId", self.network.to_flink.security_group_id, "Let this in to Flink.")
            self._output("FlinkSecurityGroupId", self.network.flink.security_group_id, "Of Flink.")
        if config.scrape_secret:
            url = self.triggers.scrape_url(self.functions[HEALTH])
            self._output("ScrapeUrl", f"{url.url}metrics", "Metrics for scrapers with the bearer token.")

    def _output(self, name: str, value: str, description: str) -> None:
        cdk.CfnOutput(self, name, value=value, description=description)
