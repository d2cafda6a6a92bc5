"""`cluster add`, `list`, `check`."""

import pytest

from flink_controller.domain.cluster import Auth
from flink_controller.domain.cluster_check import ClusterOverview
from flink_controller.domain.errors import RejectedError
from tests.unit.cli.bench import CLUSTER, Bench

GIVEN = {
    "--url": "http://flink:8081",
    "--savepoint-root": "s3://state/savepoints",
    "--checkpoint-root": "s3://state/checkpoints",
}


def arguments(name: str = "default", **changed: str) -> list[str]:
    given = {**GIVEN, **{f"--{option.replace('_', '-')}": value for option, value in changed.items()}}
    return ["cluster", "add", name, *(word for pair in given.items() for word in pair)]


def test_a_cluster_is_registered_with_what_flink_says_of_itself(bench: Bench) -> None:
    bench.probe.settings = {"high-availability.type": "zookeeper", "heartbeat.timeout": "2 min"}

    result = bench.run(*arguments())

    assert result.status == 0
    assert result.out.startswith("default created: Flink 2.3.0 at http://flink:8081, with high availability")
    found = bench.registry.cluster("default")
    assert found is not None
    assert (found.high_availability, found.heartbeat_timeout_s, found.flink_version) == (True, 120.0, "2.3.0")
    assert "unchanged" in bench.run(*arguments()).out


def test_what_is_given_wins_over_what_flink_says(bench: Bench) -> None:
    bench.probe.settings = {"heartbeat.timeout": "soon"}

    assert bench.run(*arguments()).status == 1
    assert bench.run(*arguments(heartbeat_timeout="30")).status == 0
    found = bench.registry.cluster("default")
    assert found is not None
    assert found.heartbeat_timeout_s == 30.0


def test_slashes_at_the_end_mean_nothing(bench: Bench) -> None:
    bench.run(*arguments(url="http://flink:8081/", savepoint_root="s3://state/savepoints/"))

    found = bench.registry.cluster("default")
    assert found is not None
    assert (found.url, found.savepoint_root) == ("http://flink:8081", "s3://state/savepoints")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://flink:8081",
        "flink:8081",
        "http://",
        "http://user:pw@flink:8081",
        "http://flink:8081/#/overview",
        "http://flink:8081?x=1",
        "http://flink:8081/a b",
        " http://flink:8081",
        "http://flink:8081/..",
        "http://flink:0",
        "http://flink:99999",
        "http://flink:",
        "http://169.254.169.254/latest",
        "http://127.0.0.1:8081",
        "http://localhost:8081",
        "http://[::1]:8081",
        "http://flink:8081\n",
        "http://flink:8081;x",
        "http://fl\u0131nk:8081",
    ],
)
def test_an_address_names_a_cluster_and_nothing_else(bench: Bench, url: str) -> None:
    result = bench.run(*arguments(url=url))

    assert result.status == 1
    assert "--url" in result.err
    assert bench.registry.clusters() == []


@pytest.mark.parametrize(
    "root",
    [
        "s3://other/x",
        "s3://state/../x",
        "s3://state/%2e",
        "file:///state",
        "hdfs://x/y",
        "/state",
        "s3://",
        "s3://state//x",
        "s3://st ate/x",
    ],
)
def test_a_root_is_where_the_controller_can_read(bench: Bench, root: str) -> None:
    result = bench.run(*arguments(savepoint_root=root))

    assert result.status == 1
    assert "--savepoint-root" in result.err
    assert bench.run(*arguments(checkpoint_root=root)).status == 1


def test_a_laptop_may_use_loopback_and_files(tmp_path: object) -> None:
    bench = Bench(tmp_path, environment="local")  # type: ignore[arg-type]  # pytest gives a Path

    assert (
        bench.run(*arguments(url="http://127.0.0.1:8081", savepoint_root="file:///s", checkpoint_root="file:///c")).status
        == 0
    )
    assert bench.run(*arguments(savepoint_root="file://s")).status == 1


@pytest.mark.parametrize("name", ["Default", "a_b", "", "a" * 64, "a/b"])
def test_a_cluster_has_a_plain_name(bench: Bench, name: str) -> None:
    assert bench.run(*arguments(name)).status == 2


def test_a_secret_is_named_and_never_given(bench: Bench) -> None:
    assert bench.run(*arguments(), "--secret", "hunter2").status == 1
    assert bench.run(*arguments(), "--auth", "basic").status == 2
    assert bench.run(*arguments(), "--auth", "magic").status == 2
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:flink-AbCdEf"
    assert bench.run(*arguments(), "--auth", "basic", "--secret", arn).status == 1
    assert bench.run(*arguments(url="https://flink:8081"), "--auth", "basic", "--secret", arn).status == 0
    found = bench.registry.cluster("default")
    assert found is not None
    assert (found.auth, found.secret) == (Auth.BASIC, arn)


def test_kerberos_needs_a_principal_and_nothing_else_has_one(bench: Bench) -> None:
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:flink-AbCdEf"
    kerberos = (*arguments(url="https://flink:8081"), "--auth", "kerberos", "--secret", arn)
    assert bench.run(*kerberos).status == 1
    assert bench.run(*kerberos, "--kerberos-principal", "no principal").status == 1
    assert bench.run(*arguments(), "--kerberos-principal", "flink@REALM").status == 1
    assert bench.run(*kerberos, "--kerberos-principal", "flink@REALM").status == 0
    found = bench.registry.cluster("default")
    assert found is not None
    assert found.kerberos_principal == "flink@REALM"


def test_an_authority_is_kept_and_a_private_key_is_not(bench: Bench) -> None:
    (bench.directory / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (bench.directory / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")

    assert bench.run(*arguments(), "--ca", str(bench.directory / "ca.pem")).status == 0
    assert bench.run(*arguments(), "--ca", str(bench.directory / "key.pem")).status == 1
    assert bench.run(*arguments(), "--ca", str(bench.directory / "nope.pem")).status == 2


def test_a_cluster_that_does_not_answer_is_not_registered(bench: Bench) -> None:
    bench.probe.unreachable = True

    result = bench.run(*arguments())

    assert result.status == 1
    assert "see that Flink runs there" in result.err
    assert bench.registry.clusters() == []


def test_the_address_stays_while_a_job_on_it_may_live(deployed: Bench) -> None:
    result = deployed.run(*arguments(url="http://other:8081"))

    assert result.status == 1
    assert "not known to be dead: etl" in result.err
    assert deployed.registry.cluster("default") == CLUSTER

    deployed.run("suspend", "etl")
    deployed.run("wait", "etl", "--for", "suspended")
    assert deployed.run(*arguments(url="http://other:8081")).status == 0


def test_everything_else_may_change_while_jobs_run(deployed: Bench) -> None:
    assert deployed.run(*arguments(heartbeat_timeout="90")).status == 0


def test_a_malformed_item_is_mended_by_registering_again(bench: Bench) -> None:
    bench.registry.put_cluster(CLUSTER)
    bench.registry.spoil("CLUSTER#default")

    assert bench.run("cluster", "check", "default").status == 1
    assert bench.run(*arguments()).status == 0
    assert bench.run("cluster", "check", "default").status == 0


def test_clusters_are_listed(bench: Bench) -> None:
    assert "flinkctl cluster add" in bench.run("cluster", "list").out
    bench.registry.put_cluster(CLUSTER)
    assert "http://flink:8081" in bench.run("cluster", "list").out
    assert bench.run("cluster", "list", "-o", "json").json["items"][0]["name"] == "default"


def checks(bench: Bench) -> dict[str, str]:
    (one,) = bench.run("cluster", "check", "-o", "json").json["items"]
    return {found["name"]: found["status"] for found in one["checks"]}


def test_a_sound_cluster_passes_every_check(bench: Bench) -> None:
    bench.run(*arguments())

    assert set(checks(bench).values()) == {"ok"}
    assert bench.run("cluster", "check").status == 0


def test_an_unreachable_cluster_fails_its_check(bench: Bench) -> None:
    bench.registry.put_cluster(CLUSTER)
    bench.probe.unreachable = True

    result = bench.run("cluster", "check", "default")

    assert result.status == 1
    assert "left alone until it answers" in result.out


def test_a_cluster_that_cannot_be_asked_fails_its_check(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RejectedError("auth kerberos is not supported yet")

    bench.registry.put_cluster(CLUSTER)
    monkeypatch.setattr(bench.probe, "config", refuse)

    assert "not supported yet" in bench.run("cluster", "check").out


@pytest.mark.parametrize(
    ("settings", "name", "status"),
    [
        ({"high-availability.type": "zookeeper"}, "high availability", "failed"),
        ({"heartbeat.timeout": "PT2M"}, "heartbeat timeout", "failed"),
        ({"heartbeat.timeout": "soon"}, "heartbeat timeout", "warning"),
        ({"web.upload.dir": "/jars"}, "web.upload.dir", "warning"),
        ({"web.submit.enable": "false"}, "submission", "failed"),
        ({"execution.checkpointing.savepoint-dir": "file:///x"}, "savepoint root", "warning"),
    ],
)
def test_a_cluster_that_changed_is_found_out(bench: Bench, settings: dict[str, str], name: str, status: str) -> None:
    bench.registry.put_cluster(CLUSTER)
    bench.probe.settings = settings

    assert checks(bench)[name] == status
    assert bench.run("cluster", "check").status == (1 if status == "failed" else 0)


def test_forgetting_results_under_high_availability_is_warned_of(bench: Bench) -> None:
    bench.probe.settings = {"high-availability": "kubernetes"}
    bench.run(*arguments())

    assert checks(bench)["job-result-store.delete-on-commit"] == "warning"
    bench.probe.settings["job-result-store.delete-on-commit"] = "false"
    assert checks(bench)["job-result-store.delete-on-commit"] == "ok"


def test_slots_and_version_are_judged(bench: Bench) -> None:
    bench.registry.put_cluster(CLUSTER)
    bench.probe.overview_ = ClusterOverview(version="1.17.0", taskmanagers=0, slots_total=0, slots_free=0)

    assert (checks(bench)["slots"], checks(bench)["version"]) == ("failed", "warning")


def test_a_cluster_that_is_not_there_cannot_be_checked(bench: Bench) -> None:
    assert bench.run("cluster", "check", "nope").status == 1
    assert bench.run("cluster", "check").status == 0
