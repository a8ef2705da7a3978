"""The messages of src/registry/protobuf/recorded as Python has them: protoc compiles the same files that walpost reads."""
import importlib
import pathlib
import subprocess
import sys
import tempfile

from google.protobuf import json_format

folder = pathlib.Path("src/registry/protobuf/recorded")
_generated = tempfile.TemporaryDirectory()
subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"--python_out={_generated.name}",
                "customer.proto", "order.proto"], check=True)
sys.path.insert(0, _generated.name)
types = importlib.import_module("order_pb2")

# The payload of each message, as Google's own library reads it.
PAYLOADS = {
    "Order": (folder / "order.json").read_text(),
    "Refund": '{"id": 7, "reason": "late"}',
    "Order.Line": '{"sku": "a", "change": -2, "pieces": [1, 300]}',
}


def message(name):
    of = types
    for part in name.split("."):
        of = getattr(of, part)
    return json_format.Parse(PAYLOADS[name], of())
