"""Follow backpressure from the sources of a job to where it starts. Reads only; judges nothing but whether to read on."""

from collections.abc import Sequence

from flink_controller.domain.observation import GraphVertex, LoadedVertex, Pressure
from flink_controller.domain.vitals import HIGH
from flink_controller.ports import FlinkGateway

SOURCES = 2
"""Sources of a job that are read: what is slow and stays so makes every source before it wait."""
VERTICES = 12
"""Vertices that one look reads on the way."""


def read_sources(gateway: FlinkGateway, flink_job_id: str) -> tuple[int, bool]:
    """Tell how many calls were made, at most three, and whether a source waits.

    Raises:
        FlinkUnreachableError: there is no usable answer.
    """
    sources = [vertex for vertex in gateway.graph(flink_job_id) or () if not vertex.inputs][:SOURCES]
    for number, source in enumerate(sources, 1):
        load = gateway.load(flink_job_id, source.id)
        if load is not None and load.backpressured >= HIGH:
            return 1 + number, True
    return 1 + len(sources), False


def read_pressure(gateway: FlinkGateway, flink_job_id: str) -> Pressure | None:
    """Follow backpressure; None while there are no readings. One call, one a source, and one a vertex on the way.

    Raises:
        FlinkUnreachableError: there is no usable answer.
    """
    graph = gateway.graph(flink_job_id)
    if graph is None:
        return None
    waiting: list[GraphVertex] = [vertex for vertex in graph if not vertex.inputs]
    pressed: list[LoadedVertex] = []
    bottleneck: LoadedVertex | None = None
    seen: set[str] = set()
    is_read = False
    while waiting and len(seen) < VERTICES:
        vertex = waiting.pop(0)
        if vertex.id in seen:
            continue
        seen.add(vertex.id)
        load = gateway.load(flink_job_id, vertex.id)
        if load is None:
            continue
        is_read, found = True, LoadedVertex(vertex.name, load)
        if load.backpressured >= HIGH:
            pressed.append(found)
            waiting += _readers(graph, vertex)
        elif vertex.inputs and (bottleneck is None or load.busy > bottleneck.load.busy):
            # Behind a fork several do not wait; the busiest of them is the slow one.
            bottleneck = found
    return Pressure(tuple(pressed), bottleneck if pressed else None) if is_read else None


def _readers(graph: Sequence[GraphVertex], vertex: GraphVertex) -> list[GraphVertex]:
    return [other for other in graph if vertex.id in other.inputs]
