"""Reads records with confluent-kafka, decodes each with the CloudEvents SDK for Python, and prints what
it sees, one JSON object a line: reader.py BOOTSTRAP COUNT TOPIC…"""

import base64
import json
import sys

from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

ATTRIBUTES = ("id", "source", "type", "subject", "time", "datacontenttype", "dataschema")


def event_of(message):
    """As docs/sdks.md shows it."""
    return from_kafka_event(
        KafkaMessage(headers=dict(message.headers() or []), key=message.key(), value=message.value())
    )


def data_of(event):
    data = event.get_data()
    if data is None:
        return None
    if isinstance(data, bytes):
        return {"bytes": base64.b64encode(data).decode()}
    if isinstance(data, str):
        return {"text": data}
    return {"json": json.dumps(data)}


def seen(message):
    # Reading it has validated it: names, types and what must not be empty.
    event = event_of(message)
    attributes = dict(event.get_attributes())
    attributes.pop("specversion")
    line = {name: attributes.pop(name, None) for name in ATTRIBUTES}
    line["time"] = line["time"] and line["time"].isoformat()
    return line | {"extensions": attributes, "data": data_of(event)}


def record_of(message):
    key = message.key()
    plain = [(name, value) for name, value in message.headers() or []
             if name != "content-type" and not name.startswith("ce_")]
    return {
        "topic": message.topic(),
        "offset": message.offset(),
        "key": None if key is None else base64.b64encode(key).decode(),
        "headers": {name: value.decode() for name, value in plain},
    }


def main(bootstrap, count, *topics):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "sdk-python", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in topics])
    for _ in range(int(count)):
        message = consumer.poll(30)
        if message is None:
            sys.exit("no further record within 30 s")
        if message.error():
            sys.exit(str(message.error()))
        try:
            line = seen(message)
        except Exception as error:  # whatever the SDK may throw is what is looked for
            line = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(record_of(message) | line))
    consumer.close()


main(*sys.argv[1:])
