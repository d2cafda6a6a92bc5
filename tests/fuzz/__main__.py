"""`make fuzz`: at least 200,000 damaged envelopes, keys and archives, and as many damaged events through the handlers.

Ends with the counts, or at the first fault.
"""

import sys
import time
from collections import Counter

from tests.fuzz import events, inputs

COUNT = 200_000
STEP = 10_000


def main(count: int) -> int:
    """Run both kinds in steps, each with a seed of its own, so that a fault can be tried again by itself."""
    for what, run in (("envelopes, keys and archives", inputs.run), ("events through the handlers", events.run)):
        found: Counter[str] = Counter()
        began = time.monotonic()
        for seed in range(-(-count // STEP)):
            found += run(seed, min(STEP, count - seed * STEP))
            print(f"fuzz: {sum(found.values())} {what}, {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201
        print(inputs.told(found))  # noqa: T201
        print(f"fuzz: {sum(found.values())} {what}; no unhandled exception, no false acceptance")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT))
