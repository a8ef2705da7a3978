"""Fills an outbox, has a real walpost relay it in both modes, and compares what the SDKs read with the rows.

Called by deploy/test-tools/sdk, which starts and stops everything around it.
"""

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

REPOSITORY, ROOM, WALPOST, MODULES, *LANGUAGES = sys.argv[1:]
PYTHON = sys.executable
READERS = {
    "python": [PYTHON, f"{REPOSITORY}/tests/sdk/python/read.py"],
    "javascript": ["node", f"{REPOSITORY}/tests/sdk/javascript/read.js"],
}
ID = "00000000-0000-4000-8000-{:012}"
DEEP = "[" * 60 + "]" * 60

# Number, payload as SQL text, what the rest of the row says. `payload` is text, so that its bytes are known.
ROWS = [
    {"payload": '{"orderId": 7, "total": 12.30}', "subject": "42"},
    {"payload": '  {"outer": "space"}  ', "subject": "42é"},
    {"payload": '{"big": 12345678901234567890123, "exact": 1.10}', "subject": "numbers"},
    {"payload": f'{{"deep": {DEEP}}}', "subject": "deep"},
    {"payload": json.dumps({"long": "x" * 70_000}), "subject": "long"},
    {"payload": '"text"', "subject": "string"},
    {"payload": "null", "subject": "json-null"},
    {"payload": '{"tenant": true}', "subject": "t", "tenant_id": "acme", "correlation_id": "c-1", "causation_id": "c-0"},
    {"payload": "{}", "subject": "trace", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    {"payload": "{}", "subject": "schema", "dataschema": "https://example.com/schemas/order.json"},
    {"payload": None, "subject": "null"},
]
COLUMNS = ["tenant_id", "correlation_id", "causation_id", "traceparent", "dataschema"]
EXTENSIONS = {"tenant_id": "tenantid", "correlation_id": "correlationid", "causation_id": "causationid", "traceparent": "traceparent", "dataschema": "dataschema"}

# What an SDK cannot do, and is therefore expected: (language, mode, subject) -> what is different.
CANNOT = {
    ("javascript", "binary", "null"): "error",  # a tombstone: "Value is null or undefined"
}
# JavaScript's numbers are doubles, so these are compared as such.
LOSSY_NUMBERS = {"javascript"}
# Cut to milliseconds.
MILLISECONDS = {"javascript"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, **options)


def quoted(value):
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def relay(where, settings, postgres, bootstrap, fill, wanted):
    """Runs walpost until `wanted` events of its topic are there; `fill` inserts the rows once it streams."""
    database, topic = where
    http, log_name = free_port(), f"{ROOM}/{database}.log"
    environment = {
        "DATABASE_URL": f"postgres://postgres@127.0.0.1:{postgres}/{database}",
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "WALPOST_HTTP_ADDR": f"127.0.0.1:{http}",
        # kafkajs has no decoder of lz4, walpost's default, unless one is plugged in.
        "KAFKA_PROP_COMPRESSION_TYPE": "gzip",
        **settings,
    }
    with open(log_name, "w", encoding="utf-8") as log:
        walpost = subprocess.Popen([WALPOST, "run"], env=environment, stdout=log, stderr=log)
    try:
        wait(lambda: 'state="streaming"} 1' in metrics(http), f"walpost streams {database}", log_name)
        fill()
        counted = f'topic="{topic}"}} {wanted}\n'
        wait(lambda: counted in metrics(http), f"{wanted} events of {database}", log_name)
    finally:
        walpost.terminate()
        walpost.wait(60)


def metrics(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def wait(condition, what, log_name):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    sys.exit(f"waited for: {what}\n" + open(log_name, encoding="utf-8").read())


def expected_data(row, language):
    if row["payload"] is None:
        return None
    as_number = float if language in LOSSY_NUMBERS else None
    return json.loads(row["payload"], parse_int=as_number, parse_float=as_number)


def found_data(line, language):
    if "base64" in line:
        text = base64.b64decode(line["base64"]).decode()
        return json.loads(text) if text else None
    if language in LOSSY_NUMBERS:
        return json.loads(json.dumps(line["json"]), parse_int=float)
    return line["json"]


def compare(language, mode, lines, rows, source):
    mistakes = []
    by_subject = {line.get("attributes", {}).get("subject", line.get("key")): line for line in lines}
    for number, row in enumerate(rows):
        subject = row["subject"]
        line = by_subject.get(subject)
        where = f"{language}, {mode}, {subject}"
        if line is None:
            mistakes.append(f"{where}: not read")
            continue
        if CANNOT.get((language, mode, subject)) == "error":
            if "error" not in line:
                mistakes.append(f"{where}: can be read after all; take it off the list")
            continue
        if "error" in line:
            mistakes.append(f"{where}: {line['error']}")
            continue
        attributes = line["attributes"]
        wanted = {"id": ID.format(number), "source": source, "type": "order.placed", "subject": subject, "specversion": "1.0"}
        if row["payload"] is not None:
            wanted["datacontenttype"] = "application/json"
        wanted |= {EXTENSIONS[c]: row[c] for c in COLUMNS if row.get(c)}
        for name, value in wanted.items():
            if attributes.get(name) != value:
                mistakes.append(f"{where}: {name} is {attributes.get(name)!r}, expected {value!r}")
        stamp = attributes.get("time", "")
        digits = 3 if language in MILLISECONDS else 6
        if not (stamp.endswith("Z") and "T" in stamp and len(stamp.split(".")[-1]) in (digits + 1, len(stamp))):
            mistakes.append(f"{where}: time is {stamp!r}")
        if found_data(line, language) != expected_data(row, language):
            mistakes.append(f"{where}: data is not the payload")
    return mistakes


def main():
    postgres, kafka = free_port(), 0
    while not kafka or kafka == 65535:
        kafka = free_port()
    bootstrap = f"127.0.0.1:{kafka}"
    run(f"{REPOSITORY}/deploy/dev/postgres", "start", "--major", "18", "--port", str(postgres), "--dir", f"{ROOM}/postgres", "--with-parent", str(os.getpid()))
    run(f"{REPOSITORY}/deploy/dev/kafka", "start", "--port", str(kafka), "--dir", f"{ROOM}/kafka", "--with-parent", str(os.getpid()))

    def sql(text, database="postgres"):
        run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(postgres), "-U", "postgres", "-d", database, "-f", "-", input=text, stdout=subprocess.DEVNULL)

    topics = []
    for mode in ("binary", "structured"):
        for shape in (debeziums_table, own_table, every_role):
            database = f"{shape.__name__}_{mode}"
            sql(f"CREATE DATABASE {database}")
            topic, settings, rows, source, table, insert = shape(mode)
            source = source or f"/{database}/public/outbox"
            sql(table, database)
            relay((database, topic), {"WALPOST_CE_MODE": mode, **settings}, postgres, bootstrap, lambda: sql(insert, database), len(rows))
            # The default slot's name is one for the whole server.
            sql("SELECT pg_drop_replication_slot('walpost')", database)
            topics.append((database, mode, topic, rows, source))
    mistakes, read = [], 0
    for language in LANGUAGES:
        for database, mode, topic, rows, source in topics:
            environment = {**os.environ, "NODE_PATH": f"{MODULES}/node_modules"}
            printed = run(*READERS[language], bootstrap, topic, str(len(rows)), stdout=subprocess.PIPE, env=environment).stdout
            lines = [json.loads(line) for line in printed.splitlines()]
            found = compare(language, mode, lines, rows, source)
            print(f"{language}, {database}: {len(lines)} events read, {len(found)} mistakes")
            mistakes += found
            read += len(lines)
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    wanted = sum(len(rows) for _, _, _, rows, _ in topics) * len(LANGUAGES)
    sys.exit(1 if mistakes or read != wanted else 0)


def values(rows, *of_row):
    return ",\n".join("(" + ", ".join(quoted(v) for v in [ID.format(n), *(get(row) for get in of_row)]) + ")" for n, row in enumerate(rows))


def debeziums_table(mode):
    """Debezium's outbox table, with no setting besides the mode. Its payload is jsonb, which prints itself anew."""
    rows = [row for row in ROWS if row["subject"] in ("42", "42é", "numbers", "string", "json-null")]
    kind = f"order_{mode}"
    inserted = values(rows, lambda _: kind, lambda row: row["subject"], lambda _: "order.placed", lambda row: row["payload"])
    table = "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text NOT NULL, aggregateid text NOT NULL, type text NOT NULL, payload jsonb)"
    return f"outbox.event.{kind}", {}, rows, None, table, f"INSERT INTO outbox VALUES {inserted}"


def own_table(mode):
    """A table of one's own, which needs only the topic."""
    rows = [row for row in ROWS if row["subject"] in ("42", "42é", "numbers", "deep", "long")]
    inserted = values(rows, lambda row: row["subject"], lambda _: "order.placed", lambda row: row["payload"], lambda _: "2026-11-21T10:00:00.123456Z")
    table = "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregate_id text NOT NULL, type text NOT NULL, payload json, created_at timestamptz)"
    return f"own.{mode}", {"WALPOST_TOPIC": f"own.{mode}"}, rows, None, table, f"INSERT INTO outbox VALUES {inserted}"


def every_role(mode):
    """A text payload, and a column for each extension."""
    of_row = [lambda row: row["subject"], lambda row: row["payload"], lambda _: "order.placed"]
    of_row += [lambda row, column=column: row.get(column) for column in COLUMNS]
    names = ["id", "aggregate_id", "payload", "type", *COLUMNS]
    table = f"CREATE TABLE outbox (id uuid PRIMARY KEY, {', '.join(name + ' text' for name in names[1:])})"
    settings = {"WALPOST_TOPIC": f"roles.{mode}", "WALPOST_CE_SOURCE": "https://orders.example.com"}
    insert = f"INSERT INTO outbox ({', '.join(names)}) VALUES {values(ROWS, *of_row)}"
    return f"roles.{mode}", settings, ROWS, settings["WALPOST_CE_SOURCE"], table, insert


main()
