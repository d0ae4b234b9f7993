"""Load the weights of a large network in one of three ways, and measure it, for lesson 11.

    python 11_measure_loading.py WAY FILE

Prints JSON with three stages: when the network is loaded, when each weight was read, and when each
weight was changed. A stage has its peak, seconds, own memory and pages of the file. Beside the
stages stand a curve, the memory at many moments, and the seconds that the program waits after a
stage. The memory that the program held before it loaded the file is subtracted.
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil  # comes with ipykernel
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import fc_model

WAIT = 0.1  # seconds after a stage, so that a picture shows the stages apart


def build():
    return fc_model.Network(784, 10, [3500, 3500, 3500, 3500, 3500])


def usual(path):
    network = build()
    network.load_state_dict(torch.load(path, map_location="cpu"))
    return network


def assigned(path):
    with torch.device("meta"):
        network = build()
    network.load_state_dict(torch.load(path, map_location="cpu"), assign=True)
    return network


def mapped(path):
    with torch.device("meta"):
        network = build()
    network.load_state_dict(torch.load(path, map_location="cpu", mmap=True), assign=True)
    return network


def read(network):
    for weights in network.parameters():
        weights.sum()


def change(network):
    with torch.no_grad():
        for weights in network.parameters():
            weights += 1


def memory():
    """The bytes that this process holds: memory of its own, and pages of files (known on Linux)."""
    now = psutil.Process().memory_info()
    pages = getattr(now, "shared", 0)
    return now.rss - pages, pages


def peak():
    """The most bytes that this process has held so far."""
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text().splitlines()
        (line,) = [line for line in lines if line.startswith("VmHWM:")]
        return 1024 * int(line.split()[1])
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(way, path):
    start, before, peak_before = time.perf_counter(), memory(), peak()
    stages, curve = {}, []

    def now():
        own, pages = (max(0, held - then) for held, then in zip(memory(), before))
        return {"seconds": time.perf_counter() - start, "own": own, "pages": pages}

    def watch():
        while len(stages) < 3:
            curve.append(now())
            time.sleep(0.001)

    def finish(stage):
        stages[stage] = {"peak": peak() - peak_before, **now()}

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    network = {"usual": usual, "assigned": assigned, "mapped": mapped}[way](path)
    finish("loaded")
    time.sleep(WAIT)
    read(network)
    finish("read")
    time.sleep(WAIT)
    change(network)
    finish("changed")
    watcher.join()
    return {**stages, "curve": curve, "wait": WAIT}


def in_new_process(way, path):
    """Start this program for a way and a file, and return what it prints."""
    command = [sys.executable, __file__, way, path]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


if __name__ == "__main__":
    with torch.device("meta"):
        build()  # the first network on this device takes longer
    print(json.dumps(measure(*sys.argv[1:])))
