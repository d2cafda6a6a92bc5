"""Bring verified bytes to a cluster: the only way from S3 to Flink.

The trust in the key is looked up anew each time, so a revocation counts at every submit. The bytes are hashed on their
way: what Flink gets is what was verified, or it is deleted again and nothing is run.
"""

import hashlib
import io
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from typing import IO, Final, cast

from flink_controller.domain.actions import Burn, StageJar, Submit
from flink_controller.domain.archive import HEAD_BYTES, TAIL_BYTES, ArchiveError, Contents
from flink_controller.domain.artifact import Artifact, ArtifactType, jar_name
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import FlinkUnreachableError, NotFoundError, TransientError
from flink_controller.domain.jar import entry_class_fault
from flink_controller.domain.learning import BURN_JOB_NAME
from flink_controller.domain.observation import UploadedJar
from flink_controller.domain.plan import Policy, StagingRefused
from flink_controller.domain.status import StagedJar
from flink_controller.domain.trust import distrust
from flink_controller.ports import FlinkGateway, Ports
from flink_controller.services.pack_jar import pack_jar

ENDS_BYTES: Final = 2 * 1024 * 1024
"""Of a jar's end, read first: room for a directory of 15,000 entries."""
SPOOL_BYTES: Final = 8 * 1024 * 1024
"""Up to this size an artifact and the jar that is made of it stay in memory."""


def stage_jar(ports: Ports, policy: Policy, cluster: Cluster, action: StageJar) -> StagedJar | StagingRefused:
    """Have an artifact on a cluster, uploading it only if no recorded jar of this incarnation has the same bytes.

    Raises:
        FlinkUnreachableError: the cluster did not take it.
    """
    artifact = action.artifact
    found = distrust(artifact, ports.registry.trust(artifact.signers, artifact.sha256))
    if found is not None:
        return StagingRefused(found.reason, found.message)
    fault = _entry_class_fault(ports, artifact, action.entry_class)
    if fault is not None:
        return StagingRefused("EntryClassMissing", f"{artifact.key} {fault}")
    known, gateway = ports.statuses.staged_jar(cluster.name, artifact.staged_digest), ports.flink.connect(cluster)
    is_current = known is not None and known.incarnation == action.incarnation and known.jar_id != action.void_jar_id
    if known is not None and is_current and (not cluster.high_availability or _is_listed(gateway, known)):
        return known
    try:
        stream = ports.objects.open(artifact.bucket, artifact.key, artifact.version_id)
    except NotFoundError as error:
        return StagingRefused("ArtifactMissing", f"the admitted version is gone from the bucket: {error}")
    except TransientError as error:
        return StagingRefused("ArtifactUnreadable", str(error))
    name = jar_name(action.incarnation, artifact.staged_digest, policy.controller_id)
    upload = _upload if artifact.type is ArtifactType.JAR else _upload_packed
    with stream:
        try:
            jar = upload(ports, gateway, name, artifact, stream)
        except FlinkUnreachableError:
            raise
        except TransientError as error:
            # The stream ended half way: Flink has got no whole jar, and nothing was submitted.
            return StagingRefused("ArtifactUnreadable", str(error))
        except ValueError as error:
            return StagingRefused("ScriptRefused", f"{artifact.key}: {error}")
    if jar is None:
        return StagingRefused("ArtifactAltered", f"{artifact.key} version {artifact.version_id} is not what was verified")
    return StagedJar(
        cluster=cluster.name,
        sha256=artifact.staged_digest,
        jar_id=jar.jar_id,
        incarnation=action.incarnation,
        path=jar.path,
    )


def _entry_class_fault(ports: Ports, artifact: Artifact, entry_class: str | None) -> str | None:
    """Say that a jar lacks the class that a spec names. Found out here, nothing was stopped for it.

    By the jar's two ends, of the verified version; where these cannot be read now, Flink will say it instead.
    """
    if entry_class is None or artifact.type is not ArtifactType.JAR:
        return None
    where, size = (artifact.bucket, artifact.key, artifact.version_id), artifact.size_bytes
    try:
        for kept in (ENDS_BYTES, TAIL_BYTES):
            start = max(0, size - kept)
            tail = ports.objects.part(*where, start=start, length=size - start)
            head = tail[:HEAD_BYTES] if start == 0 else ports.objects.part(*where, start=0, length=HEAD_BYTES)
            try:
                return entry_class_fault(Contents(artifact.sha256, size, head, tail), entry_class)
            except ArchiveError:
                # Its directory is larger than what was read, or these are not the bytes that were admitted.
                continue
    except (NotFoundError, TransientError):
        return None
    return None


def _upload(ports: Ports, gateway: FlinkGateway, name: str, artifact: Artifact, stream: IO[bytes]) -> UploadedJar | None:
    """Send a jar as it is read; None if it was not what was verified."""
    del ports
    hashing = _HashingReader(stream)
    jar = gateway.upload_jar(name, cast(IO[bytes], hashing), artifact.size_bytes)
    if hashing.hexdigest() == artifact.sha256:
        return jar
    gateway.delete_jar(jar.jar_id)
    return None


def _upload_packed(
    ports: Ports, gateway: FlinkGateway, name: str, artifact: Artifact, stream: IO[bytes]
) -> UploadedJar | None:
    """Send the jar that an artifact travels in; None, and nothing sent, if it was not what was verified."""
    with SpooledTemporaryFile(SPOOL_BYTES) as content, SpooledTemporaryFile(SPOOL_BYTES) as jar:
        hashing = _HashingReader(stream)
        copyfileobj(cast(IO[bytes], hashing), content)
        if hashing.hexdigest() != artifact.sha256:
            return None
        content.seek(0)
        pack_jar(artifact, content, ports.runners[artifact.type], jar)
        size_bytes = jar.tell()
        jar.seek(0)
        return gateway.upload_jar(name, jar, size_bytes)


def burn_submit(ports: Ports, policy: Policy, cluster: Cluster, action: Burn) -> Submit:
    """Give the submit that uses up an id: our own jar, from a savepoint that does not exist.

    With high availability it starts from nothing, runs for a moment and ends: after a job that failed before it started
    Flink 2.3 can bring up no further JobManager (docs/adr/0013-burning-with-high-availability.md).

    Raises:
        FlinkUnreachableError: the jar could not be brought to the cluster.
    """
    gateway, jar = ports.flink.connect(cluster), ports.burn_jar
    name = jar_name(action.incarnation, jar.sha256, policy.controller_id)
    jar_id = _uploaded(gateway, name) or gateway.upload_jar(name, io.BytesIO(jar.content), len(jar.content)).jar_id
    return Submit(
        flink_job_id=action.flink_job_id,
        jar_id=jar_id,
        entry_class=jar.entry_class,
        args=(),
        parallelism=1,
        restore_from=None
        if cluster.high_availability
        else f"{cluster.savepoint_root}/{BURN_JOB_NAME}/there-is-no-such-savepoint",
        allow_non_restored_state=False,
        configuration={"pipeline.name": BURN_JOB_NAME},
    )


def _is_listed(gateway: FlinkGateway, staged: StagedJar) -> bool:
    """Whether a jar is there. With high availability incarnations look alike, and it may be gone with its JobManager."""
    return any(jar.jar_id == staged.jar_id for jar in gateway.jars())


def _uploaded(gateway: FlinkGateway, name: str) -> str | None:
    return next((jar.jar_id for jar in gateway.jars() if jar.name == name), None)


class _HashingReader(io.RawIOBase):
    """Hashes a stream while it is read, so that the bytes sent are the bytes checked."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self._hash.update(chunk)
        return chunk

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
