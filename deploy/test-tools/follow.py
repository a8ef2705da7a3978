"""Follows a page of the docs command by command:  follow.py PAGE ROOM LEAST

Runs its ```sh blocks as one script, from the root of the repository, with TMPDIR in ROOM; each line of a ```text
block must be in what the ```sh block before it has said. The first block builds walpost, which must be in the PATH.
LEAST: how many such lines there are at least, so that a page that lost its blocks is noticed.
"""

import os
import re
import subprocess
import sys

page, room, least = sys.argv[1:]
name = os.path.basename(page)
blocks = re.findall(r"^```(sh|text)\n(.*?)^```$", open(page).read(), re.M | re.S)
while blocks[0][0] != "sh":  # an example before the first command
    blocks.pop(0)
assert "cargo build" in blocks[0][1], f"the first command of {name} builds walpost"
script, expected, number = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n", [], 0
for kind, text in blocks[1:]:
    if kind == "sh":
        number += 1
        script += f"echo '== block {number}'\n{text}"
    else:
        expected += [(number, line) for line in text.splitlines()]
with open(f"{room}/page.sh", "w") as file:
    file.write(script)
with open(f"{room}/page.out", "w+") as output, open(f"{room}/page.err", "w+") as errors:
    run = ["timeout", "900", "bash", file.name]
    code = subprocess.run(run, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=os.environ | {"TMPDIR": room}).returncode
    for said in (output, errors):
        said.seek(0)
    said, complaints = output.read(), errors.read()
if code:
    sys.exit(f"{said}\n{complaints}\na command of {name} failed with {code}")
parts = dict(zip(range(1, number + 1), re.split(r"^== block \d+\n", said, flags=re.M)[1:]))
for number, line in expected:
    if line not in parts[number]:
        sys.exit(f"{said}\nblock {number} of {name} never says: {line}")
if len(expected) < int(least):
    sys.exit(f"only {len(expected)} lines of {name} were compared")
print(f"{name} says what happens, in {len(expected)} lines", file=sys.stderr)
