"""Records src/registry/protobuf/recorded/*.hex: what Confluent's serializer makes of each message, behind the id.

    deploy/dev/registry start --port 18081 --dir /tmp/registry
    python tests/registry/record_protobuf.py http://127.0.0.1:18081/apis/ccompat/v7     (needs tests/registry/requirements.txt)
"""
import sys

from confluent_kafka.schema_registry import (SchemaRegistryClient, dual_schema_id_deserializer,
                                             header_schema_id_serializer)
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import MessageField, SerializationContext

import messages

registry = SchemaRegistryClient({"url": sys.argv[1]})
for name in messages.PAYLOADS:
    message = messages.message(name)
    serializer = ProtobufSerializer(type(message), registry, {"use.deprecated.format": False})
    framed = serializer(message, SerializationContext(f"recorded-{name}", MessageField.VALUE, []))
    # Without the zero byte and the id: the indexes of the message, and the message.
    (messages.folder / f"{name}.hex").write_text(framed[5:].hex() + "\n")

# The header of `header`, from a GUID that no registry here gives: written and read again by Confluent's own functions.
guid = "01897917-6223-1041-b3b8-f63fbb9dd6f1"
lines = []
for kind, indexes in [("AVRO", None), ("JSON", None), ("PROTOBUF", [0]), ("PROTOBUF", [1]), ("PROTOBUF", [0, 0])]:
    context = SerializationContext("recorded", MessageField.VALUE, [])
    assert header_schema_id_serializer(b"value", context, SchemaId(kind, None, guid, indexes)) == b"value"
    [(name, header)] = context.headers
    read = SchemaId(kind)
    assert dual_schema_id_deserializer(b"value", context, read).read() == b"value"
    assert (str(read.guid), read.message_indexes) == (guid, indexes), read
    lines.append(f"{kind} {indexes or []} {name} {header.hex()}\n")
(messages.folder / "headers.txt").write_text("".join(lines))
