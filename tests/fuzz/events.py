"""Damaged events of every source through the real handlers, on twins. The same seed gives the same inputs.

An input is a sample event with parts replaced, removed, doubled, nested or spliced with parts of other events, or its text
damaged; before a look, the spec item in question may be damaged likewise. Whatever it is, the handler must not raise (Lambda
would send it again and again), must ask for nothing to be sent again, and must write no line of the log that is not JSON.
"""

import contextlib
import copy
import importlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, Final

import yaml

from flink_controller.bootstrap import Controller
from flink_controller.domain.announcements import ArtifactEvent, JobEvent, Letter
from flink_controller.domain.errors import ControllerError
from flink_controller.services.rotate_credentials import Rotation
from flink_controller.settings import Settings
from flink_controller.testing.memory_secrets import MemorySecrets
from infra.functions import FUNCTIONS
from tests.fuzz.inputs import FuzzError, damaged
from tests.integration.installation import BUCKET as SAMPLE_BUCKET
from tests.integration.installation import Context
from tests.unit.services.bench import BUCKET, JOB, POLICY, Bench

EVENTS: Final = Path(__file__).resolve().parents[2] / "events"
ROTATED: Final = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:flink-default-AbCdEf"
VERSION: Final = "4f1c2f7e-7d0b-4c53-9d0f-2a9f4b7c5e11"
"""Of the sample events of a rotation."""
WORLD_OF: Final = 250
"""Inputs that meet one world, so that they find what the ones before have made of it."""
SETTINGS: Final = Settings(
    job_spec_table_name="specs",
    controller_state_table_name="state",
    artifact_bucket_name=BUCKET,
    follow_up_queue_url="queue",
    controller_id=POLICY.controller_id,
)
ATOMS: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    2**63,
    10**40,
    1e308,
    -0.0,
    "",
    " ",
    "\x00",
    "\ud800",
    "\u2028\x85\x1b[0m",
    "é/ü/\U0001d4b3",
    "x" * 5_000,
    "../../etc/passwd",
    "artifacts/etl.jar",
    "artifacts/etl.jar.sig",
    "artifacts/%2e%2e%2f+%ff%",
    "team-a/orders",
    '{"job_id": "etl"}',
    '{"job_id": 7}',
    '{"job_id": "etl", "job_id": "etl2"}',
    "[" * 200,
    'etl"}\n{"level": "forged"}',
    "GET",
    "/metrics",
    [],
    {},
    [[[[[]]]]],
    {"S": "etl"},
    {"": {"": None}},
)


def _samples() -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in FUNCTIONS:
        for path in sorted((EVENTS / row.name).glob("*.json")):
            text = path.read_text(encoding="utf-8").replace(SAMPLE_BUCKET, BUCKET)
            found.setdefault(row.name, []).append(json.loads(text))
    return found


SAMPLES: Final = _samples()
PARTS: Final = [sample for samples in SAMPLES.values() for sample in samples]
SPECS: Final[tuple[dict[str, Any], ...]] = (
    yaml.safe_load((EVENTS / "original-spec.yaml").read_text(encoding="utf-8")),
    {"job_type": "stream", "artifact_path": "artifacts/etl.jar", "deployment": {"parallelism": 2}},
    {
        "job_type": "batch",
        "artifact_path": "artifacts/etl.jar",
        "batch_config": {"cron": "*/5 * * * *", "timezone": "Europe/Berlin", "ttl_seconds": 60},
    },
)


class _Deaf:
    """A bus and a topic on which nobody listens."""

    def put(self, events: Sequence[JobEvent | ArtifactEvent]) -> None:
        """Take events."""

    def tell(self, letter: Letter) -> None:
        """Take a message."""


def run(seed: int, count: int) -> Counter[str]:
    """Put damaged events through the handlers in turn, and count them by function.

    Raises:
        FuzzError: with the seed, the number of the input, and the event.
    """
    found: Counter[str] = Counter()
    random = Random(seed)  # noqa: S311  # reproducible, not secret
    names = sorted(SAMPLES)
    handlers = {name: importlib.import_module(f"functions.{name}.handler") for name in names}
    bench = Bench()
    with _wired(handlers) as wire:
        for number in range(count):
            if number % WORLD_OF == 0:
                bench = _world(random)
                wire(bench)
            name = random.choice(names)
            event = _spoiled(random, random.choice(SAMPLES[name]))
            if name == "reconcile_job" and random.random() < 0.5:
                event = copy.deepcopy(random.choice(SAMPLES[name]))
                bench.specs.put(JOB, _spec(random))
            try:
                found[f"{name}: {_deliver(handlers[name], name, event)}"] += 1
            # Whatever escapes is what is looked for: no event may end in an exception, of any kind.
            except Exception as error:
                told = f"seed {seed}, input {number}, {name}: {type(error).__name__}: {str(error)[:500]}: {json.dumps(event)[:2000]}"
                raise FuzzError(told) from error
    return found


@contextlib.contextmanager
def _wired(handlers: dict[str, ModuleType]) -> Iterator[Callable[[Bench], None]]:
    """Let handlers find a world of twins where they look for the one of their environment; gives what changes the world."""
    world: dict[str, Any] = {}

    def wire(bench: Bench) -> None:
        secrets = MemorySecrets({ROTATED: '{"token": "first"}'})
        secrets.begin(ROTATED, VERSION)
        world["controller"] = Controller(SETTINGS, POLICY, bench.ports, _Deaf(), _Deaf())
        world["rotation"] = Rotation(secrets, bench.registry, lambda _: bench, lambda: "fresh")

    with contextlib.ExitStack() as stack:
        for module in handlers.values():
            for name in {"controller", "rotation"} & set(module.__dict__):
                stack.callback(module.__dict__.__setitem__, name, module.__dict__[name])
                module.__dict__[name] = partial(world.__getitem__, name)
        yield wire


def _world(random: Random) -> Bench:
    """Make a world: empty, or with a job that runs."""
    bench = Bench()
    if random.random() < 0.7:
        bench.upload()
    if random.random() < 0.5:
        bench.put()
        bench.look()
    return bench


def _deliver(module: ModuleType, name: str, event: Any) -> str:
    """Call a handler as Lambda does: with what survives JSON, and its answer likewise."""
    lines = io.StringIO()
    answer = None
    # A step of a rotation that fails is raised: that is how Secrets Manager learns of it.
    tolerated = (ControllerError,) if name == "rotate_credentials" else ()
    with contextlib.redirect_stdout(lines), contextlib.suppress(*tolerated):
        answer = json.loads(json.dumps(module.lambda_handler(json.loads(json.dumps(event)), Context(function=name))))
    for line in lines.getvalue().splitlines():
        if not (line.isascii() and line.isprintable() and isinstance(json.loads(line), dict)):
            raise FuzzError(f"a line of the log that is none: {line[:500]!r}")
    match answer:
        case {"batchItemFailures": []}:
            return "nothing to send again"
        case {"batchItemFailures": _}:
            raise FuzzError(f"asks for it again: {lines.getvalue()[:1000]}")
        case {"statusCode": 200 | 404 | 405 as status}:
            return str(status)
        case {"statusCode": status}:
            raise FuzzError(f"answers {status}")
    return "done"


def _spoiled(random: Random, sample: Any) -> Any:
    """Damage an event in a few places."""
    if random.random() < 0.05:
        return copy.deepcopy(random.choice(ATOMS))
    if random.random() < 0.15:
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(damaged(random, json.dumps(sample).encode(), [json.dumps(part).encode() for part in PARTS]))
    document = copy.deepcopy(sample)
    for _ in range(random.choice((1, 1, 1, 2, 3, 5))):
        document = _damaged_at(random, document, random.choice(list(_places(document))))
    return document


def _spec(random: Random) -> dict[str, Any]:
    """Give a spec item, sound or damaged."""
    item = copy.deepcopy(random.choice(SPECS))
    for _ in range(random.choice((0, 1, 1, 2, 4))):
        places = [place for place in _places(item) if place]
        if places:
            item = _damaged_at(random, item, random.choice(places))
    # A table holds no half of a surrogate pair.
    storable: dict[str, Any] = json.loads(json.dumps(item, ensure_ascii=False).encode(errors="replace"))
    return {**storable, "job_id": JOB}


def _places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    parts = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, part in parts:
        yield from _places(part, (*path, key))


def _damaged_at(random: Random, document: Any, place: tuple[Any, ...]) -> Any:
    if not place:
        return copy.deepcopy(random.choice(PARTS))
    *parents, last = place
    inner = document
    for key in parents:
        inner = inner[key]
    old = inner[last]
    match random.randrange(6):
        case 0:
            del inner[last]
        case 1 | 2:
            inner[last] = copy.deepcopy(random.choice(ATOMS))
        case 3:
            part = random.choice(PARTS)
            for key in random.choice(list(_places(part))):
                part = part[key]
            inner[last] = copy.deepcopy(part)
        case 4 if isinstance(old, str):
            others = [str(atom).encode(errors="replace") or b"x" for atom in ATOMS]
            inner[last] = damaged(random, old.encode(errors="replace"), others).decode(errors="replace")
        case 5 if isinstance(old, list):
            inner[last] = old * random.choice((2, 5, 40))
        case _:
            inner[last] = random.choice(([old], {"x": old}, str(old)))
    return document
