"""What differs between deployments, validated before any resource is declared.

A wrong value that surfaces in CloudFormation costs minutes and a rollback; here it costs nothing, and all faults are
shown at once. The values stand in `cdk.json` under `environments`; `-c field=value` overrides one of them.
This module knows nothing of the CDK, so that it loads at once.
"""

import difflib
import json
import typing
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from infra.functions import FUNCTIONS, RECONCILER

HOST: typing.Final = "host"
"""Stands for the interpreter or the processor of the machine that synthesizes."""

LEAST_RECONCILER_TIMEOUT_S: typing.Final = 46
"""Of `reconcile_job`: it begins no look with less than 35 s left, and 10 s are for its start and for handing on."""

# The reference (docs/settings.md) is made of the texts below each field: what it is, its unit, and why it is so.
_STRICT = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class ConfigError(ValueError):
    """The configuration of a deployment is unusable; the message lists every fault."""


class Environment(Enum):
    """Where a deployment runs."""

    LOCAL = "local"
    """A laptop: the embedded AWS and a Flink on loopback."""
    DEV = "dev"
    PROD = "prod"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FunctionOverride:
    """What one deployment changes in a function's row; absent fields leave the row as it is."""

    timeout_seconds: Annotated[int, Field(ge=1, le=900)] | None = None
    """Longest invocation, in seconds; AWS allows 900. That of `reconcile_job` is part of every quarantine: 46 at least, and not
    more than it needs."""
    memory_mb: Annotated[int, Field(ge=128, le=10_240)] | None = None
    """Memory in MiB, from which Lambda also derives the share of a processor; what it costs grows with it."""
    reserved_concurrency: Annotated[int, Field(ge=1)] | None = None
    """Invocations at a time, taken out of the account's pool; counts where `reserve_concurrency` is on."""


_ID: typing.Final = r"-[0-9a-f]{8,17}$"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class NetworkConfig:
    """The VPC that the functions run in. docs/network.md says what it costs."""

    vpc_id: Annotated[str, Field(pattern=r"^vpc" + _ID)] | None = None
    """An existing VPC. Without it one is made, with two isolated subnets, to be peered with Flink's."""
    cidr: Annotated[str, Field(pattern=r"^\d{1,3}(\.\d{1,3}){3}/(1[6-9]|2[0-5])$")] = "10.97.0.0/24"
    """Addresses of the VPC that is made: two subnets of 64 are enough, because functions share interfaces. Choose one that is
    not Flink's, or the two cannot be peered."""
    availability_zones: tuple[str, ...] = ()
    """Of the existing VPC's subnets, in their order: nothing is looked up in the account when the template is made."""
    subnet_ids: tuple[Annotated[str, Field(pattern=r"^subnet" + _ID)], ...] = ()
    """Of the existing VPC: where functions run, one per availability zone, so that the loss of a zone leaves the others."""
    route_table_ids: tuple[Annotated[str, Field(pattern=r"^rtb" + _ID)], ...] = ()
    """Of these subnets, in their order: the endpoints of S3 and DynamoDB become routes there."""
    has_endpoints: bool = False
    """Whether the existing VPC has all the endpoints already. They must let the output FunctionSecurityGroupId in."""
    flink_security_group_id: Annotated[str, Field(pattern=r"^sg" + _ID)] | None = None
    """Of Flink: functions that call it may reach this group and nothing else. Without it one is made, for you to put on
    Flink."""
    flink_ports: tuple[Annotated[int, Field(ge=1, le=65_535)], ...] = (8081,)
    """TCP ports of Flink's REST interface, or of the gateway before it; 8081 is Flink's own default. A KDC's, if it lies behind
    the same group."""
    s3_prefix_list_id: Annotated[str, Field(pattern=r"^pl" + _ID)]
    """Of S3 in the region, because the way out is opened to its addresses alone: `aws ec2 describe-managed-prefix-lists` names
    it com.amazonaws.REGION.s3."""
    dynamodb_prefix_list_id: Annotated[str, Field(pattern=r"^pl" + _ID)]
    """Of DynamoDB, likewise."""


class TeamGrant(Enum):
    """What a team's role may do in its namespace."""

    READ = "read"
    DEPLOY = "deploy"
    OPERATE = "operate"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Team:
    """One role's right in one namespace."""

    role_arn: Annotated[str, Field(pattern=r"^arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+$")]
    """An existing role of this account; the policy is attached to it."""
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    """Whose specs, artifacts and statuses."""
    grant: TeamGrant
    """`read` sees, `deploy` also writes specs and uploads, `operate` reads and pauses (docs/security.md)."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DeploymentConfig:
    """One deployment's choices. Required fields have no value that is right everywhere."""

    environment: Environment
    """Chosen by `-c environment=…` (`make deploy ENVIRONMENT=…`), and not written itself. Part of every resource's name, by the
    stack's name."""
    controller_id: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    """Names this installation in every Flink job id. Never change it while jobs run: the controller would not know them."""
    python_version: Annotated[str, Field(pattern=r"^(3\.\d+|host)$")]
    """Of the functions and their dependencies, which are compiled for it: `3.14`, or `host`, for `local` alone, where functions run
    on the interpreter that synthesizes."""
    architecture: Literal["arm64", "x86_64", "host"]
    """Of the functions and their dependencies. arm64 costs a fifth less per millisecond; `host` is for `local`."""
    retain_data: bool
    """Whether tables, buckets and logs outlive the stack. Losing the state table means forgetting Flink jobs that run on, so
    only `local` says no."""
    deletion_protection: bool
    """Whether DynamoDB refuses to delete the tables, and CloudFormation the stack."""
    log_retention_days: Literal[1, 7, 14, 30, 90, 180, 365, 731, 1827, 3653]
    """Days that CloudWatch keeps the functions' logs, of those that it allows. Events of jobs are in the state table besides; logs
    tell why. A year in prod, because reviews look back as far."""
    state_buckets: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")], ...] = ()
    """Existing buckets of savepoints and checkpoints. Listed here because roles are fixed when the template is made: a root in
    another bucket cannot be searched, and its jobs wait (`StateUnknown`) after a loss."""
    namespace_buckets: dict[
        Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")],
        Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")],
    ] = Field(default_factory=dict)
    """Existing, versioned buckets of namespaces that upload to one of their own, as namespace to bucket. All others share the
    stack's, under prefixes of their own."""
    flink_secrets: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9/_+=.@-]{1,500}$")], ...] = ()
    """Names of existing secrets with credentials of clusters, in this account. Listed here because roles are fixed when the
    template is made: functions may read these and no other."""
    rotated_secrets: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9/_+=.@-]{1,500}$")], ...] = ()
    """Those of `flink_secrets` that Secrets Manager has rotated by the controller: tokens, API keys and passwords."""
    rotation_days: Annotated[int, Field(ge=1, le=1000)] = 30
    """Days between two rotations of a secret. A month, because nobody notices one; shorter where your rules ask for it."""
    network: NetworkConfig | None = None
    """The VPC of the functions. Without it they run outside of one, cost nothing for endpoints, and reach Flink by a public address
    only."""
    kms_key_arn: Annotated[str, Field(pattern=r"^arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/[\w-]+$")] | None = None
    """Your own key for tables, buckets, queues, topics, logs and environments. Without it keys of AWS, which cost nothing and
    which nobody can switch off."""
    kerberos_layer_arn: Annotated[str, Field(pattern=r"^arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:layer:[\w-]+:\d+$")] | None = (
        None
    )
    """Version of the layer that layers/kerberos/build.sh builds, for clusters behind Kerberos. Left out otherwise: it is large, and
    every cold start would pay for it."""
    scrape_secret: Annotated[str, Field(pattern=r"^[A-Za-z0-9/_+=.@-]{1,500}$")] | None = None
    """Name of an existing secret whose text is a bearer token: gives Prometheus and others that cannot sign an address of
    their own for `/metrics` alone. Without it there is no address that answers unsigned calls."""

    teams: tuple[Team, ...] = ()
    """Existing roles of this account, each with its right in one namespace. None by default: whoever deploys names people."""
    revision_history_limit: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Revisions of a job that are kept beside those that it may still run or go back to: how far `flinkctl rollback` reaches. One
    small item each; 50 are two months of a deploy on each working day."""
    artifact_history_limit: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Newest records of an artifact's versions that are kept, beside young ones and those that something needs. As many as
    revisions."""
    artifact_history_days: Annotated[int, Field(ge=1, le=3650)] = 90
    """Days that every record of an artifact's version is kept, however many there are: a quarter's audit finds all of them."""
    debounce_seconds: Annotated[int, Field(ge=0, le=300)] = 5
    """Seconds: uploads to one key this close together become one upgrade. 5 covers a jar, its signature and a repeated upload,
    and is what every upgrade by upload waits."""
    follow_up_visibility_factor: Annotated[int, Field(ge=1, le=60)] = 6
    """Times `reconcile_job`'s timeout before a follow-up whose worker died is seen again. AWS recommends 6, to outlast
    throttling; locally 2, so that a killed worker's job is looked at again soon."""
    follow_up_max_concurrency: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Most workers on the follow-up queue at once, so that a burst of wake-ups leaves room for new specs. Without it the account's
    concurrency is the limit; set it where other functions share the account."""
    reserve_concurrency: bool = False
    """Whether functions take the concurrency of the table below out of the account's pool: nothing else can starve them then, and
    they nothing else. Off by default, because a new account has none to give."""
    function_overrides: dict[str, FunctionOverride] = Field(default_factory=dict)
    """By the function's name: what is not right for your fleet, as `{"reconcile_fleet": {"memory_mb": 2048}}`. The table below has
    what holds otherwise."""
    alarm_email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")] | None = None
    """Subscribed to the alert topic; the person has to confirm once. Without it nobody is told before you subscribe somebody."""
    runbook_url: Annotated[str, Field(pattern=r"^https://[^\s#]+$", max_length=500)] | None = None
    """Where docs/runbook.md can be read: each alarm's description links its heading there. Without it the
    file's path, for those who have the repository at hand."""
    tracing: bool = True
    """Whether functions trace with X-Ray: the way of a change through all calls. Costs about 0.2 s of a cold start, and X-Ray's
    price a trace."""
    schedules_enabled: bool = True
    """Whether the one-minute rules fire. Off, nothing is observed and nothing heals: only for maintenance."""
    per_job_metrics: bool = False
    """Whether readiness and deployments are published for each job as well. Some 6 custom metrics a job: about 1.80 USD a
    month each at CloudWatch's first tier; the fleet's own figures are about 40 metrics whatever the number of jobs."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe lines that are written. INFO has one for each decision and effect, which the runbook's commands look for."""

    @property
    def is_local(self) -> bool:
        """Whether this deployment lives on a laptop."""
        return self.environment is Environment.LOCAL

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Self:
        """Read the selected environment's values, with the overrides that stand beside them.

        Args:
            context: the CDK context: `environment` (default `dev`), `environments`, and any field by its name.

        Raises:
            ConfigError: the environment is unknown or values are; every fault is listed.
        """
        environments = context.get("environments")
        if not isinstance(environments, Mapping):
            raise ConfigError("the context has no `environments`; it is read from cdk.json at the root of the repository")
        name = str(context.get("environment", Environment.DEV.value))
        known = [environment.value for environment in Environment]
        if name not in known or name not in environments:
            raise ConfigError(f"environment {name!r} is none of {', '.join(known)} in cdk.json")
        chosen = environments[name]
        if not isinstance(chosen, Mapping):
            raise ConfigError(f"environment {name!r} in cdk.json must be an object, not {chosen!r}")
        names = {field.name for field in fields(cls)} - {"environment"}
        overrides = {key: _parsed(key, context[key]) for key in names & set(context)}
        faults = _misspelt(context, names)
        values = {**chosen, **overrides, "environment": name}
        try:
            # By way of JSON, where strict mode still takes a list for a tuple and a text for an enum.
            config = TypeAdapter(cls).validate_json(json.dumps(values))
        except ValidationError as error:
            faults = [*(_fault(detail) for detail in error.errors()), *faults]
        else:
            faults = [*_contradictions(config), *faults]
        if faults:
            raise ConfigError(f"environment {name!r} is not usable:\n" + "\n".join(f"  - {fault}" for fault in faults))
        return config


def _contradictions(config: DeploymentConfig) -> list[str]:
    """List what each field's own rule cannot see."""
    functions = {row.name for row in FUNCTIONS}
    faults = [
        f"teams.{number}.namespace: artifacts is no namespace; its prefix belongs to namespace default"
        for number, team in enumerate(config.teams)
        if team.namespace == "artifacts"
    ]
    faults += [
        f"function_overrides.{name}: there is no such function; there are {', '.join(sorted(functions))}"
        for name in sorted(set(config.function_overrides) - functions)
    ]
    timeout = config.function_overrides.get(RECONCILER, FunctionOverride()).timeout_seconds
    if timeout is not None and timeout < LEAST_RECONCILER_TIMEOUT_S:
        faults.append(
            f"function_overrides.{RECONCILER}.timeout_seconds: {timeout} is too short, write {LEAST_RECONCILER_TIMEOUT_S} or"
            " more; the function begins no look with less than 35 s left, and would hand on every wake-up for ever"
        )
    faults += [
        f"rotated_secrets: {name} is not among flink_secrets, so no function may read it"
        for name in sorted(set(config.rotated_secrets) - set(config.flink_secrets))
    ]
    faults += [] if config.network is None else _contradictions_of_network(config.network)
    if config.is_local and (config.network is not None or config.kms_key_arn or config.kerberos_layer_arn):
        faults.append("network, kms_key_arn, kerberos_layer_arn: a laptop has none of them")
    if config.environment is Environment.PROD and not (config.retain_data and config.deletion_protection):
        faults.append("retain_data, deletion_protection: prod keeps its data; a lost state table means forgotten Flink jobs")
    on_host = {config.python_version == HOST, config.architecture == HOST}
    if on_host != {config.is_local}:
        faults.append(
            "python_version, architecture: `host` is for local, which runs functions on this machine, and only for it"
        )
    return faults


def _contradictions_of_network(network: NetworkConfig) -> list[str]:
    faults = []
    if network.vpc_id is None and (network.subnet_ids or network.route_table_ids or network.has_endpoints):
        faults.append("network: subnet_ids, route_table_ids and has_endpoints are of an existing VPC; name it by vpc_id")
    if network.vpc_id is not None and not len(network.subnet_ids) == len(network.availability_zones) > 0:
        faults.append("network: an existing VPC needs subnet_ids and, one for one, their availability_zones")
    if network.vpc_id is not None and not network.has_endpoints and len(network.route_table_ids) != len(network.subnet_ids):
        faults.append("network.route_table_ids: one for each of subnet_ids, or has_endpoints if nothing is to be made")
    return faults


_TEXT: typing.Final = frozenset(
    {
        "controller_id",
        "python_version",
        "architecture",
        "alarm_email",
        "kerberos_layer_arn",
        "kms_key_arn",
        "log_level",
        "runbook_url",
        "scrape_secret",
    }
)
"""Fields whose override is taken as it stands: `-c python_version=3.14` is no number."""


def _parsed(name: str, value: object) -> object:
    """Give an override its type: `-c` makes every value a text, and a list is written with commas."""
    if not isinstance(value, str) or name in _TEXT:
        return value
    if name in {"state_buckets", "flink_secrets", "rotated_secrets"}:
        return [part.strip() for part in value.split(",") if part.strip()]
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _misspelt(context: Mapping[str, Any], names: set[str]) -> list[str]:
    """Name overrides that look like a field and are none; other tools' context is none of our business."""
    faults = []
    for key in sorted(set(context) - names - {"environment", "environments"}):
        close = difflib.get_close_matches(key, sorted(names), n=1, cutoff=0.8)
        if close:
            faults.append(f"{key}: there is no such field; did you mean {close[0]}?")
    return faults


def _fault(detail: Any) -> str:  # pydantic's ErrorDetails is not exported
    """Say one of pydantic's findings in a line."""
    path = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "unexpected_keyword_argument":
        return f"{path}: there is no such field"
    if detail["type"] in {"missing", "missing_argument"}:
        return f"{path}: is required"
    message = str(detail["msg"])
    return f"{path}: {message[0].lower()}{message[1:]}, not {detail['input']!r}"
