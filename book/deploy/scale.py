"""How many clients one machine can play: seconds and memory of a round, written down at once."""

import csv
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

TARGET = Path(__file__).resolve().parents[1] / "results" / "deploy" / "scale.csv"
FIELDS: list[str] = ["clients", "rounds", "seconds_a_round", "seconds", "memory_mb", "mb_sent_a_round", "cores"]
ROUNDS = 1
RUN = """
import json, sys
import fedprompt_helpers as fp
config = fp.RunConfig(method="head", partition="iid", clients=int(sys.argv[1]), rounds=1, local_epochs=1,
                      languages=("en", "de", "cy", "ga", "is"), patience=None)
rounds = fp.simulate(config).rounds
print(json.dumps([rounds[-1]["seconds"], sum(rounds[-1]["bytes"].values()), len(rounds[-1]["failed"])]))
"""


def measure(sizes: list[int]) -> None:
    """Run a federation of each size in a process of its own, and watch its memory."""
    for clients in sizes:
        began, most = time.monotonic(), 0.0
        command = [sys.executable, "-c", RUN, str(clients)]
        process = psutil.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        said: list[str] = []
        reader = threading.Thread(target=lambda p=process, s=said: s.append(p.stdout.read()))
        reader.start()
        while process.poll() is None:
            most = max(most, _private_and_shared(process))
            time.sleep(0.5)
        reader.join()
        seconds, sent, failed = json.loads(said[0].splitlines()[-1])
        if failed:
            raise RuntimeError(f"{failed} of {clients} clients failed")
        row = {"clients": clients, "rounds": ROUNDS, "seconds_a_round": round(seconds, 1), "cores": os.cpu_count()}
        row |= {"seconds": round(time.monotonic() - began), "memory_mb": round(most), "mb_sent_a_round": sent / 1e6}
        _write(row)
        print(row, flush=True)


def _private_and_shared(process: psutil.Popen) -> float:
    """Add up the proportional memory of a process and its children, in MB: what they share counts once."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            full = each.memory_full_info()
            total += getattr(full, "pss", full.rss) / 1e6
        except psutil.Error:
            continue
    return total


def _write(row: dict) -> None:
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    rows = list(csv.DictReader(TARGET.open(encoding="utf-8"))) if TARGET.exists() else []
    rows = [old for old in rows if int(old["clients"]) != row["clients"]] + [row]
    with TARGET.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda each: int(each["clients"])))
