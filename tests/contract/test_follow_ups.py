"""What `FollowUps` promises."""

from datetime import timedelta

from tests.contract.worlds import AwsWorld, World


def test_a_follow_up_without_delay_arrives_at_once(world: World) -> None:
    world.follow_ups.send("ns/job", timedelta(0))

    assert world.received() == ["ns/job"]


def test_a_delayed_follow_up_does_not_arrive_at_once(world: World) -> None:
    world.follow_ups.send("job", timedelta(seconds=30))

    assert world.received() == []


def test_a_delay_beyond_the_queues_longest_is_shortened(world: World) -> None:
    world.follow_ups.send("job", timedelta(days=2))

    assert world.received() == []


def test_a_negative_delay_is_none(world: World) -> None:
    world.follow_ups.send("job", timedelta(seconds=-5))

    assert world.received() == ["job"]


def test_many_jobs_are_woken_at_once(world: World) -> None:
    names = [f"job-{number:02}" for number in range(23)]

    world.follow_ups.send_now(names)

    assert world.received() == names


def test_no_jobs_are_no_messages(world: World) -> None:
    world.follow_ups.send_now([])

    assert world.received() == []


def test_what_waits_is_counted_delayed_or_not(world: World) -> None:
    world.follow_ups.send("soon", timedelta(0))
    world.follow_ups.send("later", timedelta(minutes=5))

    assert world.follow_ups.waiting() == 2


def test_a_message_carries_the_name_and_nothing_else(aws_world: AwsWorld) -> None:
    aws_world.follow_ups.send("ns/job", timedelta(0))

    (message,) = aws_world.sqs.receive_message(QueueUrl=aws_world.queue_url)["Messages"]

    assert message["Body"] == '{"job_id": "ns/job"}'
