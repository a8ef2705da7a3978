"""What a process uses: CPU and memory, while it runs."""

import os
import re
import sys
import threading
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def cpu(pid, thread=""):
    """Seconds of CPU, user and system, that a process, or a thread of it (`task/number`), has used."""
    fields = Path(f"/proc/{pid}/{thread}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def compiling(pid):
    """Seconds of CPU that the optimizing compiler of a Java process has used."""
    threads = (Path(f"/proc/{pid}/task") / name for name in os.listdir(f"/proc/{pid}/task"))
    return sum(cpu(pid, f"task/{thread.name}") for thread in threads
               if (thread / "comm").read_text().startswith("C2 Compiler"))


def memory(pid, field):
    """Bytes: VmHWM is the most a process ever had, VmRSS what it has now."""
    return int(re.search(rf"{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


class Watch(threading.Thread):
    """Samples a tool's memory and the walsenders' CPU, which are gone when the processes are."""

    def __init__(self, servers, pid):
        super().__init__(daemon=True)
        self.servers, self.pid = servers, pid
        self.memory, self.walsender_cpu, self.over = 0, 0.0, False
        self.broker_before = cpu(servers.broker)
        self.start()

    def run(self):
        used, asked = {}, 0.0
        while not self.over:
            try:
                self.memory = max(self.memory, memory(self.pid, "VmHWM"))
            except (OSError, TypeError):
                pass
            senders = set()
            # Looking for them reads the command line of every backend, so not each time.
            if time.monotonic() - asked > 0.2:
                asked, senders = time.monotonic(), self.servers.walsenders()
            for sender in used.keys() | senders:
                try:
                    used[sender] = cpu(sender)
                except OSError:
                    pass
            self.walsender_cpu = sum(used.values())
            time.sleep(0.02)

    def finish(self):
        self.over = True
        self.join()
        return {"memory": self.memory, "walsender_cpu": self.walsender_cpu,
                "broker_cpu": cpu(self.servers.broker) - self.broker_before}
