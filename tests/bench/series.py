"""What is said of a series of measurements."""

import statistics
from collections.abc import Sequence


def summary(values: Sequence[float]) -> dict[str, float]:
    """Give how many there are, the median and the 95th percentile (the nearest of the values)."""
    ordered = sorted(values)
    return {"n": len(ordered), "p50": statistics.median(ordered), "p95": ordered[round(0.95 * (len(ordered) - 1))]}
