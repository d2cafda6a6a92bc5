"""Tell whether the controller itself can work, and what its own record says of the fleet. Asks no cluster."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from flink_controller.domain.census import Census, census
from flink_controller.domain.circuit import Circuit
from flink_controller.domain.errors import ControllerError
from flink_controller.ports import Ports

PROBE: Final = "health-probe"
"""A name that no job has: reading it costs half a read unit and tells whether the table answers."""
OK: Final = "ok"


class Verdict(StrEnum):
    """What a check comes to."""

    OK = "ok"
    DEGRADED = "degraded"
    """The controller works; a cluster does not answer, and its jobs wait."""
    UNAVAILABLE = "unavailable"
    """A store of the controller's own does not answer: nothing is done for any job."""


@dataclass(frozen=True)
class Health:
    """What answered."""

    stores: Mapping[str, str]
    """`ok`, or why not, for each of the controller's own stores."""
    clusters: Mapping[str, Circuit]
    """What is recorded of each registered cluster; empty when the record cannot be read, or was not asked for."""

    @property
    def verdict(self) -> Verdict:
        """Whether the controller can work."""
        if any(found != OK for found in self.stores.values()):
            return Verdict.UNAVAILABLE
        return Verdict.OK if all(map(answers, self.clusters.values())) else Verdict.DEGRADED


@dataclass(frozen=True)
class Fleet:
    """What scrapers read."""

    census: Census
    clusters: Mapping[str, Circuit]
    follow_ups: int
    """Wake-ups that wait, roughly."""


def answers(circuit: Circuit) -> bool:
    """Whether the cluster answered the last call that was made to it."""
    return circuit.is_closed and not circuit.failures


def check_stores(ports: Ports) -> Health:
    """Read once from every store. Never raises for one that does not answer."""
    return Health(
        {
            "job_specs": _asked(lambda: ports.specs.read(PROBE)),
            "controller_state": _asked(lambda: next(iter(ports.statuses.summaries()), None)),
            "follow_ups": _asked(ports.follow_ups.waiting),
        },
        {},
    )


def check_health(ports: Ports) -> Health:
    """Read once from every store, and what the ticks recorded of each cluster. Never raises for one that is away."""
    found = check_stores(ports)
    if found.verdict is not Verdict.OK:
        return found
    try:
        return Health(found.stores, _circuits(ports))
    except ControllerError as error:
        return Health({**found.stores, "controller_state": str(error)}, {})


def read_fleet(ports: Ports) -> Fleet:
    """Read what scrapers are told.

    Raises:
        ControllerError: a store does not answer or may not be read; the next scrape asks again.
    """
    return Fleet(census(ports.statuses.summaries(), ports.clock.now()), _circuits(ports), ports.follow_ups.waiting())


def _circuits(ports: Ports) -> dict[str, Circuit]:
    return {cluster.name: ports.circuits.read(cluster.name).circuit for cluster in ports.registry.clusters()}


def _asked(probe: Callable[[], object]) -> str:
    try:
        probe()
    except ControllerError as error:
        return str(error)
    return OK
