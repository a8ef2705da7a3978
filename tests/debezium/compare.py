"""Compares a topic that Debezium began and walpost went on with against the table: rows as JSON arrays on standard
input, [id, aggregateid, type, payload].

  compare.py BOOTSTRAP TOPIC REPEATED      REPEATED: how many events may come twice, or `some`

Each record is read as a consumer of Debezium's does: the plain headers `id` and `eventType`, key and value as text. Of one
key, the first deliveries must be in the order of the transactions, which the payload counts.
"""

import json
import sys
import time

from confluent_kafka import Consumer, TopicPartition

bootstrap, topic, allowed = sys.argv[1:]
rows = {row[0]: tuple(row[1:]) for row in map(json.loads, sys.stdin)}
assert len(rows) > 1000, f"only {len(rows)} rows were written"
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "compare", "auto.offset.reset": "earliest",
                     "enable.auto.commit": False, "isolation.level": "read_committed", "enable.partition.eof": False})
partitions = list(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
consumer.assign([TopicPartition(topic, number, 0) for number in partitions])

seen, newest, repeated, by_walpost = set(), {}, 0, 0
deadline, quiet = time.time() + 180, None
while time.time() < deadline and (quiet is None or time.time() < quiet):
    record = consumer.poll(1.0)
    if record is None or record.error():
        continue
    headers = {}
    for name, value in record.headers() or []:
        headers.setdefault(name, value.decode())
    event = headers.get("id")
    assert event in rows, f"the header id is {event!r}, which is no row: {headers}"
    key, kind, payload = rows[event]
    assert record.key().decode() == key, f"row {event} has the key {record.key()!r}, not {key!r}"
    assert headers.get("eventType") == kind, f"row {event} has the headers {headers}"
    assert record.value().decode() == payload, f"row {event} has the value {record.value()!r}, not {payload!r}"
    if "ce_id" in headers:
        by_walpost += 1
        assert headers["ce_id"] == event, headers
    if event in seen:
        repeated += 1
        assert "ce_id" in headers, "the connector itself has sent an event twice"
        continue
    seen.add(event)
    order = (json.loads(payload)["transaction"], json.loads(payload)["row"])
    assert newest.get(key, (0, -1)) < order, f"key {key}: {order} came after {newest[key]}"
    newest[key] = order
    if len(seen) == len(rows):
        # What would come twice comes now.
        quiet = time.time() + 5
missing = len(rows) - len(seen)
words = (f"{len(rows)} rows: {len(seen) - by_walpost + repeated} sent by Debezium, {by_walpost} by walpost, "
         f"{missing} missing, {repeated} twice")
assert missing == 0, words
assert 0 < by_walpost < len(rows), f"one of the two did everything: {words}"
if allowed == "some":
    # A kill is between what was sent and what was stored, so some come twice, and not everything.
    assert 0 < repeated < len(rows) / 2, words
else:
    assert repeated <= int(allowed), words
print(f"{topic}: {words}")
