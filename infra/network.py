"""Functions inside a VPC, where one is configured: no way out but to AWS's endpoints and to Flink.

There is no NAT and no internet gateway. What every function may reach are the endpoints of the services that some function
calls; only those that call Flink get the second security group, which leads there. Admission has none: who uploads a jar
cannot make its verifier talk to a cluster.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aws_cdk import Aws, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.config import NetworkConfig
from infra.functions import Access, FunctionSpec

HTTPS: Final = 443
GATEWAYS: Final = {
    "dynamodb": ec2.GatewayVpcEndpointAwsService.DYNAMODB,
    "s3": ec2.GatewayVpcEndpointAwsService.S3,
}
"""Services whose endpoints are routes: they cost nothing, and have no security group."""
_ENDPOINT_NAMES: Final = {"cloudwatch": "monitoring"}
"""Services whose endpoint is called otherwise than their actions."""
_WITHOUT: Final = frozenset({"ec2", "kms", "logs", "xray"})
"""Called by Lambda or by another service in a function's name, and not from where the function is."""
INTERFACE_ACTIONS: Final = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)
"""What Lambda does in a function's name to attach it to a VPC; AWS's managed policy has the same."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a function runs."""

    vpc: ec2.IVpc
    subnets: ec2.SubnetSelection
    security_groups: list[ec2.ISecurityGroup]


class Network(Construct):
    """Security groups, endpoints, and a VPC if none is given.

    Args:
        scope: the stack.
        construct_id: in the stack.
        network: what is configured.
        actions: all that functions may do; the services among them get endpoints.
    """

    def __init__(self, scope: Construct, construct_id: str, *, network: NetworkConfig, actions: Iterable[str]) -> None:
        super().__init__(scope, construct_id)
        self._network = network
        self.vpc = self._made() if network.vpc_id is None else self._given(network.vpc_id)
        self._endpoints = self._group("Endpoints", "The endpoints of AWS services.")
        self.inside = self._group("Functions", "Every function: endpoints and nothing else.")
        self.to_flink = self._group(
            "FlinkCallers", "Functions that call Flink: beside endpoints, the REST interface of Flink."
        )
        self.flink = (
            self._group("Flink", "Put this on Flink: it lets the controller in, and nobody else.")
            if network.flink_security_group_id is None
            else ec2.SecurityGroup.from_security_group_id(self, "Flink", network.flink_security_group_id, mutable=False)
        )
        self._endpoints.add_ingress_rule(self.inside, ec2.Port.tcp(HTTPS), "from functions")
        self.inside.add_egress_rule(self._endpoints, ec2.Port.tcp(HTTPS), "to interface endpoints")
        for prefix_list in (network.s3_prefix_list_id, network.dynamodb_prefix_list_id):
            self.inside.add_egress_rule(ec2.Peer.prefix_list(prefix_list), ec2.Port.tcp(HTTPS), "to a gateway endpoint")
        for port in network.flink_ports:
            self.to_flink.add_egress_rule(self.flink, ec2.Port.tcp(port), "to Flink")
            if network.flink_security_group_id is None:
                self.flink.add_ingress_rule(self.to_flink, ec2.Port.tcp(port), "from functions")
        if not network.has_endpoints:
            self._connect({action.partition(":")[0] for action in actions} - _WITHOUT)

    def placement(self, row: FunctionSpec) -> Placement:
        """Say where a function runs: only those that call Flink can reach it."""
        groups: list[ec2.ISecurityGroup] = [self.inside]
        if Access.CALL_FLINK in row.access:
            groups.append(self.to_flink)
        return Placement(vpc=self.vpc, subnets=self._subnets, security_groups=groups)

    @property
    def _subnets(self) -> ec2.SubnetSelection:
        return ec2.SubnetSelection(subnets=self.vpc.isolated_subnets)

    def _given(self, vpc_id: str) -> ec2.IVpc:
        network = self._network
        return ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id=vpc_id,
            availability_zones=list(network.availability_zones),
            isolated_subnet_ids=list(network.subnet_ids),
            isolated_subnet_route_table_ids=list(network.route_table_ids) or None,
        )

    def _made(self) -> ec2.IVpc:
        vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(self._network.cidr),
            max_azs=2,
            nat_gateways=0,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="functions", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=26)
            ],
            restrict_default_security_group=False,
        )
        refused = logs.LogGroup(
            self, "Refused", retention=logs.RetentionDays.THREE_MONTHS, removal_policy=RemovalPolicy.RETAIN
        )
        vpc.add_flow_log(
            "Refused",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(refused),
            traffic_type=ec2.FlowLogTrafficType.REJECT,
        )
        return vpc

    def _connect(self, services: set[str]) -> None:
        for service in sorted(services):
            gateway = GATEWAYS.get(service)
            if gateway is not None:
                self.vpc.add_gateway_endpoint(service, service=gateway, subnets=[self._subnets])
                continue
            self.vpc.add_interface_endpoint(
                service,
                service=ec2.InterfaceVpcEndpointAwsService(_ENDPOINT_NAMES.get(service, service)),
                subnets=self._subnets,
                security_groups=[self._endpoints],
                open=False,
                private_dns_enabled=True,
            )

    def _group(self, construct_id: str, description: str) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(self, construct_id, vpc=self.vpc, description=description, allow_all_outbound=False)


def interface_statements(function_name: str) -> tuple[iam.PolicyStatement, iam.PolicyStatement]:
    """Let Lambda attach a function to a VPC, and keep its code from doing the same."""
    arn = f"arn:{Aws.PARTITION}:lambda:{Aws.REGION}:{Aws.ACCOUNT_ID}:function:{function_name}"
    return (
        iam.PolicyStatement(actions=list(INTERFACE_ACTIONS), resources=["*"]),
        iam.PolicyStatement(
            effect=iam.Effect.DENY,
            actions=list(INTERFACE_ACTIONS),
            resources=["*"],
            conditions={"ArnEquals": {"lambda:SourceFunctionArn": [arn]}},
        ),
    )
