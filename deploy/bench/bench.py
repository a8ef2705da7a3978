"""The measuring part of deploy/bench/run, which says what is measured and starts this with everything installed.

Fair by construction: one set of rows, one publication, the same options; each drain has a slot of its own, made
before the rows; the order of the two tools alternates from run to run; medians are reported.

How the numbers come about:
- pg_recvlogical: from "streaming initiated" in its own log to its end, which --endpos brings about.
- walpost: from its start, or from the first record, to the last record; both by the broker's clock at the append
  (message.timestamp.type=LogAppendTime), which is this machine's, so that nothing has to be polled meanwhile.
- CPU of the tool by wait4(2); of walsender and broker from /proc, sampled; memory is the kernel's high-water mark.
- latency: pgbench stamps the row with clock_timestamp() inside the INSERT that it commits; a consumer subtracts
  that from its own clock when it has the record.
Every drain is checked: each id of the table is in Kafka, exactly once.
"""

import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

REPOSITORY, CLIENTS = Path(sys.argv[1]), Path(sys.argv[2])
ROWS = int(os.environ.get("ROWS", "1000000"))
RUNS = int(os.environ.get("RUNS", "3"))
SHAPES = os.environ.get("SHAPES", "100 1").split()
TOOLS = os.environ.get("TOOLS", "walpost pg_recvlogical").split()
RATE = int(os.environ.get("RATE", "1000"))
LATENCY_SECONDS = int(os.environ.get("SECONDS_OF_LATENCY", "20"))
WALPOST = os.environ["WALPOST"]
SHARDS = int(os.environ.get("SHARDS", "1"))
MORE = dict(pair.split("=", 1) for pair in os.environ.get("ENVIRONMENT", "").split())
PARTITIONS = 4
TICK = os.sysconf("SC_CLK_TCK")

# Like an order: about 362 bytes as text.
PAYLOAD = """jsonb_build_object(
    'orderId', n, 'customer', 'customer-' || n % 50000, 'currency', 'EUR', 'total', (n % 100000) / 100.0,
    'placedAt', '2026-01-01T12:00:00Z', 'note', repeat('abcdefghij', 14),
    'items', jsonb_build_array(jsonb_build_object('sku', 'A-' || n % 1000, 'quantity', n % 9 + 1),
                               jsonb_build_object('sku', 'B-' || n % 1000, 'quantity', 1)))"""
INSERT = "insert into outbox (aggregatetype, aggregateid, type, payload) "
SELECT = f"select 'order', 'customer-' || n % 10000, 'OrderPlaced', {PAYLOAD} from generate_series("


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def free_ports(count, taken=set()):
    """The first of neighbouring ports below the kernel's ephemeral range that nobody listens on."""
    for first in range(20_000 + os.getpid() % 10_000, 32_000):
        ports = range(first, first + count)
        try:
            for port in ports:
                with socket.socket() as listener:
                    listener.bind(("127.0.0.1", port))
        except OSError:
            continue
        if taken.isdisjoint(ports):
            taken.update(ports)
            return first
    raise SystemExit("no free port between 20000 and 32000 on 127.0.0.1")


class Servers:
    """Postgres 15 and Kafka, which end with this process."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="walpost-bench-"))
        # Beside it, so that each guard of deploy/dev removes the folder of its own server, however this ends.
        self.postgres, self.kafka = Path(f"{self.folder}-postgres"), Path(f"{self.folder}-kafka")
        # The broker's controller takes the port after its own.
        self.port, self.kafka_port, self.http_port = free_ports(1), free_ports(2), free_ports(1)
        owner = ["--with-parent", str(os.getpid()), "--temporary"]
        # No waiting for the disk, and no checkpoint in the middle: both would be noise of the machine.
        settings = ["fsync=off", "max_wal_size=20GB", "checkpoint_timeout=1h", "shared_buffers=256MB", "autovacuum=off",
                    "max_replication_slots=50", "logical_decoding_work_mem=256MB", "wal_sender_timeout=60s"]
        self.script("postgres", "start", "--major", "15", "--port", str(self.port), "--dir", self.postgres,
                    *owner, *(word for setting in settings for word in ("-c", setting)))
        self.script("kafka", "start", "--port", str(self.kafka_port), "--dir", self.kafka, *owner,
                    "--", "log.message.timestamp.type=LogAppendTime", "auto.create.topics.enable=false")
        self.bootstrap = f"127.0.0.1:{self.kafka_port}"
        self.postmaster = int((self.postgres / "data/postmaster.pid").read_text().split()[0])
        self.broker = int((self.kafka / "pid").read_text())
        # A copy: a build that goes on beside the measurement must not change what is measured.
        self.walpost = shutil.copy(WALPOST, self.folder / "walpost")
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})

    def script(self, name, *arguments):
        environment = {**os.environ, "KAFKA_DEV_JVM": "-Xms512m -Xmx1g"}
        subprocess.run([REPOSITORY / "deploy/dev" / name, *arguments], check=True, env=environment)

    def sql(self, *statements):
        words = [word for statement in statements for word in ("-c", statement)]
        out = subprocess.run([CLIENTS / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", self.url(), *words],
                             check=True, stdout=subprocess.PIPE, text=True)
        return out.stdout.strip()

    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def stop(self):
        self.script("postgres", "kill", "--dir", self.postgres)
        self.script("kafka", "kill", "--dir", self.kafka)
        shutil.rmtree(self.folder, ignore_errors=True)

    def walsenders(self):
        """The process ids of the walsenders; one, or one a shard."""
        found = set()
        children = Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split()
        for child in children:
            try:
                if b"walsender" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.add(int(child))
            except OSError:
                pass
        return found


def cpu(pid):
    """Seconds of CPU, user and system, that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Watch(threading.Thread):
    """Samples a tool's memory and the walsender's CPU, which are gone when the processes are."""

    def __init__(self, servers, pid):
        super().__init__(daemon=True)
        self.servers, self.pid = servers, pid
        self.memory, self.walsender_cpu, self.over = 0, 0.0, False
        self.broker_before = cpu(servers.broker)
        self.start()

    def run(self):
        used = {}
        while not self.over:
            try:
                status = Path(f"/proc/{self.pid}/status").read_text()
                self.memory = max(self.memory, int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024)
            except (OSError, TypeError):
                pass
            for sender in used.keys() | (set() if len(used) >= SHARDS else self.servers.walsenders()):
                try:
                    used[sender] = cpu(sender)
                except OSError:
                    pass
            self.walsender_cpu = sum(used.values())
            time.sleep(0.02)

    def finish(self):
        self.over = True
        self.join()
        return {"memory": self.memory, "walsender_cpu": self.walsender_cpu,
                "broker_cpu": cpu(self.servers.broker) - self.broker_before}


def slots_of(name):
    """The slots of a drain: one, or one a shard."""
    sharded = SHARDS > 1 and not name.startswith("pg_recvlogical")
    return [f"{name}_{shard}" for shard in range(SHARDS)] if sharded else [name]


def make_slot(servers, name):
    for slot in slots_of(name):
        servers.sql(f"select pg_create_logical_replication_slot('{slot}', 'pgoutput')")


def make_publications(servers):
    """The publication, and those of the shards as walpost writes them."""
    servers.sql("create publication walpost for table outbox "
                "with (publish = 'insert', publish_via_partition_root = true)")
    if SHARDS > 1:
        setup = [servers.walpost, "setup", "--shards", str(SHARDS), "--apply", "--role", "bench"]
        subprocess.run(setup, env={"DATABASE_URL": servers.url()}, check=True, stdout=subprocess.DEVNULL)


def drop_slot(servers, name):
    for _ in range(100):
        try:
            for slot in slots_of(name):
                servers.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                            f"where slot_name = '{slot}'")
            return
        except subprocess.CalledProcessError:
            time.sleep(0.1)
    raise SystemExit(f"slot {name} is still active")


def write_rows(servers, shape):
    servers.sql("truncate outbox")
    each = ROWS if shape == "all" else int(shape)
    begin = time.time()
    servers.sql(f"""do $$ begin
        for start in 1..{ROWS} by {each} loop
            {INSERT} {SELECT}start, least(start + {each - 1}, {ROWS})) n;
            commit;
        end loop; end $$""")
    length = servers.sql("select round(avg(octet_length(payload::text))) from outbox")
    say(f"{ROWS} rows, {shape} a transaction, {length} bytes of payload, written in {time.time() - begin:.1f} s")
    return servers.sql("select pg_current_wal_lsn()")


def drain_pg_recvlogical(servers, slot, end):
    command = [CLIENTS / "pg_recvlogical", "-d", servers.url(), "-S", slot, "--start", "--no-loop", "-v",
               "-f", "/dev/null", "-o", "proto_version=1", "-o", "publication_names=walpost", "--endpos", end]
    started = time.time()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    watch = Watch(servers, process.pid)
    streaming = None
    for line in process.stderr:
        if "streaming initiated" in line:
            streaming = time.time()
    _, status, usage = os.wait4(process.pid, 0)
    ended = time.time()
    if status != 0 or streaming is None:
        raise SystemExit(f"pg_recvlogical ended with status {status}")
    return {"seconds": ended - streaming, "seconds_with_start": ended - started,
            "cpu": usage.ru_utime + usage.ru_stime, **watch.finish()}


def make_topic(servers, consumer, name):
    topic = f"{name}.order"
    for future in servers.admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        future.result()
    length(consumer, topic)
    return topic


def start_walpost(servers, name, log):
    environment = {
        "DATABASE_URL": servers.url(), "KAFKA_BOOTSTRAP_SERVERS": servers.bootstrap, "WALPOST_NAME": name,
        "WALPOST_SLOT": name, "WALPOST_TOPIC": name + ".{aggregate_type}", "WALPOST_DLQ_TOPIC": name + ".dlq",
        "WALPOST_HTTP_ADDR": f"127.0.0.1:{servers.http_port}", "WALPOST_LOG": "info",
        "WALPOST_SHARDS": str(SHARDS), **MORE,
    }
    return subprocess.Popen([servers.walpost, "run"], env=environment, stdout=log, stderr=log)


def stop_walpost(process, log):
    process.send_signal(signal.SIGTERM)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        log.flush()
        raise SystemExit(f"walpost ended with status {status}; it said:\n{Path(log.name).read_text()[-4000:]}")
    return usage


def drain_walpost(servers, slot, ids):
    with open(servers.folder / f"{slot}.log", "w") as log:
        consumer = consumer_of(servers)
        topic = make_topic(servers, consumer, slot)
        started = time.time()
        process = start_walpost(servers, slot, log)
        watch = Watch(servers, process.pid)
        deadline = started + 60 + ROWS / 5_000
        while (count := length(consumer, topic)) < len(ids):
            if time.time() > deadline or process.poll() is not None:
                process.kill()
                text = Path(log.name).read_text()[-4000:]
                raise SystemExit(f"walpost relayed {count} of {len(ids)} rows; it said:\n{text}")
            time.sleep(0.25)
        usage = stop_walpost(process, log)
        measured = watch.finish()
    first, last = check(consumer, topic, ids)
    consumer.close()
    for future in servers.admin.delete_topics([topic]).values():
        future.result()
    return {"seconds": last - first, "seconds_with_start": last - started,
            "cpu": usage.ru_utime + usage.ru_stime, **measured}


def consumer_of(servers):
    return Consumer({"bootstrap.servers": servers.bootstrap, "group.id": "bench", "enable.auto.commit": False,
                     "auto.offset.reset": "earliest", "queued.max.messages.kbytes": 262144})


def length(consumer, topic):
    """How many records the topic has; waits for the leaders of a topic that was just made."""
    for _ in range(100):
        try:
            ends = (consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)
                    for number in range(PARTITIONS))
            return sum(end for _, end in ends)
        except KafkaException as error:
            refusal = error
            time.sleep(0.1)
    raise SystemExit(f"Kafka does not say how long {topic} is: {refusal}")


def check(consumer, topic, ids):
    """Reads the topic: every id once. Returns when the first and the last record were appended."""
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    missing, first, last = set(ids), float("inf"), 0.0
    count, end = 0, length(consumer, topic)
    while count < end:
        for message in consumer.consume(10_000, timeout=10):
            if message.error():
                raise SystemExit(f"cannot read {topic}: {message.error()}")
            missing.discard(dict(message.headers())["ce_id"])
            at = message.timestamp()[1] / 1000
            first, last, count = min(first, at), max(last, at), count + 1
    if missing or count != len(ids):
        raise SystemExit(f"{len(missing)} of {len(ids)} rows are not in Kafka, which has {count} records")
    return first, last


def measure_drains(servers, shape):
    slots = [(tool, f"{tool}_{shape}_{run}") for run in range(RUNS) for tool in (TOOLS if run % 2 else TOOLS[::-1])]
    for _, slot in slots:
        make_slot(servers, slot)
    end = write_rows(servers, shape)
    ids = [line.encode() for line in servers.sql("select id from outbox").split()]
    results = {tool: [] for tool in TOOLS}
    for tool, slot in slots:
        if tool == "walpost":
            result = drain_walpost(servers, slot, ids)
        else:
            result = drain_pg_recvlogical(servers, slot, end)
        say(f"{slot}: " + ", ".join(f"{name} {value:,.2f}" for name, value in result.items()))
        results[tool].append(result)
        drop_slot(servers, slot)
    return results


def measure_latency(servers):
    """Commit to consumer at RATE commits a second, in milliseconds; the first two seconds do not count."""
    make_slot(servers, "latency")
    servers.sql("truncate outbox")
    script = servers.folder / "insert.sql"
    stamped = PAYLOAD.replace("'orderId', n", "'stamp', extract(epoch from clock_timestamp()), 'orderId', n")
    script.write_text("\\set n random(1, 1000000)\n" + INSERT + SELECT.replace(PAYLOAD, stamped) + ":n::int, :n::int) n;\n")
    with open(servers.folder / "latency.log", "w") as log:
        consumer = consumer_of(servers)
        topic = make_topic(servers, consumer, "latency")
        process = start_walpost(servers, "latency", log)
        consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        consumer.poll(1)
        seconds = LATENCY_SECONDS + 2
        writer = subprocess.Popen([CLIENTS / "pgbench", "-n", "-c", "4", "-R", str(RATE), "-T", str(seconds), "-M",
                                   "prepared", "-f", script, servers.url()],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        latencies, quiet, warm, cpu_before = [], None, None, 0.0
        while quiet is None or time.time() < quiet + 2:
            message = consumer.poll(0.2)
            now = time.time()
            if writer.poll() is not None and quiet is None:
                quiet = now
            if message is None or message.error():
                continue
            warm = warm or now + 2
            if now < warm:
                cpu_before = cpu(process.pid)
                continue
            latencies.append((now - json.loads(message.value())["stamp"]) * 1000)
        if writer.returncode != 0:
            raise SystemExit(f"pgbench failed:\n{writer.stdout.read()}")
        used = cpu(process.pid) - cpu_before
        count, rows = length(consumer, topic), int(servers.sql("select count(*) from outbox"))
        consumer.close()
        stop_walpost(process, log)
    if count != rows:
        raise SystemExit(f"{count} of {rows} rows are in Kafka")
    drop_slot(servers, "latency")
    cuts = statistics.quantiles(latencies, n=1000)
    return {"events": len(latencies), "p50_ms": cuts[499], "p99_ms": cuts[989], "max_ms": max(latencies),
            "walpost_cores": used / LATENCY_SECONDS}


def medians(results):
    return {name: statistics.median(result[name] for result in results) for name in results[0]}


def report(drains, latency):
    million = ROWS / 1e6
    print(f"\n{ROWS:,} rows, median of {RUNS}; Postgres 15, Kafka, {os.cpu_count()} cores, {platform.machine()}"
          + (f", {SHARDS} shards" if SHARDS > 1 else "") + "\n")
    print(f"{'rows a tx':>9} {'tool':<15} {'rows/s':>9} {'with start':>10} {'CPU s/M':>8} {'walsender':>9} "
          f"{'broker':>7} {'peak MiB':>8}")
    for shape, results in drains.items():
        for tool, runs in results.items():
            run = medians(runs)
            print(f"{shape:>9} {tool:<15} {ROWS / run['seconds']:>9,.0f} {ROWS / run['seconds_with_start']:>10,.0f} "
                  f"{run['cpu'] / million:>8.2f} {run['walsender_cpu'] / million:>9.2f} "
                  f"{run['broker_cpu'] / million:>7.2f} {run['memory'] / 2**20:>8.0f}")
        if len(results) == 2:
            ratio = {name: medians(results["pg_recvlogical"])[name] / medians(results["walpost"])[name]
                     for name in ("seconds", "seconds_with_start")}
            print(f"{shape:>9} walpost / pg_recvlogical: {ratio['seconds']:.2f}, "
                  f"with start {ratio['seconds_with_start']:.2f}")
    if latency:
        print(f"\ncommit to consumer at {RATE:,} commits/s: p50 {latency['p50_ms']:.1f} ms, p99 {latency['p99_ms']:.1f} "
              f"ms, max {latency['max_ms']:.1f} ms ({latency['events']:,} events; walpost {latency['walpost_cores']:.2f} "
              "cores)")
    print("\nall ids arrived, each once")


def main():
    servers = Servers()
    try:
        servers.sql("""create table outbox (id uuid primary key default gen_random_uuid(), aggregatetype text not null,
            aggregateid text not null, type text not null, payload jsonb,
            created_at timestamptz not null default clock_timestamp())""")
        make_publications(servers)
        drains = {shape: measure_drains(servers, shape) for shape in SHAPES} if TOOLS else {}
        latency = measure_latency(servers) if LATENCY_SECONDS else None
    finally:
        servers.stop()
    target = REPOSITORY / (".dev/bench/result.json" if SHARDS == 1 else f".dev/bench/result-{SHARDS}-shards.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"rows": ROWS, "runs": RUNS, "shards": SHARDS, "cores": os.cpu_count(), "kernel": platform.release(),
                                  "drains": drains, "latency": latency}, indent=1) + "\n")
    report(drains, latency)
    print(f"numbers: {target}")


if __name__ == "__main__":
    main()
