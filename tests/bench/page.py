"""The tables of docs/performance.md, made from the numbers that stand beside it: `python -m tests.bench.page`.

Each stands between a line that names its file and a line that ends it; what is between the two belongs to this program. A test
compares, so that the page says what was measured and nothing else.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.bench import budgets, cold_start, cost, first_call, fleet, latency, soak, storm
from tests.bench.ground import RESULTS

PAGE: Final = RESULTS.parent / "performance.md"
TABLES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "budgets": budgets.tables,
    "latency": latency.tables,
    "cold-start": cold_start.tables,
    "first-call": first_call.tables,
    "cost": cost.tables,
    "storm": storm.tables,
    "fleet": fleet.tables,
    "soak": soak.tables,
}
"""What writes the tables of each file of numbers."""
PLOTS: Final[Mapping[str, str]] = {
    "latency": "latency",
    "downtime": "latency",
    "fleet": "fleet",
    "cold-start": "cold-start",
    "cost": "cost",
}
"""By the name of the plot: the file of numbers that it shows."""
_BLOCK: Final = re.compile(r"(<!-- made from performance/([a-z-]+)\.json -->\n)(?:.*?\n)??(<!-- end -->)", re.DOTALL)


def made(text: str) -> str:
    """Give a page with its tables made anew."""
    return _BLOCK.sub(lambda found: f"{found[1]}{_table(found[2])}\n{found[3]}", text)


def blocks(text: str) -> list[str]:
    """Give the names of the files that a page has tables from."""
    return [found[2] for found in _BLOCK.finditer(text)]


def drawn_from(source: str) -> str:
    """Give what a plot says of the numbers that it was drawn from."""
    digest = hashlib.sha256((RESULTS / f"{source}.json").read_bytes()).hexdigest()
    return f"drawn from {source}.json, sha256 {digest}"


def _table(name: str) -> str:
    return TABLES[name](json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))


def main(page: Path = PAGE) -> None:
    """Write the page anew."""
    page.write_text(made(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
