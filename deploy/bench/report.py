"""The tables of a run, the summary of the README, and the ratios that the project holds itself to."""

import re
import statistics

from latency import ALONE, BOTH

# Against whom each is measured, in the same run.
RATIOS = [("walpost", "pg_recvlogical"), ("walpost-exactly-once", "walpost"), ("walpost-structured", "walpost"),
          ("walpost-tls", "walpost"), ("walpost-2-shards", "walpost"), ("walpost-validate", "walpost"),
          ("walpost-avro", "walpost"), ("walpost-protobuf", "walpost"), ("walpost", "debezium"),
          ("walpost", "debezium-tuned")]
MIB = 2**20


def medians(runs):
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def rate(result, shape, tool, seconds="seconds"):
    runs = result["drains"].get(shape, {}).get(tool)
    return runs and result["rows_of"][shape] / medians(runs)[seconds]


def drains(result):
    yield (f"{'rows a tx':>9} {'tool':<21} {'rows/s':>9} {'with start':>10} {'CPU s/M':>8} {'walsender':>9} "
           f"{'broker':>7} {'cores':>5} {'peak MiB':>8}")
    for shape, tools in result["drains"].items():
        million = result["rows_of"][shape] / 1e6
        for tool, runs in tools.items():
            run = medians(runs)
            cores = (run["cpu"] + run["walsender_cpu"] + run["broker_cpu"]) / run["seconds_with_start"]
            yield (f"{shape:>9} {tool:<21} {rate(result, shape, tool):>9,.0f} "
                   f"{rate(result, shape, tool, 'seconds_with_start'):>10,.0f} {run['cpu'] / million:>8.2f} "
                   f"{run['walsender_cpu'] / million:>9.2f} {run['broker_cpu'] / million:>7.2f} "
                   f"{cores:>5.2f} {run['memory'] / MIB:>8.0f}")
        for one, other in RATIOS:
            if tools.get(one) and tools.get(other):
                ratio = rate(result, shape, one) / rate(result, shape, other)
                yield f"{shape:>9} {one} / {other}: {ratio:.2f}"


def latencies(result):
    if result["latency"]:
        yield f"{'commits/s':>9} {'from … to':<30} {'p50 ms':>7} {'p90':>7} {'p99':>7} {'max':>8} {'events':>9}"
    for commits, measured in result["latency"].items():
        for what, times in measured.items():
            what = "commit to consumer" if what == "walpost" else what
            yield (f"{commits:>9} {what:<30} {times['p50_ms']:>7.1f} {times['p90_ms']:>7.1f} {times['p99_ms']:>7.1f} "
                   f"{times['max_ms']:>8.1f} {times['events']:>9,}")
        for how, floors in (("alone", ALONE), ("both at once", BOTH)):
            above = [measured["walpost"][cut] - sum(measured[floor][cut] for floor in floors) for cut in ("p50_ms", "p99_ms")]
            yield f"{commits:>9} above the floors' sum, {how}: p50 {above[0]:.1f} ms, p99 {above[1]:.1f} ms"
        yield f"{commits:>9} {measured['walpost']['walpost_cores']:.2f} cores of walpost"


def starts(result):
    if not (measured := result["starts"]):
        return
    yield (f"start to first event: {measured['start_ms']:.0f} ms, of these Postgres' own {measured['postgres_start_ms']:.0f} "
           f"(pg_recvlogical's first byte)")
    for kill in ("SIGKILL", "SIGTERM"):
        gap = measured[kill]
        yield (f"takeover after {kill}: nothing for {gap['gap_ms']:.0f} ms, at worst {gap['worst_gap_ms']:.0f}; "
               f"repeats at most {gap['repeats']}")
    yield f"idle: {measured['idle_memory'] / MIB:.0f} MiB"


def text(result):
    head = (f"{result['rows']:,} rows, median of {result['runs']}; Postgres 15, Kafka, {result['cores']} cores, "
            f"{result['machine']}")
    parts = [head, *("\n".join(part(result)) for part in (drains, latencies, starts))]
    return "\n\n".join(part for part in parts if part) + "\n\nall ids arrived, each once\n"


def summary(result):
    """A few lines for who does not want to read the tables."""
    if not (shapes := list(result["drains"])):
        return
    yield "| | " + " | ".join(f"{shape} rows a transaction" if shape != "1" else "1 row a transaction" for shape in shapes) + " | CPU | memory |"
    yield "| --- |" + " --- |" * (len(shapes) + 2)
    for tool, what in (("pg_recvlogical", "`pg_recvlogical` to `/dev/null`, no Kafka"), ("walpost", "walpost"),
                       ("debezium-tuned", "Debezium, tuned")):
        if not (runs := result["drains"][shapes[0]].get(tool)):
            continue
        rates = [rate(result, shape, tool) for shape in shapes]
        run = medians(runs)
        yield (f"| {what} | " + " | ".join(f"{each:,.0f} rows/s" if each else "" for each in rates) +
               f" | {run['cpu'] / result['rows_of'][shapes[0]] * 1e6:.1f} s a million | {run['memory'] / MIB:,.0f} MiB |")


def write_page(path, result):
    """Puts tables and summary between the marks of the page that are for them."""
    page, places = path.read_text(), 0
    for mark, block in (("bench", f"```text\n{text(result)}```"), ("bench summary", "\n".join(summary(result)))):
        block = f"<!-- {mark} -->\n{block}\n<!-- end {mark} -->"
        page, count = re.subn(f"<!-- {mark} -->.*?<!-- end {mark} -->", lambda _, block=block: block, page, flags=re.S)
        if count > 1:
            raise SystemExit(f"{path} has more than one place for the figures from <!-- {mark} --> to <!-- end {mark} -->")
        places += count
    if not places:
        raise SystemExit(f"{path} has no place for the figures, from <!-- bench --> to <!-- end bench -->, or bench summary")
    path.write_text(page)
