#!/usr/bin/env python3
"""Makes the dashboards: deploy/grafana/make.py FOLDER writes connector.json and fleet.json there.

A panel is one line here and forty in Grafana's JSON; every panel must have a description and a unit.
"""

import json
import pathlib
import sys

ONE = 'namespace=~"$namespace",connector="$connector"'
ALL = 'namespace=~"$namespace"'
# What the server's log has grown to: what is confirmed, and what is not yet.
WAL_END = (
    f"max(max by (shard) (walpost_confirmed_lsn_bytes{{{ONE}}})"
    f' + max by (shard) (walpost_lag_bytes{{{ONE},stage="confirmed"}}))'
)
RATE = "$__rate_interval"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24


def steps(*pairs):
    """Thresholds: a colour from each value on; the first has no value."""
    return {
        "mode": "absolute",
        "steps": [{"color": colour, "value": value} for value, colour in pairs],
    }


PLAIN = steps((None, "blue"))


def targets(queries, kind):
    """queries: a list of (expression, legend)."""
    shape = {"table": "table", "heatmap": "heatmap"}.get(kind, "time_series")
    instant = kind in ("stat", "gauge", "table")
    return [
        {
            "datasource": SOURCE,
            "editorMode": "code",
            "expr": expression,
            "format": shape,
            "instant": instant,
            "legendFormat": legend,
            "range": not instant,
            "refId": chr(ord("A") + number),
        }
        for number, (expression, legend) in enumerate(queries)
    ]


OPTIONS = {
    "timeseries": {
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    },
    "gauge": {
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showThresholdLabels": False,
        "showThresholdMarkers": True,
    },
    "state-timeline": {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "mergeValues": True,
        "rowHeight": 0.9,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "exponent": 0.5, "scale": "exponential", "fill": "blue", "reverse": False},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
    },
    "table": {
        "cellHeight": "sm",
        "footer": {"countRows": False, "fields": "", "reducer": ["sum"], "show": False},
        "showHeader": True,
    },
}
ON_OFF = [
    {
        "type": "value",
        "options": {
            "0": {"color": "transparent", "index": 0, "text": "no"},
            "1": {"color": "blue", "index": 1, "text": "yes"},
        },
    }
]


def panel(title, kind, unit, description, queries, width=8, height=7, thresholds=None, **more):
    """One panel; more: min, max, overrides, transformations, options, mappings."""
    defaults = {
        "color": {"mode": "thresholds" if thresholds or kind == "gauge" else "palette-classic"},
        "custom": {},
        "mappings": more.get("mappings", ON_OFF if kind == "state-timeline" else []),
        "thresholds": thresholds or PLAIN,
        "unit": unit,
    }
    if kind == "timeseries":
        defaults["color"] = {"mode": "palette-classic"}
        defaults["custom"] = {
            "drawStyle": "line",
            "fillOpacity": 10,
            "lineWidth": 1,
            "showPoints": "never",
            "spanNulls": False,
            "thresholdsStyle": {"mode": "line" if thresholds else "off"},
        }
    for name in ("min", "max"):
        if name in more:
            defaults[name] = more[name]
    return {
        "datasource": SOURCE,
        "description": description,
        "fieldConfig": {"defaults": defaults, "overrides": more.get("overrides", [])},
        "gridPos": {"h": height, "w": width, "x": 0, "y": 0},
        "id": 0,
        "options": OPTIONS[kind] | more.get("options", {}),
        "targets": targets(queries, kind),
        "title": title,
        "transformations": more.get("transformations", []),
        "type": kind,
    }


def row(title, panels):
    return title, panels


def lay_out(rows):
    """Rows of panels, each below the one before, panels from left to right."""
    placed, y, number = [], 0, 1
    for title, panels in rows:
        placed.append(
            {
                "collapsed": False,
                "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y},
                "id": number,
                "panels": [],
                "title": title,
                "type": "row",
            }
        )
        number, y, x, tall = number + 1, y + 1, 0, 0
        for one in panels:
            at = one["gridPos"]
            if x + at["w"] > WIDTH:
                x, y, tall = 0, y + tall, 0
            at["x"], at["y"], one["id"] = x, y, number
            x, tall, number = x + at["w"], max(tall, at["h"]), number + 1
            placed.append(one)
        y += tall
    return placed


def variable(name, label, query, multi):
    return {
        "allValue": ".*" if multi else None,
        "current": {"selected": True, "text": "All", "value": "$__all"} if multi else {},
        "datasource": SOURCE,
        "definition": query,
        "hide": 0,
        "includeAll": multi,
        "label": label,
        "multi": multi,
        "name": name,
        "options": [],
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
        "type": "query",
    }


def dashboard(uid, title, description, variables, rows, link):
    source = {
        "current": {},
        "hide": 0,
        "includeAll": False,
        "label": "Data source",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
        "type": "datasource",
    }
    firing = {
        "datasource": SOURCE,
        "enable": True,
        "expr": f'ALERTS{{alertname=~"Walpost.*",alertstate="firing",{ALL if link else ONE}}}',
        "hide": False,
        "iconColor": "red",
        "name": "Alerts",
        "titleFormat": "{{alertname}}",
        "textFormat": "{{connector}}",
    }
    return {
        "annotations": {"list": [firing]},
        "description": description,
        "editable": False,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "links": [
            {
                "asDropdown": False,
                "icon": "external link",
                "includeVars": True,
                "keepTime": True,
                "tags": ["walpost"],
                "targetBlank": False,
                "title": "walpost",
                "tooltip": "",
                "type": "dashboards",
                "url": "",
            }
        ],
        "panels": lay_out(rows),
        "refresh": "30s",
        "schemaVersion": 39,
        "tags": ["walpost"],
        "templating": {"list": [source, *variables]},
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": title,
        "uid": uid,
        "version": 1,
    }


def only(metric, labels="", by=""):
    """max by (…) (metric{one connector})"""
    group = f" by ({by})" if by else ""
    return f"max{group} ({metric}{{{ONE}{labels}}})"


def summed(metric):
    """Of all shards of one connector, each as its leader tells it. One stream has no label `shard`."""
    return f"sum(max by (shard) ({metric}{{{ONE}}}))"


def slowest(metric, each="max"):
    """Of the shard in which it is smallest."""
    return f"min({each} by (shard) ({metric}{{{ONE}}}))"


def rate(metric, by="", selector=ONE):
    group = f" by ({by})" if by else ""
    return f"sum{group} (rate({metric}{{{selector}}}[{RATE}]))"


def quantile(q):
    return f"histogram_quantile({q}, {rate('walpost_event_latency_seconds_bucket', 'le')})"


LAG = steps((None, "green"), (60, "orange"), (300, "red"))
GOOD = steps((None, "green"), (1, "red"))


def columns(*names):
    """A table that shows these labels only, and the value."""
    return [
        {
            "id": "organize",
            "options": {
                "excludeByName": {name: True for name in ("Time", "__name__", "job", "endpoint", "container", "connector", "namespace", "prometheus") if name not in names},
                "indexByName": {},
                "renameByName": {},
            },
        }
    ]


def connector():
    # No series of a code before its first error.
    errors = f"({rate('walpost_produce_errors_total')} or vector(0))"
    events = f"({rate('walpost_events_total')} or vector(0))"
    fresh = f"avg_over_time(connector:walpost_fresh:bool{{{ONE}}}[30d])"
    return dashboard(
        "walpost-connector",
        "walpost / connector",
        "One connector: is it well, how far behind, what is in danger, where is the time spent.",
        [
            variable("namespace", "Namespace", "label_values(walpost_build_info, namespace)", True),
            variable("connector", "Connector", 'label_values(walpost_build_info{namespace=~"$namespace"}, connector)', False),
        ],
        [
            row("Overview", [
                panel("State", "state-timeline", "bool", "What the process is doing. Streaming is the state to be in; standby besides it is a second instance; halted needs someone.", [(only("walpost_state", by="state"), "{{state}}")], 8, 8),
                panel("Lag", "stat", "s", "0 when it is proven that everything is confirmed by Kafka, else the age of the oldest commit that is not.", [(f"max(min by (shard) (walpost_lag_seconds{{{ONE}}}))", "")], 4, 4, LAG),
                panel("Latency, 99 %", "stat", "s", "From the commit of a row to Kafka's confirmation of its event. Nothing while no event comes.", [(quantile(0.99), "")], 4, 4, steps((None, "green"), (1, "orange"), (10, "red"))),
                panel("Events", "stat", "cps", "Events that Kafka confirmed, a second.", [(events, "")], 4, 4, PLAIN),
                panel("Headroom of the slot", "gauge", "percentunit", "Share of max_slot_wal_keep_size that is left before the slot can be lost. Nothing when the server has no limit: then its disk is the limit.", [(f"min(walpost_slot_safe_wal_bytes{{{ONE}}} / walpost_slot_wal_keep_limit_bytes{{{ONE}}})", "")], 4, 8, steps((None, "red"), (0.2, "orange"), (0.5, "green")), min=0, max=1),
                panel("WAL held back", "stat", "bytes", "WAL that Postgres keeps for the slot, on the disk of the database.", [(only("walpost_slot_retained_wal_bytes"), "")], 4, 4, steps((None, "green"), (1 << 30, "orange"), (4 << 30, "red"))),
                panel("Produce errors", "stat", "percentunit", "Share of what is sent to Kafka that fails.", [(f"{errors} / ({errors} + {events} > 0) or vector(0)", "")], 4, 4, steps((None, "green"), (0.01, "orange"), (0.1, "red"))),
                panel("Dead letters, 1 h", "stat", "short", "Rows that could not become events and went to the dead-letter topic.", [(f"sum(increase(walpost_dead_letters_total{{{ONE}}}[1h]))", "")], 4, 4, steps((None, "green"), (0.5, "orange"))),
                panel("Leader", "stat", "none", "The instance that holds the replication slot.", [(f"max by (instance) (walpost_leader{{{ONE}}}) == 1", "{{instance}}")], 6, 4, PLAIN, options={"textMode": "name"}),
                panel("Instances", "stat", "short", "Instances that are scraped: the leader and those that stand by.", [(f"count(group by (instance) (walpost_leader{{{ONE}}}))", "")], 3, 4, PLAIN),
                panel("Fresh, 30 days", "stat", "percentunit", "Share of the last 30 days in which the lag was below 30 s; not being scraped counts as late. The objective is 99.9 %. From a recording rule.", [(fresh, "")], 4, 4, steps((None, "red"), (0.999, "green")), options={"textMode": "value"}),
                panel("Budget left", "stat", "percentunit", "What is left of the 0.1 % of 30 days that may be late.", [(f"1 - (1 - {fresh}) / 0.001", "")], 4, 4, steps((None, "red"), (0, "orange"), (0.5, "green"))),
                panel("Halted", "stat", "none", "Why it halted, and which shard where there are several; the status page says what to do.", [(f"max by (code, shard) (walpost_halted{{{ONE}}}) == 1", "{{code}} {{shard}}")], 7, 4, steps((None, "red")), options={"textMode": "name"}),
                panel("Last errors", "table", "dateTimeAsIso", "When an error with each code was last seen; the text is on the status page.", [(f"1000 * max by (code) (walpost_last_error_timestamp_seconds{{{ONE}}}) > 0", "")], 12, 6, transformations=columns("code")),
                panel("Alerts", "table", "none", "What fires at the moment.", [(f'ALERTS{{alertname=~"Walpost.*",{ONE}}}', "")], 12, 6, transformations=columns("alertname")),
            ]),
            row("Lag", [
                panel("Lag", "timeseries", "s", "The same number as above, of each instance. A standby sees the leader's slot move, so its own is coarser.", [(f"max by (instance, shard) (walpost_lag_seconds{{{ONE}}})", "{{instance}} {{shard}}")], 8, 8, steps((None, "green"), (60, "orange"), (300, "red")), min=0),
                panel("Lag in bytes", "timeseries", "bytes", "WAL between the end of the server's log and what was received, or confirmed by Kafka. Received low and confirmed high: Kafka is slow. Both high: Postgres, the network or walpost.", [(only("walpost_lag_bytes", by="stage"), "{{stage}}")], 8, 8, min=0),
                panel("WAL written and confirmed", "timeseries", "Bps", "Who wins: what the database writes, and how fast walpost gets through it.", [(f"deriv({WAL_END}[{RATE}:15s])", "written"), (f"deriv({slowest('walpost_confirmed_lsn_bytes')}[{RATE}:15s])", "confirmed")], 8, 8),
                panel("Time to catch up", "timeseries", "s", "At the present pace. Nothing while the distance does not shrink, or there is none.", [(f'max(walpost_lag_bytes{{{ONE},stage="confirmed"}}) / (-deriv(max(walpost_lag_bytes{{{ONE},stage="confirmed"}})[{RATE}:15s]) > 0)', "time to catch up")], 8, min=0),
                panel("Caught up", "state-timeline", "bool", "Whether it is proven that everything is confirmed.", [(slowest("walpost_caught_up"), "caught up")], 8),
                panel("Age of the checkpoint", "timeseries", "s", "Since the last checkpoint that Kafka confirmed; it is written within 10 s while the log of the database moves. A crash repeats what came after it.", [(f"max(min by (shard) (walpost_checkpoint_age_seconds{{{ONE}}}))", "age")], 8, min=0),
            ]),
            row("Shards, where there are several", [
                panel("Lag by shard", "timeseries", "s", "Of each stream of WALPOST_SHARDS. Empty with one stream, as are the other panels of this row.", [(f"min by (shard) (walpost_lag_seconds{{{ONE},shard!=\"\"}})", "shard {{shard}}")], 6, 8, steps((None, "green"), (60, "orange"), (300, "red")), min=0),
                panel("Events by shard", "timeseries", "cps", "Events that Kafka confirmed. One shard far above the others has the busiest keys.", [(f"sum by (shard) (rate(walpost_events_total{{{ONE},shard!=\"\"}}[{RATE}]))", "shard {{shard}}")], 6, 8, min=0),
                panel("WAL held back by shard", "timeseries", "bytes", "Each shard has a slot, and the furthest behind decides what Postgres keeps.", [(f"max by (shard) (walpost_slot_retained_wal_bytes{{{ONE},shard!=\"\"}})", "shard {{shard}}")], 6, 8, min=0),
                panel("Streaming by shard", "state-timeline", "bool", "Whether some instance streams it; one that is halted or waits does not stop the others.", [(f"max by (shard) (walpost_state{{{ONE},shard!=\"\",state=~\"streaming|backpressured|snapshotting\"}})", "shard {{shard}}")], 6, 8),
            ]),
            row("Replication slot", [
                panel("WAL held back and left", "timeseries", "bytes", "WAL kept for the slot; what may still be written before the slot can be lost; and max_slot_wal_keep_size. The last two are infinite, and not drawn, without a limit.", [(only("walpost_slot_retained_wal_bytes"), "held back"), (f"min(walpost_slot_safe_wal_bytes{{{ONE}}})", "left"), (only("walpost_slot_wal_keep_limit_bytes"), "limit")], 8, 8, min=0),
                panel("wal_status", "state-timeline", "bool", "What Postgres says of the slot's WAL: reserved is well; extended is more than max_wal_size; unreserved is lost at the next checkpoint; lost is lost.", [(only("walpost_slot_wal_status", by="status"), "{{status}}")], 8, 8),
                panel("Time until the slot can be lost", "timeseries", "s", "What is left, at the pace at which the database writes WAL now and as if the slot did not move. Infinite without a limit.", [(f"min(walpost_slot_safe_wal_bytes{{{ONE}}}) / (deriv({WAL_END}[{RATE}:15s]) > 0)", "left")], 8, 8, min=0),
                panel("Slot lag", "timeseries", "bytes", "WAL from confirmed_flush_lsn, and from restart_lsn, to the end of the log. A new session decodes from restart_lsn on.", [(only("walpost_slot_confirmed_flush_lag_bytes"), "confirmed_flush_lsn"), (only("walpost_slot_restart_lag_bytes"), "restart_lsn")], 8, min=0),
                panel("Slot in use", "state-timeline", "bool", "Whether a session reads the slot.", [(slowest("walpost_slot_active"), "active")], 4),
                panel("Catalog horizon", "timeseries", "short", "Transactions whose dead catalog rows vacuum may not remove because of the slot.", [(only("walpost_slot_catalog_xmin_age"), "transactions")], 6, min=0),
                panel("Spilled to disk", "timeseries", "Bps", "Large transactions that decoding wrote to the server's disk; more logical_decoding_work_mem makes it less.", [(rate("walpost_slot_spill_bytes_total"), "spilled")], 6, min=0),
            ]),
            row("Latency", [
                panel("Commit to confirmation", "heatmap", "s", "Each event, from the commit of its row to Kafka's confirmation.", [(f"sum by (le) (increase(walpost_event_latency_seconds_bucket{{{ONE}}}[{RATE}]))", "{{le}}")], 12, 8),
                panel("Quantiles", "timeseries", "s", "The same as quantiles. While nothing is confirmed there is nothing to see here: look at the lag.", [(quantile(q), f"{q * 100:g} %") for q in (0.5, 0.95, 0.99)], 12, 8, min=0),
            ]),
            row("Throughput", [
                panel("Events by topic", "timeseries", "cps", "Events that Kafka confirmed.", [(rate("walpost_events_total", "topic"), "{{topic}}")], 8, 8, min=0),
                panel("Bytes by topic", "timeseries", "Bps", "Keys and values of those events.", [(rate("walpost_event_bytes_total", "topic"), "{{topic}}")], 8, 8, min=0),
                panel("Transactions", "timeseries", "cps", "Database transactions whose every event Kafka confirmed.", [(rate("walpost_transactions_total"), "transactions")], 8, 8, min=0),
                panel("Events in a transaction", "timeseries", "short", "On average.", [(f"{rate('walpost_events_total')} / ({rate('walpost_transactions_total')} > 0)", "events")], 8, min=0),
                panel("Bad rows and dead letters", "timeseries", "short", "Rows that cannot become events, within 10 minutes, by reason; and those of them that went to the dead-letter topic.", [(f"sum by (reason) (increase(walpost_bad_rows_total{{{ONE}}}[10m])) > 0", "{{reason}}"), (f"sum(increase(walpost_dead_letters_total{{{ONE}}}[10m]))", "dead letters")], 8, min=0),
                panel("Hottest key", "timeseries", "percentunit", "Share of a topic's events of the last minutes that one key has, at least. What one key has, one partition and one consumer must bear. 0 for fewer than 100 events.", [(only("walpost_hot_key_share", by="topic"), "{{topic}}")], 8, min=0, max=1),
                panel("Busiest partition", "timeseries", "short", "Events of a topic's busiest partition over the mean of all, in the last minute: 1 is even, 0 is fewer than 100 events.", [(only("walpost_partition_skew_ratio", by="topic"), "{{topic}}")], 8, min=0),
                panel("Read again and left out", "timeseries", "cps", "Rows that came again after a restart and are covered by the checkpoint: repeats that consumers did not see.", [(rate("walpost_duplicates_suppressed_total"), "rows")], 8, min=0),
            ]),
            row("Kafka", [
                panel("Errors by code", "timeseries", "cps", "Errors that the Kafka client reported for records.", [(rate("walpost_produce_errors_total", "code") + " > 0", "{{code}}"), (errors, "all")], 8, min=0),
                panel("Sent again", "timeseries", "cps", "Requests with records that got no answer, as the connection ended or the time was over; their records are sent again.", [(rate("walpost_produce_retries_total"), "requests")], 8, min=0),
                panel("In flight", "timeseries", "bytes", "Read from Postgres and not yet confirmed, and where reading stops.", [(summed("walpost_in_flight_bytes"), "in flight"), (summed("walpost_in_flight_limit_bytes"), "limit")], 8, min=0),
                panel("Events in flight", "timeseries", "short", "The same, counted.", [(summed("walpost_in_flight_events"), "events")], 8, min=0),
                panel("Waiting for Kafka", "timeseries", "percentunit", "Share of the time in which reading was stopped until Kafka confirms.", [(f"max({rate('walpost_backpressure_seconds_total', 'shard')})", "waiting")], 8, min=0, max=1),
                panel("Checkpoints", "timeseries", "cps", "Checkpoints that Kafka confirmed.", [(rate("walpost_checkpoints_total"), "checkpoints")], 8, min=0),
                panel("Producer", "timeseries", "none", "Generation of the producer: one more at each take-over and after each loss of the producer.", [(only("walpost_producer_generation"), "generation")], 8, min=0),
            ]),
            row("Consumer groups", [
                panel("Consumers: not read for", "timeseries", "s", "How long ago the oldest event was written that each group of WALPOST_CONSUMER_GROUPS has not read; 0: it has read all. Nothing while a group cannot be looked at.", [(only("walpost_consumer_group_lag_seconds", by="group, topic"), "{{group}}: {{topic}}")], 8, 8, min=0),
                panel("Consumers: not read", "timeseries", "short", "Events that each group has not read.", [(only("walpost_consumer_group_lag", by="group, topic"), "{{group}}: {{topic}}")], 8, 8, min=0),
                panel("Consumers", "timeseries", "short", "Consumers in each group.", [(only("walpost_consumer_group_members", by="group"), "{{group}}")], 4, 8, min=0),
                panel("Rebalances", "timeseries", "short", "How often each group was seen to share its partitions out anew, within 10 minutes.", [(f"max by (group) (increase(walpost_consumer_group_rebalances_total{{{ONE}}}[10m]))", "{{group}}")], 4, 8, min=0),
            ]),
            row("Postgres", [
                panel("Connected", "state-timeline", "bool", "Whether the connection that the present state needs is up.", [(f"min by (instance) (walpost_postgres_connected{{{ONE}}})", "{{instance}}")], 6),
                panel("Connected anew", "timeseries", "short", "Reconnects within 10 minutes, by reason.", [(f"sum by (reason) (increase(walpost_postgres_reconnects_total{{{ONE}}}[10m]))", "{{reason}}")], 6, min=0),
                panel("Silence", "timeseries", "s", "Since the replication stream last sent anything, keepalives too.", [(f"max(min by (shard) (time() - walpost_source_last_message_timestamp_seconds{{{ONE}}}))", "silence")], 6, min=0),
                panel("Clock skew", "timeseries", "s", "The database server's clock minus ours. Lag and latency are corrected by it.", [(f"max by (instance) (walpost_clock_skew_seconds{{{ONE}}})", "{{instance}}")], 6),
            ]),
            row("Process", [
                panel("Certificates", "stat", "s", "Until the certificate expires that Postgres, or a broker of Kafka, showed last. Infinite without encryption.", [(f"min by (peer) (walpost_tls_certificate_expiry_timestamp_seconds{{{ONE}}}) - time()", "{{peer}}")], 6, 6, steps((None, "red"), (259200, "orange"), (1209600, "green"))),
                panel("Processor", "timeseries", "short", "Cores in use.", [(f"sum by (instance) (rate(process_cpu_seconds_total{{{ONE}}}[{RATE}]))", "{{instance}}")], 6, min=0),
                panel("Memory", "timeseries", "bytes", "Resident memory; of that at most what is in flight depends on the load.", [(f"sum by (instance) (process_resident_memory_bytes{{{ONE}}})", "{{instance}}")], 6, min=0),
                panel("Files", "timeseries", "short", "Open file descriptors, and their limit.", [(only("process_open_fds"), "open"), (only("process_max_fds"), "limit")], 6, min=0),
                panel("Threads", "timeseries", "short", "Threads of the process.", [(f"max by (instance) (process_threads{{{ONE}}})", "{{instance}}")], 6, min=0),
                panel("Up since", "stat", "s", "Time since each instance started.", [(f"time() - max by (instance) (process_start_time_seconds{{{ONE}}})", "{{instance}}")], 6, 6, PLAIN),
                panel("Taken over", "timeseries", "short", "How often an instance that stood by took the slot over.", [(f"sum by (instance) (walpost_handoffs_total{{{ONE}}})", "{{instance}}")], 6, 6, min=0),
                panel("What runs", "table", "none", "Version of each instance, and what it follows.", [(f"walpost_build_info{{{ONE}}} * on (instance, shard) group_left (slot, publication, database, delivery) walpost_config_info{{{ONE}}}", "")], 12, 6, transformations=columns("version")),
            ]),
        ],
        link=False,
    )


def fleet():
    by, by_shard = "by (namespace, connector)", "by (namespace, connector, shard)"
    merge = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True},
                "indexByName": {},
                "renameByName": {"Value #A": "Lag", "Value #B": "WAL held back", "Value #C": "Headroom", "Value #D": "Events a second", "Value #E": "Dead letters, 1 h", "Value #F": "Streaming", "Value #G": "Instances", "Value #H": "Fresh, 1 day"},
            },
        },
    ]

    def column(name, unit, thresholds=None):
        properties = [{"id": "unit", "value": unit}]
        if thresholds:
            properties += [{"id": "thresholds", "value": thresholds}, {"id": "custom.cellOptions", "value": {"type": "color-text"}}]
        return {"matcher": {"id": "byName", "options": name}, "properties": properties}

    link = {
        "matcher": {"id": "byName", "options": "connector"},
        "properties": [{"id": "links", "value": [{"title": "Show it", "url": "/d/walpost-connector?var-connector=${__value.text}&${datasource:queryparam}&${__url_time_range}"}]}],
    }
    return dashboard(
        "walpost-fleet",
        "walpost / fleet",
        "All connectors side by side.",
        [variable("namespace", "Namespace", "label_values(walpost_build_info, namespace)", True)],
        [
            row("Connectors", [
                panel("Connectors", "stat", "short", "Connectors that are scraped.", [(f"count(group {by} (walpost_build_info{{{ALL}}}))", "")], 4, 4, PLAIN),
                panel("Streaming", "stat", "short", "Connectors whose slot, or slots, are held by instances that stream.", [(f'sum(min {by} (max {by_shard} (walpost_state{{{ALL},state=~"streaming|backpressured|snapshotting"}})))', "")], 4, 4, PLAIN),
                panel("Halted", "stat", "short", "Connectors that halted.", [(f'sum(max {by} (walpost_state{{{ALL},state="halted"}}))', "")], 4, 4, GOOD),
                panel("Worst lag", "stat", "s", "Of the connector that is furthest behind.", [(f"max(min {by_shard} (walpost_lag_seconds{{{ALL}}}))", "")], 4, 4, LAG),
                panel("WAL held back", "stat", "bytes", "By all slots together.", [(f"sum(max {by_shard} (walpost_slot_retained_wal_bytes{{{ALL}}}))", "")], 4, 4, PLAIN),
                panel("Events", "stat", "cps", "Of all connectors.", [(f"{rate('walpost_events_total', selector=ALL)} or vector(0)", "")], 4, 4, PLAIN),
                panel("All connectors", "table", "none", "One line a connector. Headroom is empty when the server has no max_slot_wal_keep_size. A click on a name opens its dashboard.", [
                    (f"max {by} (min {by_shard} (walpost_lag_seconds{{{ALL}}}))", ""),
                    (f"max {by} (walpost_slot_retained_wal_bytes{{{ALL}}})", ""),
                    (f"min {by} (walpost_slot_safe_wal_bytes{{{ALL}}} / walpost_slot_wal_keep_limit_bytes{{{ALL}}})", ""),
                    (rate("walpost_events_total", "namespace, connector", ALL), ""),
                    (f"sum {by} (increase(walpost_dead_letters_total{{{ALL}}}[1h]))", ""),
                    (f'min {by} (max {by_shard} (walpost_state{{{ALL},state=~"streaming|backpressured|snapshotting"}}))', ""),
                    (f"count {by} (group by (namespace, connector, instance) (walpost_leader{{{ALL}}}))", ""),
                    (f"avg_over_time(connector:walpost_fresh:bool{{{ALL}}}[1d])", ""),
                ], 24, 10, transformations=merge, overrides=[
                    link,
                    column("Lag", "s", LAG),
                    column("WAL held back", "bytes", steps((None, "text"), (1 << 30, "orange"), (4 << 30, "red"))),
                    column("Headroom", "percentunit", steps((None, "red"), (0.2, "orange"), (0.5, "green"))),
                    column("Events a second", "cps"),
                    column("Dead letters, 1 h", "short", steps((None, "text"), (0.5, "orange"))),
                    column("Streaming", "bool_yes_no", steps((None, "red"), (1, "green"))),
                    column("Fresh, 1 day", "percentunit", steps((None, "red"), (0.999, "green"))),
                ]),
                panel("Alerts", "table", "none", "What fires at the moment.", [(f'ALERTS{{alertname=~"Walpost.*",alertstate="firing",{ALL}}}', "")], 24, 6, transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True, "__name__": True, "Value": True, "alertstate": True}, "indexByName": {}, "renameByName": {}}}]),
            ]),
            row("Side by side", [
                panel("Lag", "timeseries", "s", "Of each connector.", [(f"max {by} (min {by_shard} (walpost_lag_seconds{{{ALL}}}))", "{{connector}}")], 12, 8, LAG, min=0),
                panel("WAL held back", "timeseries", "bytes", "By each slot.", [(f"max {by} (walpost_slot_retained_wal_bytes{{{ALL}}})", "{{connector}}")], 12, 8, min=0),
                panel("Events", "timeseries", "cps", "Of each connector.", [(rate("walpost_events_total", "namespace, connector", ALL), "{{connector}}")], 12, 8, min=0),
                panel("Memory", "timeseries", "bytes", "Resident memory of each connector's instances.", [(f'sum {by} (process_resident_memory_bytes{{{ALL},connector!=""}})', "{{connector}}")], 12, 8, min=0),
            ]),
        ],
        link=True,
    )


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for made in (connector(), fleet()):
        name = made["uid"].removeprefix("walpost-") + ".json"
        text = json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
