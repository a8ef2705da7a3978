"""The measuring part of deploy/bench/run, which says what is measured and starts this with everything installed.

Fair by construction: one set of rows, one publication, the same options; each drain has a slot of its own, made
before the rows; the order of the tools alternates from run to run; medians are reported.

How the numbers come about:
- pg_recvlogical: from "streaming initiated" in its own log to its end, which --endpos brings about.
- the others: from their start, or from the first record, to the last record; both by the broker's clock at the append
  (message.timestamp.type=LogAppendTime), which is this machine's, so that nothing has to be polled meanwhile.
- CPU of the tool by wait4(2); of walsender and broker from /proc, sampled; memory is the kernel's high-water mark.
- cores: the sum of these three over the time with start. Near to all that the machine has, the machine is the limit.
- latency: pgbench stamps the row with clock_timestamp() inside the INSERT that it commits; a consumer subtracts
  that from its own clock when it has the record.
Every drain is checked: each id of the table is in Kafka, exactly once.
"""

import json
import os
import platform
import sys
from pathlib import Path

import drains
import latency
import plots
import report
import rows
import starts
from servers import Servers
from settings import LATENCY_SECONDS, RATES, REPOSITORY, ROWS, RUNS, SHAPES, STARTS, TOOLS


def measure(save):
    """`save` is told what there is after each part: a run that is stopped has not measured in vain."""
    servers = Servers()
    try:
        rows.make_outbox(servers)
        if "walpost-2-shards" in TOOLS:
            rows.make_shards(servers, 2)
        result = {
            "rows": ROWS, "rows_of": {shape: rows.rows_of(shape) for shape in SHAPES}, "runs": RUNS,
            "cores": os.cpu_count(), "machine": platform.machine(), "kernel": platform.release(),
            "drains": {}, "latency": {}, "starts": {},
        }
        for shape in SHAPES if TOOLS else ():
            result["drains"][shape] = drains.measure(servers, shape)
            save(result)
        for rate in RATES if LATENCY_SECONDS else ():
            result["latency"][str(rate)] = latency.measure(servers, rate)
            save(result)
        if STARTS:
            result["starts"] = starts.measure(servers)
            save(result)
        return result
    finally:
        servers.stop()


def main():
    folder = REPOSITORY / ".dev/bench"
    folder.mkdir(parents=True, exist_ok=True)
    if (again := os.environ.get("RESULT")):
        result, *more = (json.loads(Path(file).read_text()) for file in again.split())
        for other in more:
            if any(result[part] != other[part] for part in ("rows", "runs", "cores", "machine")):
                raise SystemExit(f"{again}: runs of other machines or sizes are not one table")
            for part in ("rows_of", "drains", "latency", "starts"):
                result[part] |= other[part]
    else:
        result = measure(lambda part: (folder / "result.json").write_text(json.dumps(part, indent=1) + "\n"))
    print(report.text(result))
    for picture in plots.draw(folder, result):
        print(f"picture: {picture}")
    for page in os.environ.get("WRITE", "").split():
        report.write_page(Path(page), result)
        print(f"figures written into {page}")
    print(f"numbers: {folder / 'result.json'}", file=sys.stderr)


if __name__ == "__main__":
    main()
