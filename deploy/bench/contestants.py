"""Those who drain a slot: each with a slot of its own that was made before the rows, and the same publication.

A contestant has the names of its slots, and `drain`, which returns what it took: seconds from the first record to the
last and from the start of the program, CPU of the tool, the walsenders and the broker, and the tool's peak of memory.
"""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from records import check, consumer_of, delete_topic, length, make_topic
from servers import free_ports
from settings import CLIENTS, MORE
from schemas import SCHEMAS
from watch import Watch, cpu


class PgRecvlogical:
    """Postgres' own reader, which writes the stream to /dev/null: no Kafka."""

    def slots(self, name):
        return [name]

    def drain(self, servers, name, end, ids):
        command = [CLIENTS / "pg_recvlogical", "-d", servers.url(), "-S", name, "--start", "--no-loop", "-v",
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


class Walpost:
    def __init__(self, environment=None, shards=1, tls=False, schema=None):
        self.environment, self.shards, self.tls, self.schema = environment or {}, shards, tls, schema

    def slots(self, name):
        return [name] if self.shards == 1 else [f"{name}_{shard}" for shard in range(self.shards)]

    def settings(self, servers, name, port=0):
        environment = {
            "DATABASE_URL": servers.url(), "KAFKA_BOOTSTRAP_SERVERS": servers.bootstrap, "WALPOST_NAME": name,
            "WALPOST_SLOT": name, "WALPOST_TOPIC": name + ".{aggregate_type}", "WALPOST_DLQ_TOPIC": name + ".dlq",
            "WALPOST_HTTP_ADDR": f"127.0.0.1:{servers.http_port + port}", "WALPOST_LOG": "info",
            "WALPOST_LOG_FORMAT": "json", **self.environment, **MORE,
        }
        if self.shards > 1:
            environment["WALPOST_SHARDS"] = str(self.shards)
        if self.schema:
            environment |= {"WALPOST_REGISTRY_URL": servers.registry, "WALPOST_REGISTRY_SUBJECT": self.schema,
                            "WALPOST_REGISTRY_MODE": SCHEMAS[self.schema][0]}
        if self.tls:
            environment |= {"DATABASE_URL": servers.url_tls(), "KAFKA_BOOTSTRAP_SERVERS": servers.bootstrap_tls,
                            "KAFKA_SECURITY_PROTOCOL": "SSL",
                            "KAFKA_SSL_CA_LOCATION": str(servers.certificates / "ca.pem")}
        return environment

    def start(self, servers, name, log, port=0):
        # A benchmark that gives up leaves no walpost behind.
        command = ["setpriv", "--pdeathsig", "KILL", servers.walpost, "run"]
        return subprocess.Popen(command, env={**self.settings(servers, name, port), "PATH": os.environ["PATH"]},
                                stdout=log, stderr=log)

    def stop(self, process, log):
        process.send_signal(signal.SIGTERM)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            log.flush()
            raise SystemExit(f"walpost ended with status {status}; it said:\n{Path(log.name).read_text()[-4000:]}")
        return usage

    def drain(self, servers, name, end, ids):
        with open(servers.folder / f"{name}.log", "w") as log:
            consumer, topic = consumer_of(servers), f"{name}.order"
            make_topic(servers, consumer, topic)
            if "WALPOST_DELIVERY" in self.environment:
                # A slot without a checkpoint waits for a person's word in exactly-once.
                place = servers.sql(f"select confirmed_flush_lsn from pg_replication_slots where slot_name = '{name}'")
                subprocess.run([servers.walpost, "checkpoint", "set", "--resume-lsn", place, "--yes"], check=True,
                               stdout=log, env=self.settings(servers, name))
            started = time.time()
            process = self.start(servers, name, log)
            watch = Watch(servers, process.pid)
            wait_for(consumer, topic, len(ids), lambda: process.poll() is None, log)
            usage = self.stop(process, log)
            measured = watch.finish()
        first, last = check(consumer, topic, ids)
        consumer.close()
        delete_topic(servers, topic)
        return {"seconds": last - first, "seconds_with_start": last - started,
                "cpu": usage.ru_utime + usage.ru_stime, **measured}


class Debezium:
    """Debezium's Postgres connector with its outbox event router, in a Kafka Connect of its own."""

    # For throughput, and without the headers of lineage, which nobody else here writes.
    TUNED = {"max.batch.size": "20480", "max.queue.size": "81920", "poll.interval.ms": "10",
             "producer.override.linger.ms": "20", "producer.override.batch.size": "1000000",
             "producer.override.compression.type": "lz4", "extended.headers.enabled": "false"}

    def __init__(self, tuned):
        self.tuned = tuned

    def slots(self, name):
        return [name]

    def settings(self, servers, name):
        settings = {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector", "plugin.name": "pgoutput",
            "database.hostname": "127.0.0.1", "database.port": str(servers.port), "database.user": "postgres",
            "database.password": "postgres", "database.dbname": "postgres", "topic.prefix": name,
            "table.include.list": "public.outbox", "slot.name": name, "publication.name": "walpost",
            "publication.autocreate.mode": "disabled", "snapshot.mode": "no_data", "tombstones.on.delete": "false",
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.storage.StringConverter",
            "transforms": "outbox", "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
            "transforms.outbox.route.topic.replacement": name + ".${routedByValue}",
        }
        return settings | (self.TUNED if self.tuned else {})

    def drain(self, servers, name, end, ids):
        consumer, topic = consumer_of(servers), f"{name}.order"
        make_topic(servers, consumer, topic)
        folder, port = Path(f"{servers.folder}-connect-{name}"), free_ports(1)
        own = [f"group.id={name}", *(f"{kind}.storage.topic={name}.{kind}" for kind in ("offset", "config", "status"))]
        heap = "-Xms2g -Xmx2g -XX:+UseParallelGC" if self.tuned else "-Xms256m -Xmx2g"
        started = time.time()
        servers.script("connect", "start", "--port", str(port), "--dir", folder, "--kafka", servers.bootstrap,
                       "--with-parent", str(os.getpid()), "--temporary", "--", *own, CONNECT_DEV_JVM=heap)
        pid = int((folder / "pid").read_text())
        watch = Watch(servers, pid)
        configure(f"http://127.0.0.1:{port}/connectors/{name}/config", self.settings(servers, name))
        wait_for(consumer, topic, len(ids), lambda: Path(f"/proc/{pid}").exists(), folder / "log")
        used = cpu(pid)
        measured = watch.finish()
        # Killed: what it does after the last record is not measured.
        servers.script("connect", "kill", "--dir", folder)
        first, last = check(consumer, topic, ids)
        consumer.close()
        delete_topic(servers, topic)
        return {"seconds": last - first, "seconds_with_start": last - started, "cpu": used, **measured}


def configure(url, settings):
    """Gives Kafka Connect the connector; it answers 409 while it deals out the work, 404 before it knows its group."""
    for _ in range(100):
        asked = urllib.request.Request(url, json.dumps(settings).encode(), {"Content-Type": "application/json"},
                                       method="PUT")
        try:
            urllib.request.urlopen(asked, timeout=90).close()
            return
        except urllib.error.HTTPError as error:
            refusal = f"{error} {error.read().decode()[:2000]}"
            time.sleep(0.5)
    raise SystemExit(f"Kafka Connect refuses the connector: {refusal}")


def wait_for(consumer, topic, count, lives, log):
    """Waits until the topic has so many records, by asking Kafka four times a second."""
    begun, seen = time.time(), 0
    while (seen := length(consumer, topic)) < count:
        if time.time() > begun + 120 + count / 3_000 or not lives():
            text = Path(getattr(log, "name", log)).read_text()[-4000:]
            raise SystemExit(f"{seen} of {count} rows are in {topic}; its relay said:\n{text}")
        time.sleep(0.25)


CONTESTANTS = {
    "pg_recvlogical": PgRecvlogical(),
    "walpost": Walpost(),
    "walpost-exactly-once": Walpost({"WALPOST_DELIVERY": "exactly-once"}),
    "walpost-structured": Walpost({"WALPOST_CE_MODE": "structured"}),
    "walpost-tls": Walpost(tls=True),
    "walpost-2-shards": Walpost(shards=2),
    **{f"walpost-{schema}": Walpost(schema=schema) for schema in SCHEMAS},
    "debezium": Debezium(tuned=False),
    "debezium-tuned": Debezium(tuned=True),
}
