"""What a job requires of its cluster is held against what the cluster offers."""

from flink_controller.domain.cluster import Auth, Cluster
from flink_controller.domain.fitness import unfit
from tests.unit.domain.builders import Job, valid_spec

PLAIN = Cluster(name="default", url="http://flink:8081", savepoint_root="s3://b/s", checkpoint_root="s3://b/c")
SECURE = PLAIN.model_copy(update={"url": "https://flink", "auth": Auth.KERBEROS, "kerberos_principal": "flink@REALM"})
WANTS = {"security__ssl_enabled": True, "security__kerberos_principal": "flink@REALM"}


def test_each_field_that_a_cluster_does_not_meet_is_told_with_both_figures() -> None:
    fault = unfit(valid_spec(**WANTS).spec, PLAIN)

    assert fault is not None
    assert "security.ssl_enabled wants https, the cluster is registered with http" in fault
    assert "security.kerberos_principal wants 'flink@REALM', the cluster is registered with none" in fault


def test_what_is_met_or_not_asked_for_is_no_fault() -> None:
    assert unfit(valid_spec(**WANTS).spec, SECURE) is None
    assert unfit(valid_spec().spec, PLAIN) is None
    assert unfit(valid_spec(security__ssl_enabled=False).spec, SECURE) is None


def test_a_job_waits_while_its_cluster_is_unfit() -> None:
    job = Job(**WANTS)

    made = job.look()

    assert made.status.waiting is not None
    assert made.status.waiting[0] == "ClusterUnfit"
    assert made.action is None
