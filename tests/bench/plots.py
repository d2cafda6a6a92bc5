"""The plots of docs/performance.md, drawn from the numbers that stand beside them: `python -m tests.bench.plots`.

The same numbers give the same bytes: no date, no random ids, text as text. Each says in its description which numbers it was
drawn from, by their digest, so that a test without the drawing library tells a plot that is out of date.
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
import matplotlib.pyplot as plt
import typer

from tests.bench import latency
from tests.bench.ground import RESULTS
from tests.bench.page import PLOTS, drawn_from

OURS, BESIDE, LINE = "#2563a8", "#9aa5b1", "#c0392b"
"""Colours of the controller, of what it is compared with, and of budgets."""


def _spans(axes: Any, rows: Sequence[tuple[str, Mapping[str, float], str]]) -> None:
    """Draw medians as dots, each with a line to its 95th percentile; milliseconds, the first row on top."""
    for at, (_, found, colour) in enumerate(rows):
        low, high = (max(found[key] * 1000, 1) for key in ("p50", "p95"))
        axes.plot([low, high], [at, at], color=colour, linewidth=3, alpha=0.4, solid_capstyle="round")
        axes.plot([low], [at], "o", color=colour)
    axes.set_yticks(range(len(rows)), [title for title, _, _ in rows])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)


def draw_latency(axes: Any, kept: Mapping[str, Any]) -> None:
    """Draw what was timed, beside what it is compared with."""
    found = kept["summary"]
    ours = [(name, found[name], OURS) for name in latency.LATENCIES if name in found]
    beside = [(name, found[name], BESIDE) for name in latency.YARDSTICKS if name in found]
    _spans(axes, [*ours, *beside])
    axes.set_xscale("log")
    axes.set_xlabel("ms: the dot is the median, the line ends at the 95th percentile")


def draw_downtime(axes: Any, kept: Mapping[str, Any]) -> None:
    """Draw for how long a job writes no record while it changes."""
    found = kept["summary"]
    rows = [
        (title.replace("`", ""), found[name], OURS if beside else BESIDE) for name, (title, beside) in latency.GAPS.items()
    ]
    _spans(axes, rows)
    axes.set_xlim(left=0)
    axes.set_xlabel("ms without a record: median and 95th percentile")


def draw_fleet(axes: Any, kept: Mapping[str, Any]) -> None:
    """Draw how a quiet tick grows with the fleet."""
    quiet = [tick for tick in kept["ticks"] if tick["scenario"] == "quiet"]
    jobs = [tick["jobs"] for tick in quiet]
    for name, colour in (("wall_s", OURS), ("cpu_s", BESIDE)):
        seconds = [min(warm[name] for warm in tick["warm"]) for tick in quiet]
        axes.plot(jobs, seconds, "o-", color=colour, label="time" if name == "wall_s" else "processor time")
    budgets = [(int(count), seconds) for count, seconds in kept["budgets_s"].items()]
    axes.plot(*zip(*budgets, strict=True), "v", color=LINE, label="budget")
    axes.set_xlabel("jobs")
    axes.set_ylabel("seconds of a quiet tick")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend()


def draw_cold_start(axes: Any, kept: Mapping[str, Any]) -> None:
    """Draw each handler's imports beside those of boto3 and its clients."""
    functions = kept["functions"]
    for shift, key, colour, label in (
        (-0.2, "handler_s", OURS, "the handler's imports"),
        (0.2, "yardstick_s", BESIDE, "boto3 and its clients"),
    ):
        seconds = [statistics.median(one[key]) for one in functions.values()]
        axes.barh([at + shift for at in range(len(functions))], seconds, height=0.38, color=colour, label=label)
    axes.set_yticks(range(len(functions)), list(functions))
    axes.invert_yaxis()
    axes.set_xlabel("seconds of processor")
    axes.legend()


def draw_cost(axes: Any, kept: Mapping[str, Any]) -> None:
    """Draw what keeps 1,000 jobs, each way."""
    ways = kept["bill"]["ways"]
    colours = [OURS if name in {"quiet", "busy"} else BESIDE for name in ways]
    titles = [f"this controller, {name}" if name in {"quiet", "busy"} else name for name in ways]
    bars = axes.barh(titles, list(ways.values()), color=colours)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.set_xscale("log")
    axes.set_xlim(1, 10 * max(ways.values()))
    axes.invert_yaxis()
    axes.set_xlabel("USD a month for 1,000 jobs")


DRAWN: Final[Mapping[str, Callable[[Any, Mapping[str, Any]], None]]] = {
    "latency": draw_latency,
    "downtime": draw_downtime,
    "fleet": draw_fleet,
    "cold-start": draw_cold_start,
    "cost": draw_cost,
}


def draw(name: str) -> None:
    """Draw one plot and write it."""
    source = PLOTS[name]
    kept = json.loads((RESULTS / f"{source}.json").read_text(encoding="utf-8"))
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(8, 5 if name == "latency" else 3.2), layout="constrained")
        DRAWN[name](axes, kept)
        figure.savefig(RESULTS / f"{name}.svg", format="svg", metadata={"Date": None, "Description": drawn_from(source)})
        plt.close(figure)


def main() -> None:
    """Draw all."""
    mpl.use("svg")
    for name in PLOTS:
        draw(name)
        typer.echo(f"plots: docs/performance/{name}.svg")


if __name__ == "__main__":
    main()
