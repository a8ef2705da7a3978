"""Reads by Confluent's deserializers what walpost has framed, and writes the same by its serializers."""
import base64
import sys

import attr
from confluent_kafka import Consumer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

import messages
from order import order

PROTOBUF = "outbox.event.protobuf"


class Registry(SchemaRegistryClient):
    """Gives Protobuf schemas as Confluent's registry does for `format=serialized`, which Apicurio does not know."""

    def get_schema(self, schema_id, subject_name=None, fmt=None, reference_format=None):
        schema = super().get_schema(schema_id, subject_name)
        return self._serialized(schema) if fmt == "serialized" else schema

    def get_version(self, subject_name, version="latest", deleted=False, fmt=None):
        registered = super().get_version(subject_name, version, deleted)
        return attr.evolve(registered, schema=self._serialized(registered.schema)) if fmt == "serialized" else registered

    @staticmethod
    def _serialized(schema):
        for file in (messages.types.DESCRIPTOR, *messages.types.DESCRIPTOR.dependencies):
            text = messages.folder / file.name
            if text.exists() and text.read_text() == schema.schema_str:
                return Schema(base64.b64encode(file.serialized_pb).decode(), "PROTOBUF", schema.references)
        return schema


bootstrap, url = sys.argv[1:]
registry = Registry({"url": url})
use_latest = {"auto.register.schemas": False, "use.latest.version": True}
topics = {
    "outbox.event.avro": (AvroDeserializer(registry), AvroSerializer(registry, conf=use_latest), order(order(None))),
    "outbox.event.json": (
        JSONDeserializer(None, schema_registry_client=registry),
        JSONSerializer(registry.get_latest_version("outbox.event.json-value").schema.schema_str, registry, conf=use_latest),
        {"total": 12.3},
    ),
}


def protobuf(message):
    """The serializer finds a nested message only in a schema that it has registered itself, so it writes with an id of its
    own, which is not compared: the id of walpost's is that of the topic's subject."""
    expected = messages.message(dict(message.headers())["ce_type"].decode())
    framed = message.value()
    latest = registry.get_latest_version(f"{PROTOBUF}-value").schema_id
    assert framed[:5] == b"\0" + latest.to_bytes(4, "big"), framed.hex()
    deserializer = ProtobufDeserializer(type(expected), {"use.deprecated.format": False}, registry)
    read = deserializer(framed, SerializationContext(PROTOBUF, MessageField.VALUE, message.headers()))
    assert read == expected, f"{read} and not {expected}"
    serializer = ProtobufSerializer(type(expected), SchemaRegistryClient({"url": url}), {"use.deprecated.format": False})
    return framed[:5] + serializer(expected, SerializationContext("confluent", MessageField.VALUE, []))[5:]


def avro_or_json(message):
    read, write, expected = topics[message.topic()]
    context = SerializationContext(message.topic(), MessageField.VALUE, message.headers())
    value = read(message.value(), context)
    assert write(value, context) == message.value(), f"{message.topic()}: read and written again it is another"
    return write(expected, context)


consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "confluent", "auto.offset.reset": "earliest",
                     "topic.metadata.refresh.interval.ms": 500})
consumer.subscribe([*topics, PROTOBUF])
missing = {(topic, "Placed") for topic in topics} | {(PROTOBUF, name) for name in messages.PAYLOADS}
while missing:
    message = consumer.poll(60)
    assert message is not None, f"{missing} did not come within a minute"
    if message.error():
        continue
    written = (protobuf if message.topic() == PROTOBUF else avro_or_json)(message)
    kind = dict(message.headers())["ce_type"].decode()
    assert written == message.value(), f"{message.topic()}, {kind}: {written.hex()} and not {message.value().hex()}"
    missing.discard((message.topic(), kind))
    print(f"{message.topic()}, {kind}: {len(written)} bytes are those of Confluent's serializer, and its deserializer reads them")
consumer.close()
