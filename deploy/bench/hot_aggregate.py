"""The measuring part of deploy/bench/hot-aggregate, which says what is measured and starts this.

Each round has a database, a topic and a relay of its own, with the same rows. That nothing is lost and that order is
kept is checked: every id is there once, and the ids of each line of the hot aggregate come in their order.
A consumer's work is a sleep, taken for a batch at once: real work would measure this machine's processors, which all
consumers share here and would not share in a cluster.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

REPOSITORY = Path(sys.argv[1])
ROWS = int(os.environ.get("ROWS", "50000"))
PARTITIONS = int(os.environ.get("PARTITIONS", "12"))
SUB_KEYS = int(os.environ.get("SUB_KEYS", "64"))
SECONDS = int(os.environ.get("MICROSECONDS", "200")) / 1e6
WALPOST = os.environ["WALPOST"]
OTHERS = ROWS // 50
LINES = 1000
TOPIC = "outbox.event.order"


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def free_ports(count):
    """Neighbours that are free at this moment."""
    for first in range(21000 + os.getpid() % 5000, 31000, count):
        try:
            held = []
            for port in range(first, first + count):
                held.append(socket.socket())
                held[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for one in held:
                one.close()
    sys.exit("no free ports")


def server(room, kind, verb, *arguments):
    command = [REPOSITORY / "deploy/dev" / kind, verb, *arguments, "--dir", room / kind]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def psql(url, statement):
    command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", url, "-c", statement]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def consume(bootstrap, topic, partition, until, found):
    """All records of a partition at a consumer's pace; how long that took."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, 0)])
    records, begun = [], None
    while len(records) < until:
        batch = consumer.consume(500, timeout=1.0)
        if batch and begun is None:
            begun = time.monotonic()
        for record in batch:
            if record.error():
                sys.exit(f"{topic}/{partition}: {record.error()}")
            headers = dict(record.headers())
            records.append((int(headers["ce_id"]), record.key().decode(), headers["ce_subject"].decode()))
        time.sleep(len(batch) * SECONDS)
    found[partition] = (records, 0.0 if begun is None else time.monotonic() - begun)
    consumer.close()


def round_of(room, postgres, bootstrap, name, virtual):
    """Rows through one relay; what each partition has, and how long each consumer took."""
    url = f"postgres://postgres@127.0.0.1:{postgres}/{name}"
    psql(f"postgres://postgres@127.0.0.1:{postgres}/postgres", f"create database {name}")
    topic = f"{name}.order"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    psql(url, "create table outbox (id bigint primary key, aggregatetype text, aggregateid text, type text, payload json, line int)")
    http = free_port()
    environment = {
        "DATABASE_URL": url, "KAFKA_BOOTSTRAP_SERVERS": bootstrap, "WALPOST_HTTP_ADDR": f"127.0.0.1:{http}",
        "WALPOST_TOPIC": f"{name}.{{aggregate_type}}",
        # The names of slots are the server's, not the database's.
        "WALPOST_SLOT": name,
    }
    if virtual:
        environment["WALPOST_VIRTUAL_PARTITIONS"] = f"order/4711={SUB_KEYS}:line"
    with (room / f"{name}.log").open("w") as log:
        relay = subprocess.Popen([WALPOST, "run"], env=environment, stderr=log, stdout=log)
    try:
        wait_for(lambda: ready(http), relay, room / f"{name}.log")
        # Others lie between the hot ones, as they do in life; each line of the order comes again and again.
        psql(url, f"""insert into outbox select n, 'order', case when n % 51 = 0 then 'other-' || n % 200 else '4711' end,
                   'Changed', '{{"quantity": 1}}', n % {LINES} from generate_series(1, {ROWS + OTHERS}) n""")
        ends = []

        def all_there():
            ends[:] = [watermark(bootstrap, topic, partition) for partition in range(PARTITIONS)]
            return sum(ends) >= ROWS + OTHERS

        wait_for(all_there, relay, room / f"{name}.log")
    finally:
        relay.terminate()
        relay.wait(60)
    found = {}
    threads = [
        threading.Thread(target=consume, args=(bootstrap, topic, partition, end, found))
        for partition, end in enumerate(ends)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(found)
    counts = sorted((len(records) for records, _ in found.values()), reverse=True)
    return {
        "keys": len({key for records, _ in found.values() for _, key, subject in records if subject == "4711"}),
        "records_by_partition": counts,
        "busiest": counts[0],
        "skew": round(counts[0] / (sum(counts) / PARTITIONS), 2),
        "consumer_seconds": round(max(seconds for _, seconds in found.values()), 2),
    }


def ready(http):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/readyz", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def wait_for(met, relay, log):
    deadline = time.monotonic() + 300
    while not met():
        if relay.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"walpost did not do it:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


def watermark(bootstrap, topic, partition):
    if "client" not in watermark.__dict__:
        watermark.client = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-watermarks"})
    return watermark.client.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)[1]


def check(found):
    ids = sorted(row for records, _ in found.values() for row, _, _ in records)
    if ids != list(range(1, ROWS + OTHERS + 1)):
        sys.exit(f"{len(ids)} records, and not each row once")
    for records, _ in found.values():
        last = {}
        for row, key, subject in records:
            line = (key, row % LINES if subject == "4711" else None)
            if last.get(line, 0) > row:
                sys.exit(f"row {row} came after row {last[line]} of the same key and line")
            last[line] = row


def main():
    room = Path(tempfile.mkdtemp(prefix="walpost-hot."))
    # Of three neighbours two are Kafka's.
    first = free_ports(3)
    postgres, bootstrap = first, f"127.0.0.1:{first + 1}"
    server(room, "postgres", "start", "--major", "18", "--port", str(postgres), "--with-parent", str(os.getpid()))
    server(room, "kafka", "start", "--port", str(first + 1), "--with-parent", str(os.getpid()))
    try:
        say(f"one key: {ROWS} rows of one aggregate, {OTHERS} of others")
        before = round_of(room, postgres, bootstrap, "before", False)
        say(f"{SUB_KEYS} keys: the same rows")
        after = round_of(room, postgres, bootstrap, "after", True)
    finally:
        for kind in ("postgres", "kafka"):
            subprocess.run([REPOSITORY / "deploy/dev" / kind, "kill", "--dir", room / kind], check=False, stdout=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", room], check=False)
    results = Path(os.environ.get("BENCH_RESULTS", REPOSITORY / ".dev/bench"))
    results.mkdir(parents=True, exist_ok=True)
    settings = {"rows": ROWS, "others": OTHERS, "partitions": PARTITIONS, "sub_keys": SUB_KEYS, "seconds_a_record": SECONDS}
    (results / "hot-aggregate.json").write_text(json.dumps({"settings": settings, "before": before, "after": after}, indent=1) + "\n")
    print(f"{ROWS} events of one aggregate, {OTHERS} of others, {PARTITIONS} partitions, a consumer each, {SECONDS * 1e6:.0f} µs an event\n")
    print("| | one key | virtual partitions |")
    print("| --- | --- | --- |")
    for name, title in (("keys", "keys of the aggregate"), ("busiest", "events in the busiest partition"), ("skew", "that over the mean"), ("consumer_seconds", "seconds until the last consumer is done")):
        print(f"| {title} | {before[name]} | {after[name]} |")


if __name__ == "__main__":
    main()
