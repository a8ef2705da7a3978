"""Starts and takeovers: how long nothing comes.

By the broker's clock at the append, which is this machine's.
"""

import os
import signal
import statistics
import subprocess
import time

import rows
from contestants import CONTESTANTS
from latency import write
from records import consumer_of, event_id, make_topic, read
from settings import CLIENTS, STARTS
from watch import memory, say


def first_event(servers, number):
    """Milliseconds from the start of a program that has run before to its first record, with one row waiting; and what
    Postgres itself takes to send it to pg_recvlogical."""
    name, walpost = f"start_{number}", CONTESTANTS["walpost"]
    for slot in (name, f"{name}_floor"):
        rows.make_slot(servers, slot)
    servers.sql("truncate outbox")
    consumer, topic = consumer_of(servers), f"{name}.order"
    make_topic(servers, consumer, topic)
    with open(servers.folder / f"{name}_before.log", "w") as log:
        before = walpost.start(servers, name, log)
        time.sleep(3)
        walpost.stop(before, log)
    servers.sql(f"{rows.INSERT} {rows.SELECT}1, 1) n")
    begun = time.time()
    reader = subprocess.Popen([CLIENTS / "pg_recvlogical", "-d", servers.url(), "-S", f"{name}_floor", "--start",
                               "--no-loop", "-f", "-", "-o", "proto_version=1", "-o", "publication_names=walpost"],
                              stdout=subprocess.PIPE, bufsize=0)
    reader.stdout.read(1)
    floor = time.time() - begun
    reader.terminate()
    reader.wait()
    with open(servers.folder / f"{name}.log", "w") as log:
        begun = time.time()
        process = walpost.start(servers, name, log)
        while not (found := list(read(consumer, topic))):
            if process.poll() is not None:
                raise SystemExit(f"walpost ended while starting, see {log.name}")
        walpost.stop(process, log)
        consumer.close()
    for slot in (name, f"{name}_floor"):
        rows.drop_slot(servers, slot)
    return (found[0].timestamp()[1] / 1000 - begun) * 1000, floor * 1000


def takeover(servers, number, kill):
    """Milliseconds for which nothing came after `kill` under load, with a second walpost standing by; and how many
    events came twice."""
    name, walpost = f"takeover_{kill.name.lower()}_{number}", CONTESTANTS["walpost"]
    rows.make_slot(servers, name)
    servers.sql("truncate outbox")
    with open(servers.folder / f"{name}.log", "w") as log:
        consumer, topic = consumer_of(servers), f"{name}.order"
        make_topic(servers, consumer, topic)
        leader = walpost.start(servers, name, log)
        time.sleep(3)
        standby = walpost.start(servers, name, log, port=1)
        writer = write(servers, 500, seconds=12)
        time.sleep(4)
        at = time.time()
        leader.send_signal(kill)
        os.wait4(leader.pid, 0)
        writer.wait()
        time.sleep(3)
        walpost.stop(standby, log)
    found = list(read(consumer, topic))
    consumer.close()
    rows.drop_slot(servers, name)
    times = sorted(message.timestamp()[1] / 1000 for message in found)
    # The longest pause that ends after the signal: what was sent before may still be appended.
    gap = max((later - earlier for earlier, later in zip(times, times[1:]) if at < later < at + 10), default=None)
    ids = {event_id(message) for message in found}
    written = int(servers.sql("select count(*) from outbox"))
    if gap is None or len(ids) != written:
        raise SystemExit(f"{len(ids)} of {written} rows came, see {servers.folder / name}.log")
    return gap * 1000, len(found) - len(ids)


def idle_memory(servers):
    """Bytes that walpost takes up when it is caught up and nothing comes."""
    walpost = CONTESTANTS["walpost"]
    rows.make_slot(servers, "idle")
    with open(servers.folder / "idle.log", "w") as log:
        process = walpost.start(servers, "idle", log)
        time.sleep(10)
        idle = memory(process.pid, "VmRSS")
        walpost.stop(process, log)
    rows.drop_slot(servers, "idle")
    return idle


def measure(servers):
    starts = [first_event(servers, number) for number in range(STARTS)]
    say(f"start to first event, and Postgres' own, ms: {starts}")
    result = {"start_ms": statistics.median(start for start, _ in starts),
              "postgres_start_ms": statistics.median(floor for _, floor in starts)}
    for kill in (signal.SIGKILL, signal.SIGTERM):
        takeovers = [takeover(servers, number, kill) for number in range(STARTS)]
        say(f"takeover after {kill.name}, ms and repeats: {takeovers}")
        result[kill.name] = {"gap_ms": statistics.median(gap for gap, _ in takeovers),
                             "worst_gap_ms": max(gap for gap, _ in takeovers),
                             "repeats": max(repeats for _, repeats in takeovers)}
    return {**result, "idle_memory": idle_memory(servers)}
