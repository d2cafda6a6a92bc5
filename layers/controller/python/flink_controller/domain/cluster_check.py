"""Which clusters may be registered, and what is to be said about one: judged from what Flink tells of itself.

Registration and `flinkctl cluster check` share these rules, so that what was accepted once can be checked again.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from flink_controller.domain.cluster import DEFAULT_HEARTBEAT_TIMEOUT_S, Cluster
from flink_controller.domain.names import NAME, shown

TESTED_VERSIONS = ("1.20.", "2.3.")
"""Releases that the controller's tests run against."""
APPLICATIONS_SINCE = (2, 3)
"""First release with `/jars/:id/run-application`."""
HIGH_AVAILABILITY_KEYS = ("high-availability.type", "high-availability")
SPOILED_VERSIONS = ("2.3.",)
"""In which the record of a job that failed before it started ends every JobManager that reads it (measured on 2.3.0)."""
CHECKPOINT_KEYS = ("execution.checkpointing.dir", "state.checkpoints.dir")
SAVEPOINT_KEYS = ("execution.checkpointing.savepoint-dir", "state.savepoints.dir")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]*)")
_ISO_DURATION = re.compile(r"pt(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")
_UNIT_S = {
    **dict.fromkeys(("", "ms", "milli", "millis", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
    **dict.fromkeys(("us", "µs", "micro", "micros", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ns", "nano", "nanos", "nanosecond", "nanoseconds"), 1e-9),
}
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|[0-9a-f:.]{2,45}")
_URL_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_LOOPBACK = re.compile(r"localhost|127(?:\.\d{1,3}){3}|::1|0\.0\.0\.0|::", re.IGNORECASE)
_METADATA = re.compile(r"169\.254(?:\.\d{1,3}){2}|fe80:.*|fd00:ec2::254", re.IGNORECASE)
MAX_ROOT_BYTES = 200
"""Of a root: every path of a job's state in its status begins with one."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class ClusterOverview:
    """What `/overview` tells."""

    version: str
    taskmanagers: int
    slots_total: int
    slots_free: int


class CheckStatus(StrEnum):
    """How one check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, and what is to be said about it."""

    name: str
    status: CheckStatus
    message: str


def name_fault(name: str) -> str | None:
    """Say why a cluster cannot be called this, or None."""
    if NAME.fullmatch(name):
        return None
    return f"{shown(name)} is no name of a cluster: write 1 to 63 lower-case letters, digits and inner hyphens"


def url_fault(url: str, *, is_local: bool) -> str | None:
    """Say why an address must not be registered, or None.

    Functions call it from inside AWS with whatever rights their network gives them, so it may name a cluster and nothing
    else: no credentials, no metadata service, no loopback but on a laptop.
    """
    if url != url.strip() or not url.isprintable() or " " in url or not url.isascii():
        return "the address holds white space or special characters; write it as http://flink.internal:8081"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"the address cannot be read ({error}); write it as http://flink.internal:8081"
    if parts.scheme not in {"http", "https"}:
        return "the address must begin with http:// or https://"
    if "@" in parts.netloc:
        return "the address holds credentials, which every reader of the table would see: use --auth with --secret"
    if not parts.hostname or not _HOST.fullmatch(parts.hostname) or parts.netloc.endswith(":") or port == 0:
        return "the address names no host and port; write it as http://flink.internal:8081"
    if parts.query or parts.fragment or "?" in url or "#" in url or not _URL_PATH.fullmatch(parts.path.rstrip("/")):
        return f"the address goes on after the host ({shown(url)}); write only http://flink.internal:8081"
    if _METADATA.fullmatch(parts.hostname):
        return f"{parts.hostname} is a link-local address, where AWS keeps credentials; it is no Flink cluster"
    if _LOOPBACK.fullmatch(parts.hostname) and not is_local:
        return f"{parts.hostname} is the function itself when seen from AWS; write the address inside your network"
    return None


def root_fault(root: str, *, is_local: bool, buckets: Sequence[str]) -> str | None:
    """Say why state must not be kept under a root, or None.

    Args:
        root: the URI as given.
        is_local: whether this is an installation on a laptop.
        buckets: the buckets that the controller's roles may read; empty: not known here.
    """
    if not root.isprintable() or " " in root or any(char in root for char in "%\\?#"):
        return "white space, '%', '\\', '?' and '#' are not allowed in a root"
    if len(root.encode()) > MAX_ROOT_BYTES:
        return f"a root has at most {MAX_ROOT_BYTES} bytes"
    scheme, separator, rest = root.partition("://")
    if not separator:
        return "a root is a URI such as s3://bucket/savepoints"
    if any(part in {"..", "."} for part in rest.split("/")) or "//" in rest:
        return "'.', '..' and empty parts are not allowed in a root"
    if scheme == "file":
        if not is_local:
            return "file:// lies on one machine, where no function can read it; use s3:// (file:// is for local stacks)"
        return None if rest.startswith("/") and rest != "/" else "write a file root as file:///absolute/directory"
    if scheme != "s3":
        return f"the controller reads state on s3:// only, not on {shown(scheme)}; write s3://bucket/prefix"
    bucket = rest.partition("/")[0]
    if not _BUCKET.fullmatch(bucket):
        return f"{shown(bucket)} is no name of a bucket"
    if buckets and bucket not in buckets:
        return (
            f"bucket {bucket} is not among the state buckets that the controller's roles may read ({', '.join(buckets)}): add"
            " it to state_buckets in cdk.json and deploy"
        )
    return None


def duration_s(text: str) -> float:
    """Read a duration as Flink's configuration spells it, in seconds; a bare number is milliseconds.

    Raises:
        ValueError: it is none.
    """
    plain = text.strip().lower()
    match = _DURATION.fullmatch(plain)
    if match is not None and match.group(2) in _UNIT_S:
        return float(match.group(1)) * _UNIT_S[match.group(2)]
    iso = _ISO_DURATION.fullmatch(plain)
    if iso is not None and any(iso.groups()):
        hours, minutes, seconds = (float(part or 0) for part in iso.groups())
        return hours * 3600 + minutes * 60 + seconds
    raise ValueError(f"{shown(text, 40)} is no duration of Flink's, such as '50 s'")


def heartbeat_timeout_s(settings: Mapping[str, str]) -> float:
    """Read how long a TaskManager outlives its JobManager; Flink's default where nothing is set.

    Raises:
        ValueError: what is set is no duration above zero.
    """
    text = settings.get("heartbeat.timeout")
    found = DEFAULT_HEARTBEAT_TIMEOUT_S if text is None else duration_s(text)
    if found <= 0:
        raise ValueError("heartbeat.timeout is not above zero")
    return found


def is_highly_available(settings: Mapping[str, str]) -> bool:
    """Tell whether a restart of the JobManager keeps the jobs."""
    found = next((settings[key] for key in HIGH_AVAILABILITY_KEYS if settings.get(key)), "NONE")
    return found.strip().lower() != "none"


def has_adaptive_scheduler(settings: Mapping[str, str]) -> bool:
    """Tell whether a running job's parallelism can be changed in place. In reactive mode Flink chooses it by itself."""
    if settings.get("scheduler-mode", "").strip().lower() == "reactive":
        return False
    return settings.get("jobmanager.scheduler", "").strip().lower() == "adaptive"


def runs_applications(version: str, settings: Mapping[str, str]) -> bool:
    """Tell whether jars are submitted by `run-application`: from 2.3 on, without high availability.

    With it a new JobManager runs an application's main() again (measured on 2.3.0), so that an id which is absent for the
    whole quarantine may still come; `run` starts nothing by itself.
    """
    number = re.match(r"(\d+)\.(\d+)", version)
    return (
        number is not None and (int(number[1]), int(number[2])) >= APPLICATIONS_SINCE and not is_highly_available(settings)
    )


def check_cluster(
    cluster: Cluster, settings: Mapping[str, str], overview: ClusterOverview, *, is_local: bool, buckets: Sequence[str]
) -> tuple[Check, ...]:
    """Judge a registered cluster by what its Flink says now."""
    return (
        Check("reachable", CheckStatus.OK, f"{cluster.url} answers as Flink {overview.version}"),
        _address(cluster, is_local=is_local),
        _version(cluster, overview),
        _high_availability(cluster, settings, overview),
        _heartbeat(cluster, settings),
        _scheduler(cluster, settings),
        _slots(overview),
        _submission(cluster, settings, overview),
        _uploads(cluster, settings),
        _job_results(cluster, settings),
        _retention(settings),
        _python(cluster, settings),
        _root("savepoint root", cluster.savepoint_root, settings, SAVEPOINT_KEYS, is_local=is_local, buckets=buckets),
        _root("checkpoint root", cluster.checkpoint_root, settings, CHECKPOINT_KEYS, is_local=is_local, buckets=buckets),
    )


def _address(cluster: Cluster, *, is_local: bool) -> Check:
    fault = url_fault(cluster.url, is_local=is_local)
    return Check(
        "address", CheckStatus.OK if fault is None else CheckStatus.FAILED, fault or "names a host and nothing else"
    )


def _version(cluster: Cluster, overview: ClusterOverview) -> Check:
    tested = ", ".join(f"{version}x" for version in TESTED_VERSIONS)
    if not overview.version.startswith(TESTED_VERSIONS):
        return Check("version", CheckStatus.WARNING, f"Flink {overview.version} is not tested; {tested} are")
    changed = f", registered as {cluster.flink_version}" if cluster.flink_version not in {"", overview.version} else ""
    return Check("version", CheckStatus.OK, f"Flink {overview.version}{changed}")


def _high_availability(cluster: Cluster, settings: Mapping[str, str], overview: ClusterOverview) -> Check:
    found = is_highly_available(settings)
    if found is not cluster.high_availability:
        said, registered = ("on" if found else "off"), ("on" if cluster.high_availability else "off")
        return Check(
            "high availability",
            CheckStatus.FAILED,
            f"Flink says {said}, registered is {registered}, and the rules after a restart differ: register it again"
            f" (flinkctl cluster add {cluster.name} …)",
        )
    if found and overview.version.startswith(SPOILED_VERSIONS):
        return Check(
            "high availability",
            CheckStatus.WARNING,
            f"on; with Flink {overview.version} no further JobManager comes up once a job has failed before it started (state"
            " that does not map): then delete what ends in _DIRTY.json below job-result-store.storage-path",
        )
    return Check(
        "high availability", CheckStatus.OK, "on" if found else "off: after a JobManager's loss jobs wait a quarantine"
    )


def _heartbeat(cluster: Cluster, settings: Mapping[str, str]) -> Check:
    try:
        found = heartbeat_timeout_s(settings)
    except ValueError as error:
        return Check("heartbeat timeout", CheckStatus.WARNING, f"{error}; {cluster.heartbeat_timeout_s:g} s is assumed")
    if found > cluster.heartbeat_timeout_s:
        return Check(
            "heartbeat timeout",
            CheckStatus.FAILED,
            f"Flink says {found:g} s, registered are {cluster.heartbeat_timeout_s:g} s: an orphan could outlive the quarantine;"
            f" register it again (flinkctl cluster add {cluster.name} …)",
        )
    return Check(
        "heartbeat timeout", CheckStatus.OK, f"{cluster.heartbeat_timeout_s:g} s; TaskManagers must use no longer one"
    )


def _scheduler(cluster: Cluster, settings: Mapping[str, str]) -> Check:
    found = has_adaptive_scheduler(settings)
    if found is not cluster.adaptive_scheduler:
        said, registered = ("adaptive" if found else "not"), ("adaptive" if cluster.adaptive_scheduler else "not")
        return Check(
            "scheduler",
            CheckStatus.WARNING,
            f"Flink says {said}, registered is {registered}: register it again (flinkctl cluster add {cluster.name} …)",
        )
    told = "adaptive: a change of parallelism alone is made in place" if found else "a change of parallelism is an upgrade"
    return Check("scheduler", CheckStatus.OK, told)


def _slots(overview: ClusterOverview) -> Check:
    told = f"{overview.slots_free} of {overview.slots_total} slots free on {overview.taskmanagers} TaskManagers"
    if overview.slots_total == 0:
        return Check("slots", CheckStatus.FAILED, "no TaskManager has registered: no job can run")
    return Check("slots", CheckStatus.WARNING if overview.slots_free == 0 else CheckStatus.OK, told)


def _submission(cluster: Cluster, settings: Mapping[str, str], overview: ClusterOverview) -> Check:
    if settings.get("web.submit.enable", "true").strip().lower() == "false":
        return Check("submission", CheckStatus.FAILED, "web.submit.enable is false: no jar can be submitted; remove it")
    if cluster.runs_applications and not runs_applications(overview.version, settings):
        return Check(
            "submission",
            CheckStatus.FAILED,
            f"registered as one for run-application, and Flink {overview.version} does not take it, or is highly available by"
            f" now: register it again (flinkctl cluster add {cluster.name} …)",
        )
    how = "as applications, so that a slow main() holds nobody" if cluster.runs_applications else "by run"
    return Check("submission", CheckStatus.OK, f"jars can be uploaded, and are submitted {how}")


def _uploads(cluster: Cluster, settings: Mapping[str, str]) -> Check:
    directory = settings.get("web.upload.dir")
    # Flink fills this in with a directory below its own temporary one, which dies with the JobManager.
    is_own = directory is None or directory == settings.get("web.tmpdir")
    if is_own or cluster.high_availability:
        return Check(
            "web.upload.dir",
            CheckStatus.OK,
            "unset: jars do not outlive the JobManager" if is_own else "set, under high availability",
        )
    return Check(
        "web.upload.dir",
        CheckStatus.WARNING,
        "is set, so jars outlive the JobManager; leave it unset, and a late submit finds no jar after a restart",
    )


def _job_results(cluster: Cluster, settings: Mapping[str, str]) -> Check:
    name = "job-result-store.delete-on-commit"
    if cluster.high_availability and settings.get(name, "true").strip().lower() != "false":
        return Check(
            name,
            CheckStatus.WARNING,
            "is not false: Flink forgets finished jobs at a failover; set it to false under high availability",
        )
    return Check(name, CheckStatus.OK, "false" if cluster.high_availability else "matters under high availability only")


def _retention(settings: Mapping[str, str]) -> Check:
    retained = settings.get("execution.checkpointing.num-retained", settings.get("state.checkpoints.num-retained", "1"))
    return Check(
        "retention",
        CheckStatus.OK,
        f"every submit asks for retention on cancellation; Flink keeps the newest {shown(retained, 20).strip(chr(39))} checkpoints",
    )


def _python(cluster: Cluster, settings: Mapping[str, str]) -> Check:
    """Flink tells over REST neither whether a machine has Python nor what the JobManager's environment is."""
    own = settings.get("python.client.executable") or settings.get("python.executable")
    if cluster.python is not None:
        return Check(
            "python",
            CheckStatus.OK,
            f"{cluster.python}, as registered; that each machine has it, with PyFlink, and the JobManager FLINK_OPT_DIR, shows at"
            " the first submit",
        )
    hint = "" if own is None else f"; its configuration names {shown(own)}"
    return Check(
        "python",
        CheckStatus.OK,
        f"not prepared: pyflink artifacts wait (flinkctl cluster add {cluster.name} … --python PATH){hint}",
    )


def _root(
    name: str, root: str, settings: Mapping[str, str], keys: Sequence[str], *, is_local: bool, buckets: Sequence[str]
) -> Check:
    fault = root_fault(root, is_local=is_local, buckets=buckets)
    if fault is not None:
        return Check(name, CheckStatus.FAILED, f"{root}: {fault}")
    own = next((settings[key] for key in keys if settings.get(key)), None)
    if own is not None and own.partition(":")[0] != root.partition(":")[0]:
        return Check(
            name,
            CheckStatus.WARNING,
            f"{root}, while the cluster's own default is {shown(own)}: see that its file systems include {root.partition(':')[0]}",
        )
    return Check(name, CheckStatus.OK, root)
