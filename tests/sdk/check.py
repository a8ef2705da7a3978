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


def relay(mode, postgres, bootstrap, sql):
    """Runs walpost in one mode until all rows are there; its topic."""
    http, topic = free_port(), f"sdk.{mode}"
    environment = {
        "DATABASE_URL": f"postgres://postgres@127.0.0.1:{postgres}/postgres",
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "WALPOST_SLOT": mode,
        "WALPOST_PUBLICATION": mode,
        "WALPOST_TABLE": f"public.in_{mode}",
        "WALPOST_TOPIC": topic,
        "WALPOST_CE_MODE": mode,
        "WALPOST_CE_SOURCE": "https://orders.example.com",
        "WALPOST_HTTP_ADDR": f"127.0.0.1:{http}",
        # kafkajs has no decoder of lz4, walpost's default, unless one is plugged in.
        "KAFKA_PROP_COMPRESSION_TYPE": "gzip",
    }
    with open(f"{ROOM}/{mode}.log", "w", encoding="utf-8") as log:
        walpost = subprocess.Popen([WALPOST, "run"], env=environment, stdout=log, stderr=log)
    try:
        wait(lambda: 'state="streaming"} 1' in metrics(http), f"walpost streams in {mode} mode", mode)
        values = ",\n".join(
            "(" + ", ".join(quoted(v) for v in [ID.format(n), row["subject"], row["payload"], *(row.get(c) for c in COLUMNS)]) + ", 'order.placed')"
            for n, row in enumerate(ROWS)
        )
        sql(f"INSERT INTO in_{mode} (id, aggregate_id, payload, {', '.join(COLUMNS)}, type) VALUES {values}")
        counted = f'walpost_events_total{{connector="postgres.{mode}",topic="{topic}"}} {len(ROWS)}'
        wait(lambda: counted in metrics(http), f"{len(ROWS)} events in {mode} mode", mode)
    finally:
        walpost.terminate()
        walpost.wait(60)
    return topic


def metrics(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def wait(condition, what, mode):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    sys.exit(f"waited for: {what}\n" + open(f"{ROOM}/{mode}.log", encoding="utf-8").read())


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


def compare(language, mode, lines):
    mistakes = []
    by_subject = {line.get("attributes", {}).get("subject", line.get("key")): line for line in lines}
    for number, row in enumerate(ROWS):
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
        wanted = {"id": ID.format(number), "source": "https://orders.example.com", "type": "order.placed", "subject": subject, "specversion": "1.0"}
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

    def sql(text):
        run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(postgres), "-U", "postgres", "-f", "-", input=text, stdout=subprocess.DEVNULL)

    topics = {}
    for mode in ("binary", "structured"):
        columns = ", ".join(f"{c} text" for c in COLUMNS)
        sql(f"CREATE TABLE in_{mode} (id uuid PRIMARY KEY, aggregate_id text, type text NOT NULL, payload text, {columns})")
        topics[mode] = relay(mode, postgres, bootstrap, sql)
    mistakes, read = [], 0
    for language in LANGUAGES:
        for mode, topic in topics.items():
            environment = {**os.environ, "NODE_PATH": f"{MODULES}/node_modules"}
            printed = run(*READERS[language], bootstrap, topic, str(len(ROWS)), stdout=subprocess.PIPE, env=environment).stdout
            lines = [json.loads(line) for line in printed.splitlines()]
            found = compare(language, mode, lines)
            print(f"{language}, {mode}: {len(lines)} events read, {len(found)} mistakes")
            mistakes += found
            read += len(lines)
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    sys.exit(1 if mistakes or read != len(ROWS) * 2 * len(LANGUAGES) else 0)


main()
