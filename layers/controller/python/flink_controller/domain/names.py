"""Names and identities: what a job is called, and which Flink job ids are ours.

A Flink job id is 16 hex digits of a tag over (controller id, job id) and 16 of the attempt's number, in clear. One
listing of a cluster therefore tells our jobs from foreign ones and the current attempt from leftovers, by number alone.
"""

import hashlib
import re
from dataclasses import dataclass

DEFAULT_NAMESPACE = "default"
DEFAULT_PREFIX = "artifacts/"
TAG_DIGITS = 16
_PART = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_JOB_ID = re.compile(rf"(?:({_PART})/)?({_PART})")
_FLINK_JOB_ID = re.compile(r"[0-9a-f]{32}")
NAME = re.compile(_PART)


@dataclass(frozen=True)
class JobName:
    """A job's namespace and name, parsed from `name` or `namespace/name`."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, job_id: str) -> "JobName":
        """Split a job id.

        Raises:
            ValueError: the text is no job id; the message says what one looks like.
        """
        match = _JOB_ID.fullmatch(job_id)
        if match is None:
            raise ValueError(
                f"{shown(job_id)} is no job id: write name or namespace/name, each of 1 to 63 lower-case letters, digits and"
                " inner hyphens"
            )
        namespace, name = match.group(1) or DEFAULT_NAMESPACE, match.group(2)
        if name == "flinkctl-burn":
            raise ValueError("flinkctl-burn is reserved: it is how a used-up job id shows in Flink")
        if namespace == "artifacts":
            raise ValueError("namespace artifacts is reserved: its prefix belongs to namespace default")
        return cls(namespace, name)

    @property
    def artifact_prefix(self) -> str:
        """The only keys of the artifact bucket that this job may name."""
        return artifact_prefix(self.namespace)


def artifact_prefix(namespace: str) -> str:
    """Name the key prefix that a namespace owns in the artifact bucket."""
    return DEFAULT_PREFIX if namespace == DEFAULT_NAMESPACE else f"{namespace}/"


def namespace_of_key(key: str) -> str | None:
    """Name the namespace that owns a key of the artifact bucket, or None when nobody does."""
    head, slash, _ = key.partition("/")
    if not slash:
        return None
    if f"{head}/" == DEFAULT_PREFIX:
        return DEFAULT_NAMESPACE
    return head if NAME.fullmatch(head) and head != DEFAULT_NAMESPACE else None


def namespace_of(job_id: str) -> str:
    """Give the namespace of a job id, of whatever form."""
    head, slash, _ = job_id.partition("/")
    return head if slash else DEFAULT_NAMESPACE


def tag(controller_id: str, job_id: str) -> str:
    """Give the 16 hex digits that mark every Flink job of this controller and job."""
    return hashlib.sha256(f"{controller_id}\0{job_id}".encode()).hexdigest()[:TAG_DIGITS]


def flink_job_id(controller_id: str, job_id: str, attempt: int) -> str:
    """Give the Flink job id of an attempt, 32 hex digits."""
    return f"{tag(controller_id, job_id)}{attempt:016x}"


def attempt_number(job_tag: str, flink_job_id_: str) -> int | None:
    """Read the attempt's number out of a Flink job id, or None when the id does not carry the tag."""
    if not _FLINK_JOB_ID.fullmatch(flink_job_id_) or not flink_job_id_.startswith(job_tag):
        return None
    return int(flink_job_id_[TAG_DIGITS:], 16)


def application_id(flink_job_id_: str) -> str:
    """Give the id under which an attempt's main() runs on Flink, 32 hex digits.

    It differs from the job's: Flink would refuse whatever else is submitted for that one, a burn included, while main()
    runs (measured).
    """
    return hashlib.sha256(f"{flink_job_id_}\0application".encode()).hexdigest()[:32]


def trigger_id(flink_job_id_: str, kind: str, sequence: int) -> str:
    """Give the id under which an operation is triggered on Flink, 32 hex digits.

    Kind and sequence are part of it, because Flink ignores a stop that reuses a savepoint's id (measured).
    """
    return hashlib.sha256(f"{flink_job_id_}\0{kind}\0{sequence}".encode()).hexdigest()[:32]


def correlation_id(*parts: object) -> str:
    """Name a change by what identifies it: 16 hex digits, the same wherever they are worked out."""
    return hashlib.sha256("\n".join(map(str, parts)).encode(errors="replace")).hexdigest()[:16]


def correlation_id_of_upload(bucket: str, key: str, version_id: str) -> str:
    """Name the change that an object's version is."""
    return correlation_id("upload", bucket, key, version_id)


def shown(text: str, limit: int = 80) -> str:
    """Quote untrusted text for a message: control characters escaped, length bounded."""
    quoted = ascii(text)
    return quoted if len(quoted) <= limit else f"{quoted[: limit - 4]}...'"
