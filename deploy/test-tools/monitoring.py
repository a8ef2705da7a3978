"""The acts of deploy/test-tools/monitoring: REPOSITORY HELM WALPOST."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

REPO, HELM, WALPOST = (pathlib.Path(argument) for argument in sys.argv[1:])
ROOM = pathlib.Path(tempfile.mkdtemp(prefix="walpost-monitoring."))
# Of ten neighbours: Postgres, two of Kafka's, two of walpost's, Prometheus.
PORT = 20000 + os.getpid() % 1000 * 10
URL = f"postgres://postgres@127.0.0.1:{PORT}/postgres"
PROMETHEUS = f"http://127.0.0.1:{PORT + 5}"
DEADLINE = 120
started = {}

# Panels that show nothing while all is well and quiet, and the act that fills them.
FILLED_BY = {
    "Errors by code": "load",
    "Latency, 99 %": "load",
    "Commit to confirmation": "load",
    "Quantiles": "load",
    "Events by topic": "load",
    "Bytes by topic": "load",
    "Events in a transaction": "load",
    "Hottest key": "load",
    "Busiest partition": "load",
    "Bad rows and dead letters": "load",
    "Time until the slot can be lost": "load",
    "Events": "load",
    "Events by shard": "load",
    "Consumers: not read for": "load",
    "Consumers: not read": "load",
    "Rebalances": "load",
    "All connectors": "load",
    "Last errors": "halted",
    "Time to catch up": "recovery",
    "Alerts": "stalled",
    "Halted": "halted",
}


def say(text):
    print(f"monitoring: {text}", file=sys.stderr, flush=True)


def fail(text):
    for log in ("walpost.log", "prometheus.log"):
        if (ROOM / log).exists():
            say(f"the end of {log}:\n" + "\n".join((ROOM / log).read_text().splitlines()[-15:]))
    sys.exit(f"monitoring: {text}")


def server(kind, *arguments):
    subprocess.run([REPO / "deploy/dev" / kind, *arguments, "--dir", ROOM / kind], check=True, stdout=subprocess.DEVNULL)


def sql(text):
    subprocess.run(["psql", "--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", URL, "--command", text], check=True, stdout=subprocess.DEVNULL)


def start(name, command, environment=None):
    log = (ROOM / f"{name.split('-')[0]}.log").open("a")
    started[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def stop(name):
    process = started.pop(name)
    process.terminate()
    code = process.wait(60)
    if name.startswith("walpost") and code:
        fail(f"{name} ended with {code}")


def walpost(name, port):
    # A small memory in flight: it is full within a moment of Kafka's freezing.
    start(name, [WALPOST], {
        "DATABASE_URL": URL, "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{PORT + 1}",
        "WALPOST_NAME": "shop", "WALPOST_MAX_IN_FLIGHT": "256KiB", "WALPOST_HTTP_ADDR": f"127.0.0.1:{port}",
        "WALPOST_CONSUMER_GROUPS": "readers",
    })


def rules():
    """The chart's rules, with minutes for seconds and thresholds for what can be had within seconds."""
    small = {
        "lagSeconds.warning": 3, "lagSeconds.critical": 6, "lagNoticedSeconds": 2, "checkpointAgeSeconds": 20,
        "retainedWalBytes.warning": 60000000, "fresh.seconds": 2,
    }
    sets = [f"prometheusRule.thresholds.{name}={value}" for name, value in small.items()]
    made = subprocess.run(
        [HELM, "template", "walpost", REPO / "helm/walpost", "--values", REPO / "helm/walpost/ci/least-values.yaml",
         "--show-only", "templates/prometheusrule.yaml", "--set", "prometheusRule.enabled=true,prometheusRule.scope=all",
         "--set", ",".join(sets)],
        check=True, capture_output=True, text=True,
    ).stdout
    spec = yaml.safe_load(made)["spec"]
    units = {"m": ("s", 1), "h": ("m", 1), "d": ("m", 24)}

    def faster(text):
        return re.sub(r"\b(\d+)([mhd])\b", lambda found: f"{int(found[1]) * units[found[2]][1]}{units[found[2]][0]}", text)

    for group in spec["groups"]:
        group.pop("interval", None)
        for rule in group["rules"]:
            # What Prometheus remembers does not get younger.
            rule["expr"] = re.sub(r"(?<=\[)[^\]]+(?=\])", lambda found: faster(found[0]), rule["expr"])
            for name in ("for", "keep_firing_for"):
                if name in rule:
                    rule[name] = faster(rule[name])
    (ROOM / "rules.yaml").write_text(yaml.safe_dump(spec))


def prometheus():
    rules()
    (ROOM / "prometheus.yaml").write_text(yaml.safe_dump({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "walpost", "static_configs": [{"targets": [f"127.0.0.1:{PORT + 3}", f"127.0.0.1:{PORT + 4}"]}]}],
    }))
    start("prometheus", ["prometheus", f"--config.file={ROOM}/prometheus.yaml", f"--storage.tsdb.path={ROOM}/tsdb",
                         f"--web.listen-address=127.0.0.1:{PORT + 5}", "--log.level=warn"])


def query(expression):
    address = f"{PROMETHEUS}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        # While Prometheus starts.
        if error.code == 503:
            return []
        fail(f"{expression}: {error.read().decode()}")


def firing():
    return {one["metric"]["alertname"] + "/" + one["metric"]["severity"] for one in query('ALERTS{alertstate="firing"}')}


def wait(what, met):
    end = time.monotonic() + DEADLINE
    while True:
        try:
            if met():
                return
        except (urllib.error.URLError, ConnectionError):
            pass
        if time.monotonic() > end:
            for known in ("walpost_state == 1", "walpost_lag_seconds", "walpost_in_flight_bytes", "rate(walpost_backpressure_seconds_total[15s])"):
                say(f"{known}: {[(one['metric'].get('state'), one['value'][1]) for one in query(known)]}")
            fail(f"waited in vain for {what}; firing: {sorted(firing())}")
        for name, process in started.items():
            if process.poll() is not None:
                fail(f"{name} ended while waiting for {what}")
        time.sleep(0.25)


def panels():
    for path in sorted((REPO / "deploy/grafana").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            if panel["type"] == "row":
                continue
            for number, target in enumerate(panel["targets"]):
                expression = target["expr"]
                # The connector here has one stream, which is no shard.
                expression = expression.replace('shard!=""', 'shard=""')
                for name, value in {"$__rate_interval": "5s", "$namespace": ".*", "$connector": "shop", ":15s]": ":1s]"}.items():
                    expression = expression.replace(name, value)
                yield path.stem, panel["title"], number, expression


def shown(act):
    """Every panel that this act should fill shows something."""
    count = 0
    for dashboard, title, number, expression in panels():
        if FILLED_BY.get(title, "idle") != act:
            continue
        count += 1

        def drawn(expression=expression):
            return any(one["value"][1] != "NaN" for one in query(expression))

        wait(f"the panel {dashboard}/{title}, target {number}, in {act}: {expression}", drawn)
    say(f"{act}: {count} queries of panels return data; firing: {', '.join(sorted(firing())) or 'nothing'}")


def names_exist():
    """Every metric that rules, dashboards and runbooks name is one that walpost has."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT + 3}/metrics", timeout=10) as answer:
        live = set(re.findall(r"^# TYPE (\w+)", answer.read().decode(), re.MULTILINE))
    files = [REPO / "deploy/prometheus/rules.yaml", *(REPO / "deploy/grafana").glob("*.json"), *(REPO / "deploy/runbooks").glob("*.md")]
    for path in files:
        for name in set(re.findall(r"(?<![:\w])(?:walpost|process)_[a-z_]+(?![\w:]*:)", path.read_text())):
            if name not in live and re.sub("_(bucket|sum|count)$", "", name) not in live:
                fail(f"{path.relative_to(REPO)} names {name}, which /metrics does not have")
    say(f"{len(files)} files name only metrics that exist ({len(live)} do)")


def load(rows):
    sql(f"insert into outbox select g, 'order', g % 50, 'Placed', repeat('x', 1000) from generate_series(1, {rows}) g")


def slot_dropped():
    """The chart's hook drops the connector's slot and nothing else."""
    made = subprocess.run(
        [HELM, "template", "shop", REPO / "helm/walpost", "--values", REPO / "helm/walpost/ci/least-values.yaml",
         "--show-only", "templates/hooks.yaml", "--set", "dropSlotOnDelete.enabled=true,tests.enabled=false"],
        check=True, capture_output=True, text=True,
    ).stdout
    (container,) = yaml.safe_load(made)["spec"]["template"]["spec"]["containers"]
    for name in ("walpost_x", "other"):
        sql(f"select pg_create_logical_replication_slot('{name}', 'pgoutput')")
    (ROOM / "url").write_text(URL)
    environment = {one["name"]: one["value"] for one in container["env"] if "value" in one} | {"DATABASE_URL_FILE": str(ROOM / "url")}
    subprocess.run([WALPOST, *container["args"]], check=True, env=environment, stdout=subprocess.DEVNULL)
    left = subprocess.run(["psql", "-XAtq", URL, "-c", "select string_agg(slot_name, ' ' order by slot_name) from pg_replication_slots"],
                          check=True, capture_output=True, text=True).stdout.strip()
    if left != "other walpost_x":
        fail(f"dropSlotOnDelete left the slots: {left}")
    say("the hook for after a delete drops the connector's slot and no other")


def main():
    server("postgres", "start", "--major", "18", "--port", str(PORT), "--with-parent", str(os.getpid()), "-c", "max_slot_wal_keep_size=256MB", "-c", "logical_decoding_work_mem=64kB", "--")
    server("kafka", "start", "--port", str(PORT + 1), "--with-parent", str(os.getpid()))
    # Text that is no JSON, for it is long; the content type says so.
    sql("create table outbox (id int, aggregatetype text, aggregateid text, type text, payload text, content_type text default 'text/plain')")
    walpost("walpost-a", PORT + 3)
    prometheus()

    wait("a leader", lambda: query("walpost_leader == 1"))
    wait("recorded freshness", lambda: query("connector:walpost_stale_ratio:avg5m == 0"))
    shown("idle")
    wait("silence of all alerts", lambda: not firing())

    load(2000)
    start("consumer", [REPO / "deploy/dev/kafka-tool", "console-consumer", "--bootstrap-server", f"127.0.0.1:{PORT + 1}", "--topic", "outbox.event.order", "--group", "readers", "--from-beginning"])
    sql("insert into outbox values (1, 'order', 'k', null, 'x')")
    # A topic that refuses such rows: series of errors begin with the first one.
    tool = [REPO / "deploy/dev/kafka-tool", "topics", "--bootstrap-server", f"127.0.0.1:{PORT + 1}"]
    subprocess.run([*tool, "--create", "--topic", "outbox.event.small", "--config", "max.message.bytes=200"], check=True, stdout=subprocess.DEVNULL)
    for _ in range(8):
        load(200)
        sql("insert into outbox values (1, 'small', 'k', 'Placed', repeat('x', 1000))")
        time.sleep(0.5)
    shown("load")
    names_exist()
    wait("WalpostDeadLetters", lambda: "WalpostDeadLetters/warning" in firing())

    # A row that was refused is sent alone, and waits for Kafka alone: have that behind us.
    load(500)
    wait("all to be confirmed", lambda: query("walpost_caught_up == 1 and walpost_in_flight_events == 0"))
    kafka = int((ROOM / "kafka/pid").read_text())
    os.kill(kafka, signal.SIGSTOP)
    load(1000)
    # What is not for the outbox counts too: it is held back with the rest.
    sql("create table other as select repeat('x', 1000) from generate_series(1, 80000)")
    expected = {"WalpostLagHigh/warning", "WalpostLagHigh/critical", "WalpostLagGrowing/warning", "WalpostStalled/critical",
                "WalpostBackpressured/warning", "WalpostRetainedWalHigh/warning",
                "WalpostFreshnessBudgetBurn/critical"}
    wait(f"{sorted(expected)}", lambda: expected <= firing())
    missing = {"WalpostDown/critical", "WalpostHalted/critical", "WalpostNoLeader/critical", "WalpostSlotLost/critical"} & firing()
    if missing:
        fail(f"Kafka is frozen, and that is not {sorted(missing)}")
    shown("stalled")

    os.kill(kafka, signal.SIGCONT)
    shown("recovery")
    # The windows of the slow half of the objective are minutes long even here.
    wait("silence of the alerts", lambda: not firing() - {"WalpostFreshnessBudgetBurn/warning"})
    say("recovered: all have resolved")

    walpost("walpost-b", PORT + 4)
    wait("a standby", lambda: query('walpost_state{state="standby"} == 1'))
    stop("walpost-a")
    wait("the take-over", lambda: query("walpost_leader == 1 and walpost_handoffs_total == 1"))
    say("taken over")

    stop("walpost-b")
    wait("WalpostDown", lambda: "WalpostDown/critical" in firing())
    walpost("walpost-a", PORT + 3)
    wait("its end", lambda: "WalpostDown/critical" not in firing())
    say("gone and back")

    sql("drop publication walpost")
    sql("insert into outbox values (1, 'order', 'k', 'Placed', 'x')")
    wait("WalpostHalted, WalpostNoLeader", lambda: {"WalpostHalted/critical", "WalpostNoLeader/critical"} <= firing())
    shown("halted")
    stop("walpost-a")
    slot_dropped()


if __name__ == "__main__":
    begun = time.monotonic()
    try:
        main()
        say(f"every panel was filled, the alerts fired and resolved ({time.monotonic() - begun:.0f} s)")
    finally:
        for process in started.values():
            process.kill()
        if (ROOM / "kafka/pid").exists():
            subprocess.run(["kill", "-CONT", (ROOM / "kafka/pid").read_text().strip()], check=False, stderr=subprocess.DEVNULL)
        for kind in ("postgres", "kafka"):
            subprocess.run([REPO / "deploy/dev" / kind, "kill", "--dir", ROOM / kind], check=False)
        shutil.rmtree(ROOM, ignore_errors=True)
