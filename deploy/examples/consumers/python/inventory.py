"""An inventory that follows the orders of a shop; ../README.md explains each step."""

import os
import random
import signal
import sys
import time
from typing import NamedTuple

import psycopg
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from psycopg.types.json import Jsonb

KAFKA = os.environ["KAFKA"]
DATABASE_URL = os.environ["DATABASE_URL"]
TOPIC = os.environ.get("TOPIC", "outbox.event.order")
GROUP = os.environ.get("GROUP", "inventory")
DEAD_LETTERS = os.environ.get("DEAD_LETTERS", "inventory.dead-letters")


class Permanent(Exception):
    """Trying again cannot help: the event itself is wrong."""


def decode(message: Message) -> CloudEvent:
    # Only the event's own headers and not the key: the SDK refuses what is not UTF-8.
    headers = {name: value for name, value in message.headers() or [] if name == "content-type" or name.startswith("ce_")}
    try:
        return from_kafka(KafkaMessage(headers, None, message.value()), JSONFormat(), event_with_id)
    except Exception as error:  # the SDK raises what it likes
        raise Permanent(f"not a CloudEvent: {error}") from error


def event_with_id(attributes: dict, data) -> CloudEvent:
    # For an event without an id the SDK would make one up, and another one when the event comes again.
    if not attributes.get("id"):
        raise ValueError("it has no id")
    return CloudEvent(attributes, data)


def handle(database: psycopg.Connection, event: CloudEvent) -> None:
    if event.get_type() != "OrderPlaced":
        return  # not ours
    match event.get_data():
        case {"order": int(order), "sku": str(sku), "quantity": int(quantity)} if quantity > 0:
            pass
        case _:
            raise Permanent("the data is not an order")
    try:
        with database.transaction():
            first = database.execute(
                "insert into inbox (source, id) values (%s, %s) on conflict do nothing",
                (event.get_source(), event.get_id()),
            )
            if first.rowcount == 0:
                return  # a repeat: its effect is there already
            changed = database.execute("update stock set quantity = quantity - %s where sku = %s", (quantity, sku))
            if changed.rowcount == 0:
                raise Permanent(f"unknown sku {sku}")
            database.execute(
                "insert into outbox (aggregatetype, aggregateid, type, payload, correlation_id, causation_id)"
                " values ('stock', %s, 'StockReserved', %s, %s, %s)",
                (
                    sku,
                    Jsonb({"order": order, "sku": sku, "quantity": quantity}),
                    event.get_extension("correlationid") or event.get_id(),
                    event.get_id(),
                ),
            )
    except (psycopg.DataError, psycopg.IntegrityError) as error:  # SQLSTATE 22… and 23…
        raise Permanent(f"{error.sqlstate}: {error.diag.message_primary}") from error


def bury(producer: Producer, message: Message, reason: Permanent) -> None:
    """Sends the record as it is to the dead letters, and returns when Kafka has it."""
    refused = []
    producer.produce(
        DEAD_LETTERS,
        key=message.key(),
        value=message.value(),
        headers=(message.headers() or []) + [
            ("dlq-reason", str(reason).encode()),
            ("dlq-topic", message.topic().encode()),
            ("dlq-partition", str(message.partition()).encode()),
            ("dlq-offset", str(message.offset()).encode()),
            ("dlq-timestamp", str(message.timestamp()[1]).encode()),
            ("dlq-group", GROUP.encode()),
        ],
        on_delivery=lambda error, _: refused.append(error) if error else None,
    )
    producer.flush()
    if refused:
        raise KafkaException(refused[0])
    print(f"dead letter: {place(message)}: {reason}", file=sys.stderr, flush=True)


def place(message: Message) -> str:
    return f"{message.topic()}/{message.partition()}@{message.offset()}"


class Held(NamedTuple):
    """The record that its partition waits for."""

    message: Message
    delay: float
    due: float


class Inventory:
    def __init__(self) -> None:
        self.stopping = False
        self.held: dict[int, Held] = {}
        self.database: psycopg.Connection | None = None
        self.producer = Producer({"bootstrap.servers": KAFKA, "enable.idempotence": True, "delivery.timeout.ms": 30_000})
        self.consumer = Consumer({
            "bootstrap.servers": KAFKA,
            "group.id": GROUP,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 10_000,
            # Commits each second what `store_offsets` was told, never what was only read.
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": 1_000,
        })

    def run(self) -> None:
        self.consumer.subscribe([TOPIC], on_revoke=self.revoked, on_lost=self.revoked)
        while not self.stopping:
            now = time.monotonic()
            for held in [held for held in self.held.values() if held.due <= now]:
                self.settle(held.message, held.delay)
            # Also while a partition waits: a consumer that does not poll loses its partitions.
            message = self.consumer.poll(0.1)
            if message is None:
                continue
            if message.error():
                print(message.error(), file=sys.stderr, flush=True)
                continue
            self.settle(message, 0.1)
        self.consumer.close()

    def settle(self, message: Message, delay: float) -> None:
        """Handles a record, or holds it and lets its partition wait."""
        partition = TopicPartition(message.topic(), message.partition())
        try:
            try:
                handle(self.connected(), decode(message))
            except Permanent as reason:
                bury(self.producer, message, reason)
        except (psycopg.Error, KafkaException) as error:
            print(f"again in {delay:.1f} s: {place(message)}: {error}", file=sys.stderr, flush=True)
            self.consumer.pause([partition])
            due = time.monotonic() + delay * random.uniform(0.5, 1)
            self.held[message.partition()] = Held(message, min(delay * 2, 10), due)
        else:
            # The transaction is committed, or the letter is in Kafka: only now may the offset move.
            self.consumer.store_offsets(message)
            if self.held.pop(message.partition(), None):
                self.consumer.resume([partition])

    def connected(self) -> psycopg.Connection:
        if self.database is None or self.database.closed:
            self.database = psycopg.connect(DATABASE_URL, autocommit=True, connect_timeout=5)
        return self.database

    def revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """What was held is read again by the partition's next owner, from the committed offset."""
        for partition in partitions:
            if self.held.pop(partition.partition, None):
                consumer.resume([partition])

    def stop(self, *_) -> None:
        self.stopping = True


inventory = Inventory()
signal.signal(signal.SIGTERM, inventory.stop)
signal.signal(signal.SIGINT, inventory.stop)
inventory.run()
