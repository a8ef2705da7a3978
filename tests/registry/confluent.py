"""Reads by Confluent's deserializers what walpost has framed, and writes the same by its serializers."""
import sys

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from order import order

bootstrap, url = sys.argv[1:]
registry = SchemaRegistryClient({"url": url})
use_latest = {"auto.register.schemas": False, "use.latest.version": True}
topics = {
    "outbox.event.avro": (AvroDeserializer(registry), AvroSerializer(registry, conf=use_latest), order(order(None))),
    "outbox.event.json": (
        JSONDeserializer(None, schema_registry_client=registry),
        JSONSerializer(registry.get_latest_version("outbox.event.json-value").schema.schema_str, registry, conf=use_latest),
        {"total": 12.3},
    ),
}
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "confluent", "auto.offset.reset": "earliest",
                     "topic.metadata.refresh.interval.ms": 500})
consumer.subscribe(list(topics))
seen = set()
while seen != set(topics):
    message = consumer.poll(60)
    assert message is not None, f"only {seen} came within a minute"
    if message.error():
        continue
    read, write, expected = topics[message.topic()]
    context = SerializationContext(message.topic(), MessageField.VALUE, message.headers())
    value = read(message.value(), context)
    assert write(value, context) == message.value(), f"{message.topic()}: read and written again it is another"
    written = write(expected, context)
    assert written == message.value(), f"{message.topic()}: {written.hex()} and not {message.value().hex()}"
    seen.add(message.topic())
    print(f"{message.topic()}: {len(written)} bytes are those of Confluent's serializer, and its deserializer reads them")
consumer.close()
