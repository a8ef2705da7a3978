"""Drains: one set of rows, each tool with a slot of its own made before them, the order alternating from run to run.

The first drain into a broker is not counted: its JVM compiles what it runs while it runs it, which took three CPU
seconds of a million records here, and would be the share of whoever comes first. What only TLS or only transactions
run in it is compiled in a drain of its own.
"""

import rows
from contestants import CONTESTANTS
from settings import RUNS, TOOLS
from watch import say

# Their way through the broker is another than that of the first.
OTHER_WAYS = {"walpost-tls", "walpost-exactly-once"}


def measure(servers, shape):
    """For each tool its runs, in the order in which they were made."""
    drains = [(tool, f"{tool}_{shape}_{run}".replace("-", "_").lower())
              for run in range(RUNS) for tool in (TOOLS if run % 2 else TOOLS[::-1])]
    warming = [tool for tool in TOOLS if tool != "pg_recvlogical"]
    warming = warming[:1] + [tool for tool in warming[1:] if tool in OTHER_WAYS]
    drains = [(tool, f"warm_{number}_{shape}".lower()) for number, tool in enumerate(warming)] + drains
    for tool, name in drains:
        for slot in CONTESTANTS[tool].slots(name):
            rows.make_slot(servers, slot)
    end = rows.write_rows(servers, shape)
    ids = [line.encode() for line in servers.sql("select id from outbox").split()]
    results = {tool: [] for tool in TOOLS}
    for tool, name in drains:
        result = CONTESTANTS[tool].drain(servers, name, end, ids)
        say(f"{name}: " + ", ".join(f"{what} {value:,.2f}" for what, value in result.items()))
        if not name.startswith("warm_"):
            results[tool].append(result)
        for slot in CONTESTANTS[tool].slots(name):
            rows.drop_slot(servers, slot)
    return results
