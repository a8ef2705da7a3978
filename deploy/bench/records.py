"""Topics, and what is in them: every id of the table, each once."""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import NewTopic

from settings import PARTITIONS


def consumer_of(servers):
    return Consumer({"bootstrap.servers": servers.bootstrap, "group.id": "bench", "enable.auto.commit": False,
                     "auto.offset.reset": "earliest", "queued.max.messages.kbytes": 262144,
                     "enable.partition.eof": True})


def make_topic(servers, consumer, topic):
    for future in servers.admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        future.result()
    length(consumer, topic)


def delete_topic(servers, topic):
    for future in servers.admin.delete_topics([topic]).values():
        future.result()


def length(consumer, topic):
    """How many records the topic has, markers of transactions too; waits for the leaders of a new one."""
    for _ in range(100):
        try:
            ends = (consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)
                    for number in range(PARTITIONS))
            return sum(end for _, end in ends)
        except KafkaException as error:
            refusal = error
            time.sleep(0.1)
    raise SystemExit(f"Kafka does not say how long {topic} is: {refusal}")


def assign(consumer, topic):
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])


def event_id(message):
    """The id of the event: a header in binary mode and of Debezium, a member in structured mode."""
    headers = dict(message.headers() or [])
    found = headers.get("ce_id") or headers.get("id")
    if found is None:
        # The envelope's members come before the data, and the id first of all.
        start = message.value().index(b'"id":"') + 6
        found = message.value()[start:message.value().index(b'"', start)]
    return bytes(found)


def read(consumer, topic):
    """Every committed record, to the end of each partition."""
    assign(consumer, topic)
    unfinished = set(range(PARTITIONS))
    while unfinished:
        for message in consumer.consume(10_000, timeout=10):
            if message.error() is None:
                yield message
            elif message.error().code() == KafkaError._PARTITION_EOF:
                unfinished.discard(message.partition())
            else:
                raise SystemExit(f"cannot read {topic}: {message.error()}")


def check(consumer, topic, ids):
    """Reads the topic: every id once. Returns when the first and the last record were appended."""
    missing, first, last, count = set(ids), float("inf"), 0.0, 0
    for message in read(consumer, topic):
        missing.discard(event_id(message))
        at = message.timestamp()[1] / 1000
        first, last, count = min(first, at), max(last, at), count + 1
    if missing or count != len(ids):
        raise SystemExit(f"{len(missing)} of {len(ids)} rows are not in Kafka, which has {count} records")
    return first, last
