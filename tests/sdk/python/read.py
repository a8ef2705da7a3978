"""Reads COUNT records of TOPIC by confluent-kafka and the CloudEvents SDK for Python; one JSON line each."""

import base64
import json
import sys

from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from confluent_kafka import Consumer

bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"python-{topic}", "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
read = 0
while read < count:
    message = consumer.poll(30)
    if message is None:
        sys.exit(f"no record within 30 s after {read} of {count}")
    if message.error():
        sys.exit(str(message.error()))
    read += 1
    try:
        event = from_kafka_event(
            KafkaMessage(headers=dict(message.headers() or []), key=message.key(), value=message.value())
        )
    except Exception as error:  # what an SDK cannot read is a finding, not the end
        print(json.dumps({"key": (message.key() or b"").decode(), "error": f"{type(error).__name__}: {error}"}))
        continue
    attributes = {name: str(value) for name, value in event.get_attributes().items() if name not in ("data", "time")}
    if event.get_time():
        attributes["time"] = event.get_time().isoformat().replace("+00:00", "Z")
    data = event.get_data()
    if isinstance(data, bytes):
        shown = {"base64": base64.b64encode(data).decode()}
    else:
        shown = {"json": data}
    print(json.dumps({"attributes": attributes, **shown}))
consumer.close()
