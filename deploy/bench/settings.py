"""What one run of the benchmark is told, by its arguments and by the environment (deploy/bench/run names all)."""

import os
import sys
from pathlib import Path

REPOSITORY, CLIENTS = Path(sys.argv[1]), Path(sys.argv[2])
WALPOST = os.environ["WALPOST"]
ROWS = int(os.environ.get("ROWS", "1000000"))
RUNS = int(os.environ.get("RUNS", "3"))
SHAPES = os.environ.get("SHAPES", "100 1").split()
TOOLS = os.environ["TOOLS"].split()
RATES = [int(rate) for rate in os.environ.get("RATES", "100 1000 5000").split()]
LATENCY_SECONDS = int(os.environ.get("SECONDS_OF_LATENCY", "20"))
STARTS = int(os.environ.get("STARTS", "5"))
MORE = dict(pair.split("=", 1) for pair in os.environ.get("ENVIRONMENT", "").split())
PARTITIONS = 4
