"""Ports whose every call passes through one place, where it can be counted, checked or struck."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from flink_controller.ports import Ports

UNTOUCHED = frozenset({"clock", "verifier", "burn_jar"})
"""Ports that reach nothing outside of the process."""


@dataclass(frozen=True)
class PortCall:
    """One call on its way to a port."""

    name: str
    """Port and method, such as `statuses.commit`; gateways carry their cluster: `flink[default].submit`."""
    method: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    target: Callable[[], Any]
    """Makes the call. An iterator is read to its end: one call is one step."""


Interceptor = Callable[[PortCall], Any]


def intercepted(ports: Ports, interceptor: Interceptor) -> Ports:
    """Give ports whose calls all go through an interceptor, which decides whether and when to make them."""
    proxies: dict[str, Any] = {
        field.name: _Proxy(getattr(ports, field.name), field.name, interceptor)
        for field in fields(ports)
        if field.name not in UNTOUCHED
    }
    return replace(ports, **proxies)


class _Proxy:
    """A port behind an interceptor."""

    def __init__(self, port: Any, name: str, interceptor: Interceptor) -> None:
        self._port, self._name, self._interceptor = port, name, interceptor

    def __getattr__(self, method: str) -> Any:
        target = getattr(self._port, method)
        if method == "connect":
            # Getting a gateway is no call; what it is asked is.
            return lambda cluster: _Proxy(target(cluster), f"{self._name}[{cluster.name}]", self._interceptor)

        def call(*args: Any, **kwargs: Any) -> Any:
            made = PortCall(f"{self._name}.{method}", method, args, kwargs, lambda: _whole(target(*args, **kwargs)))
            return self._interceptor(made)

        return call


def _whole(result: Any) -> Any:
    return iter(list(result)) if isinstance(result, Iterator) and not hasattr(result, "read") else result
