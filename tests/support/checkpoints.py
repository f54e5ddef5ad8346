"""The learner's topic as compaction leaves it: the newest body of each key."""

from online_ml.checkpoint import LearnerCapture


def compact(topic: dict[str, bytes], capture: LearnerCapture) -> dict[str, bytes]:
    """Write a checkpoint to a topic and return the topic."""
    for key, body in capture.records.items():
        if body is None:
            topic.pop(key, None)
        else:
            topic[key] = body
    return topic
