"""Commit to consumer, and below which no relay can come: commit to a reader of the slot, and producer to consumer.

pgbench stamps each row with clock_timestamp() inside the INSERT that it commits; who receives it subtracts that from
the same machine's clock.
"""

import json
import multiprocessing
import re
import statistics
import subprocess
import threading
import time

from confluent_kafka import Producer

import rows
from contestants import CONTESTANTS
from records import assign, consumer_of, length, make_topic
from settings import CLIENTS, LATENCY_SECONDS
from watch import compiling, cpu, say

# What begins does not count: connections, first metadata, plans.
WARM_UP = 2
# A broker is warm when its compiler takes less than this of a core, or after so many rounds.
COMPILED, WARM_UPS = 0.1, 5
# Not a fork, in which the clients of Kafka would lack their threads.
PROCESSES = multiprocessing.get_context("spawn")
STAMP = re.compile(rb'"stamp": ([0-9.]+)')


def write(servers, rate, seconds=LATENCY_SECONDS + WARM_UP):
    script = servers.folder / "insert.sql"
    script.write_text("\\set n random(1, 1000000)\n" + rows.STAMPED)
    clients = "8" if rate > 1_000 else "4"
    return subprocess.Popen([CLIENTS / "pgbench", "-n", "-c", clients, "-j", "2", "-R", str(rate), "-T",
                             str(seconds), "-M", "prepared", "-f", script, servers.url()],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def percentiles(latencies):
    """In milliseconds; and the distribution in steps of a hundredth, for the plot."""
    cuts = statistics.quantiles(latencies, n=1000)
    return {"events": len(latencies), "p50_ms": cuts[499], "p90_ms": cuts[899], "p99_ms": cuts[989],
            "max_ms": max(latencies), "distribution": [cuts[cut] for cut in range(0, 999, 10)]}


def consume(consumer, writer, each=lambda: None):
    """Latencies of what comes, until two seconds after the writer has ended and nothing more comes."""
    latencies, first, heard = [], None, time.time()
    while writer.poll() is None or time.time() < heard + 2:
        message = consumer.poll(0.2)
        now = time.time()
        if message is None or message.error():
            continue
        heard, first = now, first or now
        if now < first + WARM_UP:
            each()
            continue
        latencies.append((now - json.loads(message.value())["stamp"]) * 1000)
    return latencies


# The ways in and out, each alone and both at once.
ALONE = "commit to pg_recvlogical", "producer to consumer"
BOTH = "the former beside the latter", "the latter beside the former"


def of_walpost(servers, rate, name):
    walpost = CONTESTANTS["walpost"]
    rows.make_slot(servers, name)
    servers.sql("truncate outbox")
    with open(servers.folder / f"{name}.log", "w") as log:
        consumer, topic = consumer_of(servers), f"{name}.order"
        make_topic(servers, consumer, topic)
        process = walpost.start(servers, name, log)
        assign(consumer, topic)
        consumer.poll(1)
        writer, before = write(servers, rate), [0.0]

        def remember():
            before[0] = cpu(process.pid)

        latencies = consume(consumer, writer, remember)
        used = cpu(process.pid) - before[0]
        if writer.returncode != 0:
            raise SystemExit(f"pgbench failed:\n{writer.stdout.read()}")
        count, written = length(consumer, topic), int(servers.sql("select count(*) from outbox"))
        consumer.close()
        walpost.stop(process, log)
    if count != written:
        raise SystemExit(f"{count} of {written} rows are in Kafka")
    rows.drop_slot(servers, name)
    return {**percentiles(latencies), "walpost_cores": used / LATENCY_SECONDS}


def of_postgres(servers, rate, name):
    """Writer to pg_recvlogical, which writes each message to a pipe as it comes."""
    rows.make_slot(servers, name)
    reader = subprocess.Popen([CLIENTS / "pg_recvlogical", "-d", servers.url(), "-S", name, "--start", "--no-loop",
                               "-F", "0", "-f", "-", "-o", "proto_version=1", "-o", "publication_names=walpost"],
                              stdout=subprocess.PIPE, bufsize=0)
    writer, latencies, rest, first = write(servers, rate), [], b"", None
    threading.Timer(LATENCY_SECONDS + WARM_UP + 2, reader.terminate).start()
    while chunk := reader.stdout.read(1 << 20):
        now = time.time()
        first, rest = first or now, rest + chunk
        for stamp in STAMP.finditer(rest):
            if now > first + WARM_UP:
                latencies.append((now - float(stamp[1])) * 1000)
            end = stamp.end()
        # A stamp may be cut at the end of a read.
        rest = rest[max(end if STAMP.search(rest) else 0, len(rest) - 40):]
    writer.wait()
    reader.wait()
    rows.drop_slot(servers, name)
    return percentiles(latencies)


def of_kafka(servers, rate, name):
    """A bare producer of librdkafka with walpost's promises, at the same rate, to the consumer."""
    consumer = consumer_of(servers)
    make_topic(servers, consumer, name)
    assign(consumer, name)
    consumer.poll(1)
    producer = Producer({"bootstrap.servers": servers.bootstrap, "enable.idempotence": True, "linger.ms": 0})
    over, pad = threading.Event(), "x" * 340

    class Writer(threading.Thread):
        """What `consume` asks is whether it still runs."""

        def run(self):
            begun, sent = time.time(), 0
            while (now := time.time()) < begun + LATENCY_SECONDS + WARM_UP:
                while sent < (now - begun) * rate:
                    producer.produce(name, json.dumps({"stamp": time.time(), "pad": pad}), key=str(sent % 10_000))
                    sent += 1
                producer.poll(0)
                time.sleep(min(0.001, 1 / rate))
            producer.flush()
            over.set()

        def poll(self):
            return 0 if over.is_set() else None

    writer = Writer(daemon=True)
    writer.start()
    latencies = consume(consumer, writer)
    consumer.close()
    return percentiles(latencies)


def tell(pipe, work, arguments):
    pipe.send(work(*arguments))


def beside(work, *arguments):
    """Does the work in a process of its own, since Python's threads wait for each other. Returns who waits for its result."""
    ours, theirs = PROCESSES.Pipe(duplex=False)
    PROCESSES.Process(target=tell, args=(theirs, work, arguments)).start()
    # Now a process that dies closes the last end of the pipe, and `recv` fails.
    theirs.close()
    return ours.recv


def warm_up(servers, rate):
    """Has the broker compile what it does before anything is measured, since it takes half a core for that while it serves.

    Measured at 1,000 a second: p99 233 ms in the first two seconds of a broker, 19 ms after ten, 5 ms after eighteen;
    whoever came first would pay for it.
    """
    for number in range(WARM_UPS):
        before, began = compiling(servers.broker), time.time()
        of_walpost(servers, rate, f"warm_up_{rate}_{number}")
        share = (compiling(servers.broker) - before) / (time.time() - began)
        say(f"{rate} commits/s: the broker's compiler took {share:.2f} of a core")
        if share < COMPILED:
            return


def measure(servers, rate):
    warm_up(servers, rate)
    measured = {"walpost": of_walpost(servers, rate, f"latency_{rate}"),
                ALONE[0]: of_postgres(servers, rate, f"floor_{rate}"),
                ALONE[1]: of_kafka(servers, rate, f"floor_{rate}")}
    # Each of them alone has the cores for itself, which walpost has not: it does both at once.
    postgres = beside(of_postgres, servers, rate, f"floors_{rate}")
    kafka = of_kafka(servers, rate, f"floors_{rate}")
    return {**measured, BOTH[0]: postgres(), BOTH[1]: kafka}
