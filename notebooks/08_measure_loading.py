"""Measure how long it takes to load a model, and how much memory, in the ways that lesson 08 compares.

    python 08_measure_loading.py FOLDER REPEATS MB [MB ...]

For each size the program writes a model of about MB million bytes to a new folder in FOLDER, which it deletes at the
end, and loads it REPEATS times in each way. The first three of `WAYS` are measured at every size, the others at the
last one only. It prints JSON, a list with an entry for each way and size:

    {"way": "state_dict", "mb": 50, "size": 50331648, "seconds": 0.13, "copies": 2.0, "read_seconds": ...,
     "read_copies": ..., "measured": {"seconds": [...], "copies": [...], "read_seconds": ..., "read_copies": ...}}

The numbers are the smallest of those measured: whatever else the machine does can only add to them. `copies` is the
peak of memory, the most that the process ever held less what it held before, as a multiple of the model's size in
bytes. read_seconds and read_copies are the same after each weight has been read once. A peak never goes down, so each
measurement has a process of its own. The files have been written a moment ago, so the system still has them in
memory: this is about loading, not about disks.

On Linux a process starts as a copy of one that has imported PyTorch. Elsewhere each one has to import it, which takes
seconds, so there REPEATS counts as 1 at all sizes but the last. Lesson 08 runs this program.
"""

import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
from pathlib import Path

WIDTH = 1024  # of a layer: it has 1024 x 1024 weights of 4 bytes, 4.2 MB
WAYS = [
    "whole model",  # the object itself, pickled
    "state_dict",  # build a model, load_state_dict(torch.load(...))
    "safetensors",  # build a model, load_state_dict(load_file(...))
    "state_dict, mmap",
    "state_dict, meta, assign",
    "state_dict, meta, assign, mmap",
    "safetensors, meta, assign",
    "shards, copied",  # into a model that holds memory and no numbers yet, file by file
    "tensors, copied",  # likewise, from one file, tensor by tensor
]


def build(layers, width):
    """The model, with random weights, as nn.Linear makes them."""
    from torch import nn

    return nn.Sequential(*[nn.Linear(width, width, bias=False) for _ in range(layers)])


def build_empty(layers, width):
    """The model, with memory for its weights, and whatever lies there."""
    import torch

    with torch.device("meta"):
        model = build(layers, width)
    # As to_empty does. Its first call takes most of a second, and each process would make one.
    empty = {key: torch.empty(tensor.shape) for key, tensor in model.state_dict().items()}
    model.load_state_dict(empty, assign=True)
    return model


def write(folder, layers, width):
    """Write a model whose weights are 0 in layer 0, 1 in layer 1 and so on: whole, as state_dict, and in shards."""
    import torch
    from safetensors.torch import save_file

    model = build_empty(layers, width)
    for number, parameter in enumerate(model.parameters()):
        parameter.data.fill_(number)
    torch.save(model, folder / "whole.pt")
    torch.save(model.state_dict(), folder / "state_dict.pt")
    save_file(model.state_dict(), folder / "model.safetensors")
    for quarter in range(4):
        shard = {
            key: tensor
            for key, tensor in model.state_dict().items()
            if int(key[:-7]) * 4 // layers == quarter
        }
        save_file(shard, folder / f"shard-{quarter}.safetensors")


def load(way, folder, layers, width):
    """Load the model that `write` wrote."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    if way == "whole model":
        return torch.load(folder / "whole.pt", weights_only=False)
    if way == "shards, copied":
        model = build_empty(layers, width)
        for path in folder.glob("shard-*.safetensors"):
            model.load_state_dict(load_file(path), strict=False)
        return model
    if way == "tensors, copied":
        model = build_empty(layers, width)
        for key, tensor in model.state_dict().items():
            # Anew for each: as long as a file is open, what was read of it stays mapped, and counts.
            with safe_open(folder / "model.safetensors", "pt") as file:
                tensor.copy_(file.get_tensor(key))
        return model
    with torch.device("meta" if "meta" in way else "cpu"):
        model = build(layers, width)
    if "safetensors" in way:
        state_dict = load_file(folder / "model.safetensors")
    else:
        state_dict = torch.load(folder / "state_dict.pt", mmap="mmap" in way)
    model.load_state_dict(state_dict, assign="assign" in way)
    return model


def peak():
    """The most bytes of memory that this process has held so far."""
    if sys.platform == "linux":
        # Not ru_maxrss, which may begin with the memory of the process that started this one.
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
    if sys.platform == "win32":
        import psutil  # comes with ipykernel

        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def read(model):
    """The smallest and the largest weight of each layer."""
    return [(parameter.min().item(), parameter.max().item()) for parameter in model.parameters()]


def measure(way, folder, layers, width):
    """Load the model, then read each weight once: the seconds and the bytes of the peak after each of the two."""
    read(load(way, folder / "tiny", 4, 8))  # what only a first call costs shall not count
    before, start = peak(), time.perf_counter()
    model = load(way, folder, layers, width)
    loaded = time.perf_counter() - start, peak() - before
    weights = read(model)
    used = time.perf_counter() - start, peak() - before
    if weights != [(number, number) for number in range(layers)]:
        raise RuntimeError(f"{way}: these are not the weights that were written")
    return *loaded, *used


def send(pipe, function, arguments):
    pipe.send(function(*arguments))


def in_a_process_of_its_own(context, function, *arguments):
    """What function returns in a new process. If that one raises or dies, this one ends."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=send, args=[theirs, function, arguments])
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        sys.exit(f"The process of {function.__name__}{arguments} ended early.")
    finally:
        process.join()


def main(folder, repeats, sizes):
    linux = sys.platform == "linux"
    os.environ["OMP_NUM_THREADS"] = (
        "1"  # of the processes that follow: the times are steadier with one thread
    )
    context = multiprocessing.get_context("forkserver" if linux else "spawn")
    if linux:
        context.set_forkserver_preload(["torch", "safetensors.torch"])
    (folder / "tiny").mkdir()
    in_a_process_of_its_own(context, write, folder / "tiny", 4, 8)
    results = []
    for mb in sizes:
        layers = max(4, round(mb * 1e6 / (4 * WIDTH**2)))
        in_a_process_of_its_own(context, write, folder, layers, WIDTH)
        ways = WAYS if mb == sizes[-1] else WAYS[:3]
        size, found = 4 * WIDTH**2 * layers, {way: [] for way in ways}
        for _ in range(repeats if linux or mb == sizes[-1] else 1):
            for way in ways:
                found[way].append(
                    in_a_process_of_its_own(context, measure, way, folder, layers, WIDTH)
                )
        for way in ways:
            seconds, peaks, read_seconds, read_peaks = zip(*found[way])
            measured = {"seconds": seconds, "copies": [peak / size for peak in peaks]}
            measured |= {
                "read_seconds": read_seconds,
                "read_copies": [peak / size for peak in read_peaks],
            }
            least = {name: min(values) for name, values in measured.items()}
            results.append({"way": way, "mb": mb, "size": size, **least, "measured": measured})
    print(json.dumps(results))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as new:
        main(Path(new), int(sys.argv[2]), [float(mb) for mb in sys.argv[3:]])
