"""Checks the consumers of deploy/examples/consumers, all at once, against what was ordered.

Orders are placed while walpost is killed and goes on in structured mode, while rows that are no orders and
records that are no events come in between, while the consumers' tables are locked, their Postgres is down, and
the consumers themselves are killed; all is then replayed. In the end each inventory must have counted each order
once, have told of it with its correlation, and have buried what is wrong as it was.

    consumers.py ROOM WALPOST PROGRAMS LANGUAGE…    by deploy/test-tools/consumers
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter

import psycopg
from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

TOPIC = "outbox.event.order"
STOCK = 1_000_000
SKUS = ("apple", "pear", "plum")
ROOM, WALPOST, PROGRAMS, *LANGUAGES = sys.argv[1:]
KAFKA, SHOP, INVENTORY = (os.environ[name] for name in ("KAFKA", "SHOP_PORT", "INVENTORY_PORT"))
admin = AdminClient({"bootstrap.servers": KAFKA})
started = time.monotonic()
failures = []
# What must not end by itself.
running = {}


def say(text):
    print(f"consumers: {time.monotonic() - started:3.0f} s: {text}", file=sys.stderr, flush=True)


def expect(language, what, right):
    if not right:
        failures.append(f"{language}: {what}")


def until(what, condition, seconds=180):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        for process, name in running.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.2)
    return result


def log(name):
    return open(f"{ROOM}/{name}.log").read()


def start(name, command, cwd=None, **environment):
    """A process that ends with this one; none of this one's environment but what programs need to run at all."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with open(f"{ROOM}/{name}.log", "a") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            cwd=cwd, env=kept | environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )


def run(name, command, **more):
    """The same of one that goes on until it is told to end."""
    process = start(name, command, **more)
    running[process] = name
    return process


def end(process, how):
    """Its exit code, after this signal."""
    del running[process]
    process.send_signal(how)
    return process.wait(60)


class Relay:
    """walpost on the shop's outbox."""

    environment = {
        "DATABASE_URL": f"postgres://postgres@127.0.0.1:{SHOP}/shop",
        "KAFKA_BOOTSTRAP_SERVERS": KAFKA,
        "WALPOST_HTTP_ADDR": "off",
    }

    def run(self, mode):
        self.process = run("walpost", [WALPOST, "run"], WALPOST_CE_MODE=mode, **self.environment)

    def kill(self):
        end(self.process, signal.SIGKILL)

    def replay(self):
        code = start("replay", [WALPOST, "replay", "--all", "--same-topic", "--yes"], **self.environment).wait(180)
        if code:
            raise RuntimeError(f"the replay ended with {code}: {log('replay')}")


class Orders(threading.Thread):
    """Places orders until it is told to stop, and remembers them: number, and (sku, quantity, correlation, event)."""

    def __init__(self, inventories):
        super().__init__(daemon=True)
        self.inventories = inventories
        self.good, self.bad, self.stopping, self.error = {}, set(), threading.Event(), None

    def run(self):
        try:
            with psycopg.connect(host="127.0.0.1", port=SHOP, user="postgres", dbname="shop", autocommit=True) as shop:
                number = 0
                while not self.stopping.wait(0.08):
                    if number % 20 or self.kept_up_with():
                        number += 1
                        self.place(shop, number)
        except Exception as error:  # told by the main thread
            self.error = error

    def kept_up_with(self):
        """On a slow machine there are fewer orders, not consumers that are hours behind."""
        try:
            return len(self.good) - min(inventory.handled() for inventory in self.inventories) < 200
        except psycopg.OperationalError:
            return False  # their Postgres is down

    def place(self, shop, number):
        sku, quantity, request = SKUS[number % 3], number % 5 + 1, f"request-{number}"
        data, kind = {"order": number, "sku": sku, "quantity": quantity}, "OrderPlaced"
        match number % 21:
            case 4: data["sku"] = "durian"
            case 8: del data["quantity"]
            case 12: data["quantity"] = 2_000_000_000
            case 16: data = "no object"
            case 20: kind = "OrderShipped"
        (id,) = shop.execute(
            "insert into outbox (aggregatetype, aggregateid, type, payload, correlation_id)"
            " values ('order', %s, %s, %s, %s) returning id::text",
            (str(number), kind, json.dumps(data), request),
        ).fetchone()
        if number % 21 in (4, 8, 12, 16):
            self.bad.add(("/shop/public/outbox", id))
        elif kind == "OrderPlaced":
            self.good[number] = (sku, quantity, request, ("/shop/public/outbox", id))


def strangers(orders):
    """Records that no walpost has written. Returns what the bad ones are known by: key and value."""
    producer = Producer({"bootstrap.servers": KAFKA})
    taken = next(iter(orders.good.values()))[3][1]
    about = {"specversion": "1.0", "source": "/elsewhere", "type": "OrderPlaced"}

    def headers(id, **more):
        binary = [(f"ce_{name}", value) for name, value in (about | {"id": id} | more).items()]
        return [("content-type", "application/json"), *binary]

    def send(key, value, headers):
        producer.produce(TOPIC, key=key, value=value, headers=headers, partition=0)

    # Right ones: an id that the shop has used too, from another source, under a key that is no text.
    good = {"order": -1, "sku": "apple", "quantity": 5}
    for _ in range(2):
        send(b"\xff\x00key", json.dumps(good), headers(taken))
    orders.good[-1] = ("apple", 5, taken, ("/elsewhere", taken))
    # The SDK for JavaScript reads no structured event without a time.
    whole = about | {"time": "2026-11-21T10:00:00Z", "datacontenttype": "application/json", "data": good | {"order": -2}}
    structured = [("content-type", "application/cloudevents+json; charset=UTF-8")]
    send(None, json.dumps(whole | {"id": "whole"}), structured)
    orders.good[-2] = ("apple", 5, "whole", ("/elsewhere", "whole"))
    # Other programs' headers are nobody's business, whatever they are.
    send(b"-3", json.dumps(good | {"order": -3}), [*headers("bytes"), ("bytes", b"\xff\xfe"), ("none", None)])
    orders.good[-3] = ("apple", 5, "bytes", ("/elsewhere", "bytes"))
    # Wrong ones, each in its own way.
    wrong = {
        b"no-headers": (b"\xff\xfe no event", None),
        b"half": (b'{"order": 7', headers("half")),
        b"tombstone": (None, headers("tombstone")),
        b"empty": (b"", headers("empty")),
        b"no-id": (json.dumps(good).encode(), [pair for pair in headers("") if pair[0] != "ce_id"]),
        b"empty-id": (json.dumps(good).encode(), headers("")),
        b"no-source": (json.dumps(good).encode(), [pair for pair in headers("no-source") if pair[0] != "ce_source"]),
        b"whole-without-id": (json.dumps(whole).encode(), structured),
        b"batch": (json.dumps([whole | {"id": "batch"}]).encode(), [("content-type", "application/cloudevents-batch+json")]),
        b"twice": (b"{}", [*headers("twice"), ("note", b"one"), ("note", b"two")]),
        b"no-text": (b"{}", headers("no-text", note=b"\xff\xfe")),
        b"null-header": (b"{}", [*headers("null-header"), ("ce_note", None)]),
        b"half-structured": (b'{"specversion": "1.0", "id"', structured),
        b"null-structured": (None, structured),
        b"number": (b"12", headers("number")),
    }
    for key, (value, its) in wrong.items():
        send(key, value, its)
    producer.flush()
    return {(key, value) for key, (value, _) in wrong.items()}


class Inventory:
    """One language's consumers and their database."""

    def __init__(self, language):
        self.language, self.group, self.letters = language, f"inventory-{language}", f"inventory-{language}.dead-letters"
        self.database = f"inventory_{language}"
        readme = open(f"{PROGRAMS}/{language}/README.md").read()
        # Of the commands in its README the first block installs, the second runs.
        self.command = re.findall(r"^```sh\n(.*?)^```$", readme, re.M | re.S)[1]
        self.processes = []

    def sql(self, query):
        with psycopg.connect(host="127.0.0.1", port=INVENTORY, user="postgres", dbname=self.database) as database:
            return database.execute(query).fetchall()

    def run(self):
        url = f"postgresql://127.0.0.1:{INVENTORY}/{self.database}?user=postgres"
        self.processes.append(run(
            self.language, ["bash", "-c", f"exec {self.command}"], cwd=f"{PROGRAMS}/{self.language}",
            KAFKA=KAFKA, DATABASE_URL=url, GROUP=self.group, DEAD_LETTERS=self.letters, TOPIC=TOPIC,
        ))

    def handled(self):
        return self.sql("select count(*) from inbox")[0][0]

    def members(self):
        group = admin.describe_consumer_groups([self.group])[self.group].result()
        settled = group.state == ConsumerGroupState.STABLE
        return settled and {member.member_id for member in group.members if member.assignment.topic_partitions}

    def behind(self, ends):
        partitions = [TopicPartition(TOPIC, partition) for partition in ends]
        consumer = Consumer({"bootstrap.servers": KAFKA, "group.id": self.group})
        try:
            return sum(ends[one.partition] - max(one.offset, 0) for one in consumer.committed(partitions, timeout=30))
        finally:
            consumer.close()

    def check(self, orders, records, wrong):
        language, good = self.language, orders.good
        # Stock.
        ordered = Counter()
        for sku, quantity, *_ in good.values():
            ordered[sku] += quantity
        stock = dict(self.sql("select sku, quantity from stock"))
        truth = {sku: STOCK - ordered[sku] for sku in SKUS}
        expect(language, f"the stock is {stock}, and should be {truth}", stock == truth)
        # Each effect once, with the correlation it came with and the event that caused it.
        told = Counter(self.sql(
            "select (payload->>'order')::bigint, payload->>'sku', (payload->>'quantity')::bigint, correlation_id,"
            " causation_id from outbox where type = 'StockReserved' and aggregatetype = 'stock' and aggregateid = payload->>'sku'"
        ))
        wanted = Counter((number, *order[:3], order[3][1]) for number, order in good.items())
        expect(language, f"told too often: {(told - wanted).most_common(3)}", not told - wanted)
        expect(language, f"never told: {(wanted - told).most_common(3)}", not wanted - told)
        others = self.sql("select count(*) from outbox")[0][0] - told.total()
        expect(language, f"{others} rows of the outbox are something else", others == 0)
        inbox = set(self.sql("select source, id from inbox"))
        expect(language, "the inbox is not what was ordered", inbox == {order[3] for order in good.values()})
        # Dead letters.
        buried = set()
        for letter in read(self.letters):
            names = dict(letter["headers"])
            place = tuple(names.get(f"dlq-{name}", b"?").decode() for name in ("topic", "partition", "offset"))
            record = records.get(place)
            if record is None:
                expect(language, f"a dead letter says that it is from {place}", False)
                continue
            buried.add(place)
            kept = Counter(pair for pair in letter["headers"] if not pair[0].startswith("dlq-"))
            # kafkajs cannot write a null header.
            its = [(name, b"" if value is None and language == "javascript" else value) for name, value in record["headers"]]
            expect(language, f"the letter of {place} lost headers: {its} became {letter['headers']}", kept == Counter(its))
            expect(language, f"the letter of {place} has another key", letter["key"] == record["key"])
            expect(language, f"the letter of {place} has another value", letter["value"] == record["value"])
            expect(language, f"the letter of {place} has no reason", names.get("dlq-reason"))
            expect(language, f"the letter of {place} has another group", names.get("dlq-group") == self.group.encode())
            expect(language, f"the letter of {place} has another time", names.get("dlq-timestamp") == str(record["time"]).encode())
        missing, extra = wrong - buried, buried - wrong
        expect(language, f"not buried: {[records[one] for one in list(missing)[:2]]}", not missing)
        expect(language, f"buried, but nothing is wrong with: {[records[one] for one in list(extra)[:2]]}", not extra)
        said = log(language)
        expect(language, "it never had to try again", "again in" in said)
        return f"{language}: {told.total()} orders once each, {len(buried)} records buried, {said.count('again in ')} times tried again"


def read(topic):
    """All of a topic's records."""
    consumer = Consumer({"bootstrap.servers": KAFKA, "group.id": f"check-{uuid.uuid4()}", "enable.auto.commit": False})
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        ends = {one: consumer.get_watermark_offsets(TopicPartition(topic, one), timeout=30) for one in partitions}
        for one, (low, high) in ends.items():
            if low == high:
                continue
            consumer.assign([TopicPartition(topic, one, low)])
            while (message := consumer.poll(30)) is not None:
                if message.error():
                    raise KafkaException(message.error())
                yield {
                    "place": (topic, str(one), str(message.offset())),
                    "key": message.key(), "value": message.value(), "time": message.timestamp()[1],
                    "headers": [(name, value) for name, value in message.headers() or []],
                }
                if message.offset() + 1 >= high:
                    break
            else:
                raise TimeoutError(f"{topic}/{one} ends before {high}")
    finally:
        consumer.close()


def event_of(record):
    """Source and id of a record of walpost's, in either mode."""
    headers = dict(record["headers"])
    if headers.get("content-type", b"").startswith(b"application/cloudevents"):
        try:
            event = json.loads(record["value"])
            return event["source"], event["id"]
        except (KeyError, TypeError, ValueError):
            return None
    return headers.get("ce_source", b"").decode(), headers.get("ce_id", b"").decode(errors="replace")


def restart_postgres():
    folder = f"{ROOM}/inventory-postgres"
    script = f"{os.environ['REPO']}/deploy/dev/postgres"
    subprocess.run([script, "stop", "--dir", folder], check=True)
    time.sleep(3)
    subprocess.run([script, "start", "--dir", folder], check=True, stderr=subprocess.DEVNULL)


def main():
    topics = [NewTopic(TOPIC, 3), *(NewTopic(f"inventory-{language}.dead-letters", 1) for language in LANGUAGES)]
    for future in admin.create_topics(topics).values():
        future.result()
    inventories = [Inventory(language) for language in LANGUAGES]
    relay, orders = Relay(), Orders(inventories)
    relay.run("binary")
    orders.start()
    for inventory in inventories:
        inventory.run()
    for inventory in inventories:
        until(f"{inventory.language} handles orders", lambda: inventory.handled() > 10)
    until("orders are placed", lambda: len(orders.good) > 60)

    say("records that are no orders, among the orders")
    wrong_here = strangers(orders)

    say("a locked table, then Postgres down for 3 s; walpost killed meanwhile, and on in structured mode")
    members = {one: until(f"the group of {one.language}", one.members) for one in inventories}
    locks = [
        psycopg.connect(host="127.0.0.1", port=INVENTORY, user="postgres", dbname=one.database, options="-c statement_timeout=0")
        for one in inventories
    ]
    for lock in locks:
        lock.execute("lock table stock")
    relay.kill()
    relay.run("structured")
    # Longer than the statement's time.
    for inventory in inventories:
        until(f"{inventory.language} tries again", lambda: "again in" in log(inventory.language))
    for lock in locks:
        lock.rollback()
        lock.close()
    restart_postgres()
    for inventory in inventories:
        before = inventory.handled()
        until(f"{inventory.language} goes on", lambda: inventory.handled() > before + 5)
        expect(inventory.language, "it lost its partitions while it waited", inventory.members() == members[inventory])

    say("a second consumer for each group, and the first one killed")
    for inventory in inventories:
        inventory.run()
    for inventory in inventories:
        until(f"the second in {inventory.language}", lambda: len(inventory.members() or ()) == 2)
    for inventory in inventories:
        end(inventory.processes.pop(0), signal.SIGKILL)
    relay.kill()
    relay.run("binary")
    for inventory in inventories:
        until(f"{inventory.language} alone", lambda: len(inventory.members() or ()) == 1)
        inventory.run()

    say("every order again")
    relay.replay()
    orders.stopping.set()
    orders.join()
    if orders.error:
        raise orders.error
    events = {order[3] for order in orders.good.values()} | orders.bad
    def delivered():
        nonlocal records
        records = {record["place"]: record for record in read(TOPIC)}
        return events <= {event_of(record) for record in records.values()}
    records = {}
    until("every order is in Kafka", delivered)
    ends = Counter(int(place[1]) for place in records)
    for inventory in inventories:
        while left := inventory.behind(ends):
            until(f"{inventory.language} has read more, or all, of its last {left}", lambda: inventory.behind(ends) < left)

    say("the end of the orders: comparing")
    sent = Counter(event_of(record) for record in records.values())
    repeats = sum(sent[event] - 1 for event in events)
    expect("walpost", f"only {repeats} repeats", repeats >= len(events) * 0.9)
    modes = Counter(dict(record["headers"]).get("content-type", b"")[:24] for record in records.values())
    expect("walpost", f"modes: {modes}", modes[b"application/json"] > 50 and modes[b"application/cloudevents+"] > 50)
    wrong = {
        record["place"] for record in records.values()
        if event_of(record) in orders.bad or (record["key"], record["value"]) in wrong_here
    }
    said = [inventory.check(orders, records, wrong) for inventory in inventories]
    for inventory in inventories:
        for process in inventory.processes:
            code = end(process, signal.SIGTERM)
            # A JVM says so when a signal ended it in order.
            expect(inventory.language, f"SIGTERM ended it with {code}", code in (0, 143))
        state = admin.describe_consumer_groups([inventory.group])[inventory.group].result().state
        expect(inventory.language, f"the group is {state} after all have left", state == ConsumerGroupState.EMPTY)
    relay.kill()
    if failures:
        for failure in failures:
            say(failure)
        sys.exit(1)
    say(f"{len(orders.good)} orders and {repeats} repeats, in both modes")
    for line in said:
        say(line)


try:
    main()
except Exception as error:
    for name in ("walpost", *LANGUAGES):
        say(f"the last lines of {name}:")
        print("".join(log(name).splitlines(keepends=True)[-15:]), file=sys.stderr)
    for failure in failures:
        say(failure)
    raise error
