"""What 1,000 jobs cost in a month, from counted operations and a file of prices: `make bench` keeps docs/performance/cost.json.

Nothing here is measured: `tests.bench.operations` counts what each invocation does, the template says what stands there all month, docs/performance/prices.json says what each costs. What Flink itself costs is the same
in all variants, and in none of the figures.
"""

import json
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import typer

from infra.local.settings import CHECKOUT
from tests.bench.ground import RESULTS, keep

HOURS: Final = 730
"""Of a month."""
MINUTES: Final = HOURS * 60
DAYS: Final = HOURS / 24
ONE_CORE_MB: Final = 1_769
"""Memory that buys a whole core of Lambda; less of it has its share of one."""
PLATFORM_LOG_BYTES: Final = 330
"""Lambda's own lines about an invocation, START, END and REPORT."""
IDLE_POLLS: Final = 15 * MINUTES
"""Requests by which Lambda asks an empty queue: five pollers, each waiting for 20 s."""
PER_FOLLOW_UP: Final = 3
"""Requests on the queue: sent, received, deleted."""
ZONES: Final = 2
"""Availability zones that the functions' network spans."""
METRICS_A_JOB: Final = 6
"""With `per_job_metrics`."""
POD: Final = (2, 4)
"""Processors and GB for an operator of 1,000 jobs: an assumption, and a modest one."""
TURNS: Final = 15
"""Sweeps in which everything is looked at once."""

AN_UPGRADE: Final = ("upload", "upgrade", "events of an upgrade")
LOOK: Final = "a look that changes nothing"
S3_LISTS: Final = frozenset({"s3.ListObjectsV2", "s3.ListObjectVersions", "s3.PutObject"})


@dataclass(frozen=True)
class Prices:
    """What things cost."""

    document: Mapping[str, Any]

    @classmethod
    def read(cls) -> "Prices":
        """Read the file of prices."""
        return cls(json.loads((RESULTS / "prices.json").read_text(encoding="utf-8")))

    def usd(self, name: str, quantity: float) -> float:
        """Price a quantity."""
        price = self.document["prices"][name]
        return float(price["usd"] * quantity / price["per"])


def quantities(measured: Mapping[str, Any], times: Mapping[str, float]) -> defaultdict[str, float]:
    """Give what is charged by use, by the names of the prices, when each operation happens so many times."""
    total: defaultdict[str, float] = defaultdict(float)
    for name, count in times.items():
        one = measured["operations"][name]
        calls: Mapping[str, int] = one["aws_calls"]
        invocations = sum(one["invocations"].values())
        each = {
            "lambda_request": invocations,
            "lambda_gb_second_arm": gb_seconds(one, measured["functions"]),
            "dynamodb_read_unit": one["read_units"],
            "dynamodb_write_unit": one["write_units"],
            "s3_read_request": sum(n for call, n in calls.items() if call.startswith("s3.") and call not in S3_LISTS),
            "s3_list_request": sum(n for call, n in calls.items() if call in S3_LISTS),
            "sqs_request": PER_FOLLOW_UP * sum(n for call, n in calls.items() if call.startswith("sqs.Send")),
            "event": calls.get("events.PutEvents", 0),
            "sns_message": calls.get("sns.Publish", 0),
            "log_gb": (one["log_bytes"] + PLATFORM_LOG_BYTES * invocations) / 1e9,
        }
        for price, quantity in each.items():
            total[price] += count * quantity
    return total


def gb_seconds(operation: Mapping[str, Any], functions: Mapping[str, Any]) -> float:
    """Give what Lambda charges for the duration: waiting as measured, computing by the share of a core that memory buys."""
    total = 0.0
    for function, wall_s in operation["wall_s"].items():
        memory_mb, busy_s = functions[function]["memory_mb"], min(operation["cpu_s"][function], wall_s)
        billed_s = wall_s - busy_s + busy_s * max(ONE_CORE_MB / memory_mb, 1)
        total += ceil(billed_s * 1000) / 1000 * memory_mb / 1024
    return total


def standing(measured: Mapping[str, Any], template: Mapping[str, int]) -> defaultdict[str, float]:
    """Give what is charged by its being there, by the names of the prices."""
    gb = measured["bytes_per_job"] * measured["jobs"] / 1e9
    return defaultdict(
        float,
        {
            "dynamodb_gb_month": gb,
            "dynamodb_recovery_gb_month": gb,
            "sqs_request": IDLE_POLLS,
            "metric_month": len(measured["metrics"]),
            "alarm_month": template["alarms"],
            "composite_alarm_month": template["composite_alarms"],
            "dashboard_month": template["dashboards"],
        },
    )


def bill(measured: Mapping[str, Any], template: Mapping[str, int], prices: Prices) -> dict[str, Any]:
    """Work it all out: the two months of this controller line by line, the other ways, and the options."""
    jobs = measured["jobs"]
    upgrades = dict.fromkeys(AN_UPGRADE, jobs * DAYS)
    clocked = {name: MINUTES / row["every_minutes"] for name, row in measured["functions"].items() if row["every_minutes"]}
    fixed = standing(measured, template)
    quiet = quantities(measured, clocked)
    busy = quantities(measured, {**clocked, **upgrades})
    looks = quantities(measured, {LOOK: jobs * MINUTES})
    invocations = busy["lambda_request"]
    pod_vcpu, pod_gb = POD
    artifacts = jobs / TURNS * clocked["sweep_artifacts"]
    return {
        "lines": {
            name: {
                month: [used[name] + fixed[name], prices.usd(name, used[name] + fixed[name])]
                for month, used in (("quiet", quiet), ("busy", busy))
            }
            for name in sorted({*busy, *fixed})
            if busy[name] or fixed[name]
        },
        "ways": {
            "quiet": _total(prices, quiet, fixed),
            "busy": _total(prices, busy, fixed),
            "schedule per job": _total(prices, looks) + prices.usd("scheduler_invocation", jobs * MINUTES),
            "operator pod": prices.usd("kubernetes_control_plane_hour", HOURS)
            + prices.usd("pod_vcpu_hour_arm", pod_vcpu * HOURS)
            + prices.usd("pod_gb_hour_arm", pod_gb * HOURS),
            "managed service": prices.usd("managed_flink_unit_hour", jobs * HOURS),
        },
        "options": {
            "an artifact for each job": prices.usd("dynamodb_read_unit", artifacts / 2)
            + prices.usd("s3_read_request", artifacts),
            "tracing": prices.usd("trace", invocations),
            "interface endpoints": prices.usd("interface_endpoint_hour", template["interface_endpoints"] * ZONES * HOURS),
            "NAT gateways": prices.usd("nat_gateway_hour", ZONES * HOURS),
            "metrics of each job": prices.usd("metric_month", METRICS_A_JOB * jobs),
        },
    }


def _total(prices: Prices, *parts: Mapping[str, float]) -> float:
    return sum(prices.usd(name, quantity) for part in parts for name, quantity in part.items())


def templated() -> dict[str, int]:
    """Count what stands in production all month, from the template with a network of its own."""
    # The CDK takes seconds to start, and the bill is made without it. It warns about the age of Node 20, which will do.
    os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "20")
    import aws_cdk as cdk  # noqa: PLC0415

    from infra.app import build  # noqa: PLC0415

    context = json.loads((CHECKOUT / "cdk.json").read_text(encoding="utf-8"))["context"]
    network = {"s3_prefix_list_id": "pl-6da54004", "dynamodb_prefix_list_id": "pl-6fa54006"}
    chosen = {**context, "environment": "prod", "network": network, "aws:cdk:bundling-stacks": []}
    with tempfile.TemporaryDirectory() as folder:
        app = cdk.App(context=chosen, outdir=folder)
        stack = build(app)
        resources = app.synth().get_stack_artifact(stack.artifact_id).template["Resources"].values()
    kinds = Counter(resource["Type"] for resource in resources)
    endpoints = [one["Properties"] for one in resources if one["Type"] == "AWS::EC2::VPCEndpoint"]
    return {
        "alarms": kinds["AWS::CloudWatch::Alarm"],
        "composite_alarms": kinds["AWS::CloudWatch::CompositeAlarm"],
        "dashboards": kinds["AWS::CloudWatch::Dashboard"],
        "interface_endpoints": sum(one["VpcEndpointType"] == "Interface" for one in endpoints),
    }


_LINES: Final = {
    "lambda_request": "Lambda: invocations",
    "lambda_gb_second_arm": "Lambda: GB-seconds, arm64",
    "dynamodb_read_unit": "DynamoDB: read units",
    "dynamodb_write_unit": "DynamoDB: write units",
    "dynamodb_gb_month": "DynamoDB: GB stored",
    "dynamodb_recovery_gb_month": "DynamoDB: GB recoverable to any point in time",
    "s3_read_request": "S3: reads",
    "s3_list_request": "S3: lists",
    "sqs_request": "SQS: requests, most of them Lambda's on an empty queue",
    "event": "EventBridge: events on the bus",
    "sns_message": "SNS: messages",
    "log_gb": "CloudWatch: GB of logs",
    "metric_month": "CloudWatch: metrics",
    "alarm_month": "CloudWatch: alarms",
    "composite_alarm_month": "CloudWatch: composite alarms",
    "dashboard_month": "CloudWatch: dashboards",
}
_WAYS: Final = {
    "quiet": "this controller, nothing changes",
    "busy": "this controller, a new artifact for each job every day",
    "schedule per job": "a schedule for each job that has the same handler look at it every minute",
    "operator pod": f"an operator's pod ({POD[0]} processors, {POD[1]} GB: an assumption) and its Kubernetes control plane",
    "managed service": "a managed service: the unit that it charges for the orchestration of each application",
}
_OPTIONS: Final = {
    "tracing": "every invocation traced with X-Ray, when busy",
    "an artifact for each job": "every job with an artifact of its own, where the fleet above shares one",
    "interface endpoints": f"interface endpoints in {ZONES} zones, where the functions run in a VPC without any",
    "NAT gateways": f"NAT gateways in {ZONES} zones instead, their traffic aside",
    "metrics of each job": f"`per_job_metrics`: {METRICS_A_JOB} metrics a job",
}


def tables(kept: Mapping[str, Any]) -> str:
    """Write the bill as the page shows it."""
    ways, options = kept["bill"]["ways"], kept["bill"]["options"]
    lines = ["| | nothing changes | USD | a new artifact for each job every day | USD |", "| --- | --- | --- | --- | --- |"]
    for name, words in _LINES.items():
        if name in kept["bill"]["lines"]:
            one = kept["bill"]["lines"][name]
            cells = [cell for month in ("quiet", "busy") for cell in (_quantity(one[month][0]), f"{one[month][1]:,.2f}")]
            lines.append(f"| {words} | {' | '.join(cells)} |")
    lines += [f"| **together** | | **{ways['quiet']:,.2f}** | | **{ways['busy']:,.2f}** |", ""]
    lines += ["| what keeps 1,000 jobs as they should be | USD a month |", "| --- | --- |"]
    lines += [f"| {words} | {ways[name]:,.2f} |" for name, words in _WAYS.items()]
    lines += ["", "| beside it, where it is wanted | USD a month |", "| --- | --- |"]
    lines += [f"| {words} | {options[name]:,.2f} |" for name, words in _OPTIONS.items()]
    return "\n".join(lines)


def _quantity(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 or value == 0 else f"{value:.3f}"


def main() -> None:
    """Make the bill, print it, keep it."""
    measured = json.loads((RESULTS / "operations.json").read_text(encoding="utf-8"))
    template = templated()
    kept = {
        "counted_at": measured["taken_on"],
        "template": template,
        "bill": bill(measured, template, Prices.read()),
    }
    keep("cost", kept)
    typer.echo(tables(kept))


if __name__ == "__main__":
    typer.run(main)
