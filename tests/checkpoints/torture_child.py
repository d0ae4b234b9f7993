"""What the fault matrix measures in a process of its own: memory and seconds to load each file.

Called with a folder, whose first file is a good one, it prints the results as JSON.
"""

import json
import sys
import time
from pathlib import Path

import torch
from checkpoint_tools import judge


def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def measure(way, path):
    """What comes of a file, how many megabytes that took at the most, and how many seconds."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = memory("VmRSS"), time.process_time()
    try:
        outcome = way(path)
    except Exception as error:
        outcome = type(error).__name__
    return [outcome, memory("VmHWM") - before, time.process_time() - start]


def load_all(folder):
    """Load each file of a folder in three ways."""
    first, *paths = sorted(Path(folder).iterdir())
    expected = torch.load(first)
    ways = {
        "load": lambda path: judge(path, expected, network_alone=True),
        "map": lambda path: judge(path, expected, network_alone=True, mmap=True),
        "torch.load": lambda path: torch.load(path) and "loaded",
    }
    for way in ways.values():
        measure(way, first)  # what the first call alone imports is no part of the figures
    return {f"{path.name} {name}": measure(ways[name], path) for path in paths for name in ways}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(load_all(sys.argv[1])))
