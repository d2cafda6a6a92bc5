"""Tell the outside what was recorded: programs by the bus, people by the alert topic. Nothing is decided here."""

from flink_controller.domain.announcements import ArtifactEvent, JobEvent, letters
from flink_controller.ports import AlertTopic, EventBus


def publish_event(bus: EventBus, topic: AlertTopic, event: JobEvent | ArtifactEvent) -> int:
    """Publish one event. After an error the whole event is published again, under the same id.

    Returns:
        How many messages went to people.

    Raises:
        TransientError: the bus or the topic does not answer.
    """
    bus.put([event])
    told = list(letters(event)) if isinstance(event, JobEvent) else []
    for letter in told:
        topic.tell(letter)
    return len(told)
