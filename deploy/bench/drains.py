"""Drains: one set of rows, each tool with a slot of its own made before them, the order alternating from run to run.

The first drain into a broker is not counted: its JVM compiles what it runs while it runs it, which took three CPU
seconds of a million records here, and would be the share of whoever comes first.
"""

import rows
from contestants import CONTESTANTS
from settings import RUNS, TOOLS
from watch import say


def measure(servers, shape):
    """For each tool its runs, in the order in which they were made."""
    drains = [(tool, f"{tool}_{shape}_{run}".replace("-", "_").lower())
              for run in range(RUNS) for tool in (TOOLS if run % 2 else TOOLS[::-1])]
    warming = [tool for tool in TOOLS if tool != "pg_recvlogical"][:1]
    drains = [(tool, f"warm_{shape}".lower()) for tool in warming] + drains
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
