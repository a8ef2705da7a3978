"""Records src/registry/avro/recorded/order.hex: what Confluent's serializer makes of the order.

    deploy/dev/registry start --port 18081 --dir /tmp/registry
    python tests/registry/record.py http://127.0.0.1:18081/apis/ccompat/v7     (needs tests/registry/requirements.txt)
"""
import pathlib
import sys

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from order import order

folder = pathlib.Path("src/registry/avro/recorded")
serializer = AvroSerializer(SchemaRegistryClient({"url": sys.argv[1]}), (folder / "order.avsc").read_text())
framed = serializer(order(order(None)), SerializationContext("recorded", MessageField.VALUE, []))
# Without the zero byte and the id.
(folder / "order.hex").write_text(framed[5:].hex() + "\n")
