"""Schemas of the payload: `validate` checks each payload by one, the others write it in that form behind the schema's id."""

import json
import urllib.request

ORDER = {"orderId": "long", "customer": "string", "currency": "string",
         "total": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
         "placedAt": {"type": "long", "logicalType": "timestamp-millis"}, "note": "string"}
ITEM = {"sku": "string", "quantity": "int"}
TYPES = {"long": "integer", "int": "integer"}


def fields(of):
    return [{"name": name, "type": kind} for name, kind in of.items()]


def properties(of):
    return {name: {"type": "number" if name == "total" else TYPES.get(str(kind), "string")} for name, kind in of.items()}


def json_object(of, **more):
    return {"type": "object", "required": list(of), "additionalProperties": False, "properties": {**properties(of), **more}}


# What PAYLOAD in rows.py is, in three languages.
JSON_SCHEMA = {"$schema": "http://json-schema.org/draft-07/schema#",
               **json_object(ORDER, items={"type": "array", "items": json_object(ITEM)})}
AVRO = {"type": "record", "name": "Order", "fields": fields(ORDER) + [
    {"name": "items", "type": {"type": "array", "items": {
        "type": "record", "name": "Item", "fields": fields(ITEM)}}}]}
PROTOBUF = """syntax = "proto3";
import "google/protobuf/timestamp.proto";
message Order {
  message Item { string sku = 1; int32 quantity = 2; }
  int64 order_id = 1;
  string customer = 2;
  string currency = 3;
  double total = 4;
  google.protobuf.Timestamp placed_at = 5;
  string note = 6;
  repeated Item items = 7;
}
"""
# The registry's mode, the language, and the schema, by the subject it is registered under.
SCHEMAS = {"validate": ("validate", "JSON", json.dumps(JSON_SCHEMA)), "avro": ("prefix", "AVRO", json.dumps(AVRO)),
           "protobuf": ("prefix", "PROTOBUF", PROTOBUF)}


def register(url):
    for subject, (_, kind, text) in SCHEMAS.items():
        body = json.dumps({"schemaType": kind, "schema": text}).encode()
        asked = urllib.request.Request(f"{url}/subjects/{subject}/versions", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(asked, timeout=60).close()
