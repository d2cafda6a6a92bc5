"""The figures to hold, and what was measured: `python -m tests.bench.budgets` keeps docs/performance/budgets.json.

A miss is told with what explains it.
"""

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import typer

from tests.bench.cold_start import BUDGET as IMPORT_BUDGET
from tests.bench.ground import RESULTS, keep

SOURCES: Final = ("latency", "operations", "fleet", "cold-start")
RAW_FACTOR, RAW_MARGIN_S = 1.5, 0.3
"""What a deploy may take: so many times the raw calls, and so much more."""
GAP_MARGIN_S: Final = 1.0
SAMPLES: Final = 20
"""Calls of a tick for vital signs of jobs that it looks at closely."""
LIST: Final = "GET /jobs/overview"
WRITES: Final = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems")
AFTER_RUNNING: Final = "/checkpoints"
"""Part of the paths that the first look after RUNNING reads: statistics of checkpoints."""
RAW_CALLS: Final = ("POST /jars/upload", "POST /jars/:id/run")


@dataclass(frozen=True)
class Row:
    """One budget: what it is about, the limit and the measured figure in words, and whether it is met."""

    subject: str
    limit: str
    measured: str
    is_met: bool


def rows(kept: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Judge all budgets by the kept numbers, named by their files."""
    return [
        *_latencies(kept["latency"]["summary"]),
        *_calls(kept["operations"]["operations"]["first deploy"]),
        *_ticks(kept["fleet"]),
        _imports(kept["cold-start"]["functions"]),
    ]


def _latencies(found: Mapping[str, Mapping[str, float]]) -> list[Row]:
    ours, raw, command = (found[name]["p50"] for name in ("deploy", "raw deploy", "flink run -d"))
    limit = RAW_FACTOR * raw + RAW_MARGIN_S
    made = [
        Row(
            "spec write to all tasks running, warm",
            f"{RAW_FACTOR} times the raw calls + {RAW_MARGIN_S} s: {limit * 1000:,.0f} ms",
            f"{ours * 1000:,.0f} ms, raw {raw * 1000:,.0f} ms",
            ours <= limit,
        ),
        Row(
            "the same beside `flink run -d`",
            f"ahead of its {command * 1000:,.0f} ms",
            f"{ours * 1000:,.0f} ms",
            ours < command,
        ),
    ]
    for name, yardstick in (("savepoint", "gap raw"), ("last-state", "gap raw"), ("rescale", "gap raw rescale")):
        more = found[f"gap {name}"]["p50"] - found[yardstick]["p50"]
        words = "a rescale in place" if name == "rescale" else f"an upgrade, `{name}`"
        limit_words = f"{GAP_MARGIN_S:.0f} s more than raw"
        made.append(Row(f"downtime of {words}", limit_words, f"{more * 1000:+,.0f} ms", more <= GAP_MARGIN_S))
    none = found["gap blue-green"]["p95"]
    made.append(
        Row("downtime of an upgrade, `blue-green`", "none", f"{none * 1000:,.0f} ms at the 95th percentile", none <= 0)
    )
    return made


def _calls(deploy: Mapping[str, Any]) -> list[Row]:
    flink = deploy["flink_calls"]
    later = sum(count for name, count in flink.items() if AFTER_RUNNING in name)
    # The list before the submit is not the raw calls'; those after it are their polls.
    more = 1 + sum(count for name, count in flink.items() if name not in {LIST, *RAW_CALLS}) - later
    writes = sum(
        count for name, count in deploy["aws_calls"].items() if name.startswith("dynamodb.") and name.endswith(WRITES)
    )
    return [
        Row("calls of a deploy on Flink, to RUNNING", "the raw calls and 2", f"the raw calls and {more}", more <= 2),
        Row("writes of a deploy", "5", f"{writes}", writes <= 5),
    ]


def _ticks(fleet: Mapping[str, Any]) -> list[Row]:
    made = []
    for tick in fleet["ticks"]:
        budget_s = fleet["budgets_s"].get(str(tick["jobs"]))
        if tick["scenario"] != "quiet" or budget_s is None:
            continue
        best = min(tick["warm"], key=lambda one: one["wall_s"])
        lists = best["flink_calls"][LIST]
        samples = sum(best["flink_calls"].values()) - lists
        made.append(
            Row(
                f"a quiet minute of {tick['jobs']:,} jobs on one cluster",
                f"1 list, {SAMPLES} samples, no write, {budget_s:.0f} s",
                f"{lists} list, {samples} samples, {best['writes']} writes, {best['wall_s']:.2f} s",
                lists == 1 and samples <= SAMPLES and best["writes"] == 0 and best["wall_s"] < budget_s,
            )
        )
    return made


def _imports(functions: Mapping[str, Mapping[str, Any]]) -> Row:
    ratios = {
        name: statistics.median(one["handler_s"]) / statistics.median(one["yardstick_s"]) for name, one in functions.items()
    }
    worst = max(ratios, key=lambda name: ratios[name])
    return Row(
        "imports of a handler",
        f"{IMPORT_BUDGET} times boto3 and its clients",
        f"{ratios[worst]:.2f} times, `{worst}`; the others up to {max(v for n, v in ratios.items() if n != worst):.2f}",
        ratios[worst] <= IMPORT_BUDGET,
    )


def tables(kept: Mapping[str, Any]) -> str:
    """Write the judgements as the page shows them."""
    lines = ["| | at most | measured | |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {row['subject']} | {row['limit']} | {row['measured']} | {'met' if row['is_met'] else '**missed**'} |"
        for row in kept["rows"]
    ]
    return "\n".join(lines)


def measured() -> dict[str, Any]:
    """Read the kept numbers, by the names of their files."""
    return {name: json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in SOURCES}


def main() -> None:
    """Judge, print the table, keep it."""
    kept = {"rows": [asdict(row) for row in rows(measured())]}
    keep("budgets", kept)
    typer.echo(tables(kept))


if __name__ == "__main__":
    main()
