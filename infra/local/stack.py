"""One local stack as a whole: emulator, deployed application, Flink, and what connects them.

The emulator comes first, because Flink's state may live in its S3; then Flink starts while the application deploys.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from flink_controller import settings as controller_settings
from infra.local.aws import ACCESS_KEY, REGION, SECRET_KEY, LocalAws, LocalAwsConfig
from infra.local.demo_key import DemoKey, ensure_demo_key
from infra.local.deployment import Deployment
from infra.local.errors import LocalStackError
from infra.local.flink import FlinkCluster, FlinkConfig, S3Endpoint, cluster_is_running, derived_rpc_port, stop_cluster
from infra.local.processes import check_port, exclusive_use
from infra.local.progress import Progress
from infra.local.settings import CHECKOUT, LocalSettings
from infra.local.toolchain import FlinkHome, Toolchain

CLUSTER_NAME: Final = "default"
KEY_ID: Final = "demo"
NAMESPACE: Final = "default"
OUTPUTS: Final = {
    "ArtifactBucketName": "artifact_bucket_name",
    "JobSpecTableName": "job_spec_table_name",
    "ControllerStateTableName": "controller_state_table_name",
    "FollowUpQueueUrl": "follow_up_queue_url",
    "FollowUpFailuresQueueUrl": "follow_up_failures_queue_url",
    "StreamFailuresQueueUrl": "stream_failures_queue_url",
    "EventFailuresQueueUrl": "event_failures_queue_url",
    "InvocationFailuresQueueUrl": "invocation_failures_queue_url",
    "AlertTopicArn": "alert_topic_arn",
    "EventBusName": "event_bus_name",
}
"""Stack output and the field of the controller's settings that it fills."""
REGISTRATION_TIMEOUT_SECONDS: Final = 120


@dataclass(frozen=True, kw_only=True)
class StateRoots:
    """Where Flink writes savepoints and checkpoints."""

    savepoints: str
    checkpoints: str

    @property
    def are_in_s3(self) -> bool:
        """Whether they lie in the emulator's bucket."""
        return self.savepoints.startswith("s3://")


class LocalStack:
    """Bring up, describe and take down the stack that some settings describe."""

    def __init__(self, settings: LocalSettings, environ: Mapping[str, str], progress: Progress) -> None:
        """Take charge of the stack in `settings.directory`, whether it runs already or not.

        Args:
            settings: which stack.
            environ: the host's environment, for installers only; nothing that is started inherits it.
            progress: told what happens.
        """
        self.settings = settings
        self.environment_file = settings.directory / "env"
        self._environ = dict(environ)
        self._progress = progress
        self._flink_directory = settings.directory / "flink"
        self._roots_file = settings.directory / "state-roots.json"
        self._settings_file = settings.directory / "settings.json"
        self._chosen_roots: StateRoots | None = None
        self.toolchain = Toolchain(settings.cache_directory, environ, progress)
        self.aws = LocalAws(
            LocalAwsConfig(
                python=self.toolchain.ministack_python, directory=settings.directory / "aws", port=settings.aws_port
            ),
            progress,
        )

    def up(self) -> None:
        """Start what does not run, deploy, register the cluster and the demo key. Idempotent.

        Raises:
            LocalStackError: something stands in the way; what this call started is stopped again.
        """
        self._check_settings()
        if self.is_up():
            return
        with exclusive_use(self.settings.directory):
            self._up()

    def _up(self) -> None:
        aws_was_running = self.aws.is_running()
        if not aws_was_running and cluster_is_running(self._flink_directory):
            self._progress.say("The emulator has lost its data; Flink starts afresh with it.")
            stop_cluster(self._flink_directory)
        flink_was_running = cluster_is_running(self._flink_directory)
        try:
            self._check_ports()
            self.install()
            self.start_aws()
            with ThreadPoolExecutor(max_workers=1) as pool:
                flink = pool.submit(self.start_flink)
                self.deployment.deploy()
                flink.result()
            self._register()
            self._write_environment_file()
        except BaseException:
            if not flink_was_running:
                stop_cluster(self._flink_directory)
            if not aws_was_running:
                self.stop_aws()
            raise

    def down(self) -> None:
        """Stop every process that `up` started; logs, the demo key and state written to files stay. Idempotent."""
        with (
            exclusive_use(self.settings.directory),
            self._progress.step("stop Flink and the AWS emulator"),
        ):
            stop_cluster(self._flink_directory)
            self.stop_aws()

    def is_up(self) -> bool:
        """Say whether all processes run and `up` came to its end."""
        return self.aws.is_running() and cluster_is_running(self._flink_directory) and self.environment_file.exists()

    def install(self) -> None:
        """Download what is missing, all at the same time; what the machine lacks is found out first.

        Raises:
            LocalStackError: Java or Node is missing, or a registry cannot be reached.
        """
        toolchain = self.toolchain
        toolchain.java()
        toolchain.node()
        with ThreadPoolExecutor() as pool:
            installers: list[Callable[[], object]] = [
                toolchain.ministack,
                toolchain.cdk,
                lambda: self._choose_roots(toolchain.flink(self.settings.flink_version)),
            ]
            for done in [pool.submit(install) for install in installers]:
                done.result()

    def start_aws(self) -> None:
        """Start the emulator with the state bucket in it, and nothing deployed.

        Raises:
            LocalStackError: it cannot be installed or started.
        """
        self._check_settings()
        if not self.aws.is_running():
            self._forget_aws()
            self._remember_settings()
            self.toolchain.ministack()
            self.aws.start()
        self.aws.create_bucket(self._state_bucket)

    def stop_aws(self) -> None:
        """Stop the emulator; what was deployed and stored is gone with it."""
        self.aws.stop()
        self._forget_aws()

    def start_flink(self) -> FlinkCluster:
        """Start Flink; its state lives in the emulator's S3 if that runs and the filesystem plugin can be had.

        Raises:
            LocalStackError: it cannot be installed or started.
        """
        self._check_settings()
        home = self.toolchain.flink(self.settings.flink_version)
        if not cluster_is_running(self._flink_directory):
            roots = self._choose_roots(home)
            self._remember_settings()
            self._roots_file.write_text(json.dumps(asdict(roots)))
        cluster = FlinkCluster(self._flink_config(home, self.roots()), self._progress)
        cluster.start()
        return cluster

    def roots(self) -> StateRoots:
        """Return the state roots that Flink was started with.

        Raises:
            LocalStackError: it was never started.
        """
        try:
            return StateRoots(**json.loads(self._roots_file.read_text()))
        except FileNotFoundError as error:
            raise LocalStackError(f"Flink was never started in {self.settings.directory}; run `make local`.") from error

    @cached_property
    def deployment(self) -> Deployment:
        """What puts the application into the emulator."""
        return Deployment(
            self.aws,
            cdk=self.toolchain.cdk(),
            directory=self.settings.directory,
            output_directory=self.settings.cache_directory / "cdk.out",
            environ=self._environ,
            progress=self._progress,
        )

    @property
    def demo_key(self) -> DemoKey:
        """The key that signs on this laptop, made the first time."""
        return ensure_demo_key(self.settings.directory)

    def environ(self) -> dict[str, str]:
        """Return what programs need to use the stack: the content of the environment file.

        Raises:
            LocalStackError: nothing is deployed.
        """
        outputs = self.deployment.outputs()
        fields = {field: outputs[output] for output, field in OUTPUTS.items()}
        return {
            **self.aws.environ(),
            "FLINK_REST_URL": self.settings.flink_rest_url,
            "FLINKCTL_SIGNING_KEY": str(self.demo_key.private),
            "FLINKCTL_HEALTH_URL": outputs["HealthUrl"],
            **controller_settings.environment(
                {
                    **fields,
                    "controller_id": self._local_environment["controller_id"],
                    "environment": "local",
                    "state_buckets": self._state_bucket,
                }
            ),
        }

    def describe(self) -> list[tuple[str, str, str]]:
        """Return part, whether it runs, and where it is found.

        Raises:
            LocalStackError: it runs with other settings than these.
        """
        self._check_settings()
        settings = self.settings
        aws = self.aws.is_running()
        flink = cluster_is_running(self._flink_directory)
        deployed = aws and self.environment_file.exists()
        return [
            ("AWS emulator", "running" if aws else "stopped", settings.aws_url if aws else "-"),
            ("Flink", "running" if flink else "stopped", settings.flink_rest_url if flink else "-"),
            ("Flink's state", "used" if flink else "unused", self.roots().savepoints if flink else "-"),
            ("Application", "deployed" if deployed else "absent", str(self.environment_file) if deployed else "-"),
        ]

    @cached_property
    def _local_environment(self) -> dict[str, Any]:
        context = json.loads((CHECKOUT / "cdk.json").read_text())["context"]
        local: dict[str, Any] = context["environments"]["local"]
        return local

    @property
    def _state_bucket(self) -> str:
        bucket: str = self._local_environment["state_buckets"][0]
        return bucket

    def _check_settings(self) -> None:
        """Refuse to mix two sets of settings in one folder.

        Raises:
            LocalStackError: something runs there with other settings; the message names them.
        """
        wanted = self._comparable_settings()
        if self.aws.is_running() or cluster_is_running(self._flink_directory):
            used = json.loads(self._settings_file.read_text()) if self._settings_file.exists() else wanted
            differing = [
                f"{field} {used.get(field)}, not {wanted[field]}" for field in wanted if used.get(field) != wanted[field]
            ]
            if differing:
                raise LocalStackError(
                    f"The local stack in {self.settings.directory} runs with other settings "
                    f"({'; '.join(differing)}): stop it first, with `make local-down`."
                )

    def _comparable_settings(self) -> dict[str, Any]:
        return {field: value for field, value in asdict(self.settings).items() if not isinstance(value, Path)}

    def _remember_settings(self) -> None:
        """Keep the settings of what is about to start, for `_check_settings` of the next command."""
        self._settings_file.parent.mkdir(parents=True, exist_ok=True)
        self._settings_file.write_text(json.dumps(self._comparable_settings()))

    def _check_ports(self) -> None:
        """Complain before anything is downloaded."""
        if not self.aws.is_running():
            check_port(self.settings.aws_port, "the AWS emulator", "AWS_PORT")
        if not cluster_is_running(self._flink_directory):
            rest_port = self.settings.flink_rest_port
            check_port(rest_port, "Flink's REST API", "FLINK_REST_PORT")
            check_port(derived_rpc_port(rest_port), "Flink's JobManager", "FLINK_REST_PORT")

    def _choose_roots(self, home: FlinkHome) -> StateRoots:
        """Decide once per command: finding out that the plugin cannot be had takes a while, and is said once."""
        if self._chosen_roots is None:
            self._chosen_roots = self._find_roots(home)
        return self._chosen_roots

    def _find_roots(self, home: FlinkHome) -> StateRoots:
        wanted = self.settings.flink_state
        why_not = "FLINK_STATE says so" if wanted == "file" else self.toolchain.s3_plugin(home)
        if why_not is None:
            bucket = f"s3://{self._state_bucket}"
            return StateRoots(savepoints=f"{bucket}/savepoints", checkpoints=f"{bucket}/checkpoints")
        if wanted == "s3":
            raise LocalStackError(f"FLINK_STATE asks for s3, but Flink's S3 filesystem is missing: {why_not}.")
        folder = self.settings.directory / "state"
        self._progress.say(f"Flink's state is kept in files under {folder}, not in S3: {why_not}.")
        return StateRoots(savepoints=f"file://{folder}/savepoints", checkpoints=f"file://{folder}/checkpoints")

    def _flink_config(self, home: FlinkHome, roots: StateRoots) -> FlinkConfig:
        settings = self.settings
        s3 = S3Endpoint(url=self.aws.url, access_key=ACCESS_KEY, secret_key=SECRET_KEY, region=REGION)
        return FlinkConfig(
            home=home,
            java=self.toolchain.java(),
            directory=self._flink_directory,
            rest_port=settings.flink_rest_port,
            slots=settings.flink_slots,
            jobmanager_heap_mb=settings.flink_heap_mb,
            taskmanager_heap_mb=settings.flink_heap_mb,
            heartbeat_timeout_seconds=settings.flink_heartbeat_timeout_seconds,
            savepoint_root=roots.savepoints,
            checkpoint_root=roots.checkpoints,
            s3=s3 if roots.are_in_s3 else None,
        )

    def _register(self) -> None:
        """Tell the controller about the cluster and the key, as an operator would: by the command line."""
        roots = self.roots()
        with self._progress.step(f"register cluster {CLUSTER_NAME!r} and key {KEY_ID!r}"):
            self._flinkctl(
                *("cluster", "add", CLUSTER_NAME, "--url", self.settings.flink_rest_url),
                *("--savepoint-root", roots.savepoints, "--checkpoint-root", roots.checkpoints),
            )
            self._flinkctl("keys", "add", KEY_ID, "--public-key", str(self.demo_key.public), "--namespace", NAMESPACE)

    def _flinkctl(self, *arguments: str) -> None:
        program = Path(sys.executable).with_name("flinkctl")
        environ = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(self.settings.directory), **self.environ()}
        try:
            result = subprocess.run(  # our own program
                [str(program), *arguments],
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=REGISTRATION_TIMEOUT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LocalStackError(f"`flinkctl {shlex.join(arguments)}` cannot be run: {error}.") from error
        if result.returncode != 0:
            words = (result.stderr or result.stdout).strip().splitlines() or ["nothing"]
            raise LocalStackError(f"`flinkctl {shlex.join(arguments)}` failed and says: {words[-1]}")

    def _write_environment_file(self) -> None:
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(self.environ().items())]
        self.environment_file.write_text("".join(lines))

    def _forget_aws(self) -> None:
        self.environment_file.unlink(missing_ok=True)
        (self.settings.directory / "outputs.json").unlink(missing_ok=True)
