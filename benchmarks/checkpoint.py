"""How fast are load_checkpoint and save_checkpoint, and how much memory does loading take?

Each question is answered by ratios, for networks of 2, 200, 300 and 800 MB:

1. Loading: load_checkpoint, which checks the file, and load_checkpoint(mmap=True), against the
   posts' way: torch.load, a new Network, load_state_dict. Goals: checked takes at most half the
   posts' seconds, and at most 1.1 times the model's size in extra memory (the posts' way about 2);
   mmap takes at most a fiftieth of the seconds and a tenth of the size, as long as no weight is
   used. What it takes once every weight has been summed is a row of its own.
2. Saving: save_checkpoint against torch.save of the same dict to the same path. Goal: at most 1.3
   times the seconds. It waits until the disk has the file, torch.save doesn't.
3. Both against the least that can be done: read the bytes; write them, flush and fsync.
4. Saving in the background: how long checkpoints.save(background=True) keeps the training waiting,
   against copying the tensors in memory. Goal: at most 1.3 times the seconds.

The goals of loading are judged at 200, 300 and 800 MB, that of saving at 200 MB, that of the
background at 800 MB. At 2 MB fixed costs of milliseconds dominate, and memory that the interpreter
has at hand; those figures are printed, not judged.

Each loading runs in a new process, after the same on a tiny file, so that imports and first-use
costs don't count. Its extra memory is the process's peak above what it held before; only Linux
tells, elsewhere it is not judged. The file lies in the page cache. Saving runs in one process, with
os.sync() before each time. The contestants take turns, in 5 rounds (800 MB: 3); figures are
medians, ratios are medians of each round's ratio. A run takes about 3 minutes, 2.4 GB of disk and
2.2 GB of memory.

    python benchmarks/checkpoint.py [figure.png]

It prints the tables and the goals, and draws the figure of loading, by default
build/benchmarks/checkpoint.png. The exit code is 1 if a goal is missed.
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import checkpoints
import fc_model

FIGURE = Path(__file__).resolve().parents[1] / "build" / "benchmarks" / "checkpoint.png"
SEED = 1
NETWORKS = {
    "2 MB": (784, 10, [512, 256, 128]),
    "200 MB": (4096, 4096, [4096] * 2),
    "300 MB": (4330, 4330, [4330] * 3),
    "800 MB": (4096, 4096, [4096] * 11),
}
ROUNDS = {"2 MB": 5, "200 MB": 5, "300 MB": 5, "800 MB": 3}
# The columns of a row that are judged, and the most that each may be.
GOALS = [
    ("load", size, contestant, column, limit)
    for size in ("200 MB", "300 MB", "800 MB")
    for contestant, column, limit in [
        ("checked", "times_reference", 1 / 2),
        ("checked", "memory", 1.1),
        ("mmap", "times_reference", 1 / 50),
        ("mmap", "memory", 0.1),
    ]
]
GOALS += [("save", "200 MB", "save_checkpoint", "times_reference", 1.3)]
GOALS += [("stall", "800 MB", "background save", "times_reference", 1.3)]
# For each work what the contestants are compared with: the usual way, and the least that can be done.
REFERENCES = {
    "load": ("posts' way", "plain read"),
    "save": ("torch.save", "plain write"),
    "stall": ("copy", "copy"),
}
NO_MEMORY = "Extra memory: not measured, because only Linux tells it (/proc/self/status)."


class Row(NamedTuple):
    """What one contestant took at one size."""

    work: str  # "load", "save" or "stall"
    size: str  # a key of NETWORKS
    contestant: str
    seconds: float
    times_reference: float  # its seconds over those of the posts' way, or of torch.save
    times_plain: float  # its seconds over those of reading or writing the bytes
    memory: float | None  # peak extra memory over the model's size; None if saving, or not on Linux


# ---------------------------------------------------------------- the contestants


def posts_way(path):
    checkpoint = torch.load(path)
    model = fc_model.Network(
        checkpoint["input_size"], checkpoint["output_size"], checkpoint["hidden_layers"]
    )
    model.load_state_dict(checkpoint["state_dict"])
    return model


# The first is the reference, the last the least that can be done.
LOAD = {
    "posts' way": posts_way,
    "checked": fc_model.load_checkpoint,
    "mmap": lambda path: fc_model.load_checkpoint(path, mmap=True),
    "plain read": lambda path: Path(path).read_bytes(),
}
USED = "mmap, all used"


def plain_write(data, path):
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def savers(model, path):
    """The contestants of saving. Those after the first write the dict, and the bytes, that the first has written."""
    fc_model.save_checkpoint(model, path)
    checkpoint = checkpoints.load(path) | {"state_dict": model.state_dict()}
    data = Path(path).read_bytes()
    return {
        "torch.save": lambda: torch.save(checkpoint, path),
        "save_checkpoint": lambda: fc_model.save_checkpoint(model, path),
        "plain write": lambda: plain_write(data, path),
    }


def take_turns(names, rounds):
    """A list of the names for each round; another one goes first each time."""
    names = list(names)
    return [names[i % len(names) :] + names[: i % len(names)] for i in range(rounds)]


# ---------------------------------------------------------------- what a process of its own does


def memory(field):
    """Bytes of this process in a field of /proc/self/status; None where there is no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(
        (int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":")), None
    )


def forget_peak():
    """Let the peak, VmHWM, start again from what is held now. Without leave to, it comes out a few MB too high."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def load_once(contestant, path):
    """[seconds, extra bytes] of one loading; for a network again, from the same start until all weights are summed."""
    load = LOAD[contestant]
    torch.ones(1000, 1000).aminmax()  # starts the threads
    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(folder) / "tiny.pth"
        fc_model.save_checkpoint(fc_model.Network(3, 2, [4]), tiny)
        load(tiny)

    forget_peak()
    before = memory("VmRSS")

    def reading(began):
        seconds, peak = time.perf_counter() - began, memory("VmHWM")
        return seconds, None if None in (before, peak) else peak - before

    began = time.perf_counter()
    loaded = load(path)
    result = [reading(began)]
    if isinstance(loaded, bytes):
        assert len(loaded) == os.path.getsize(path), "not all was read"
        return result
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.sum()
    result.append(reading(began))
    saved = torch.load(path, mmap=True)["state_dict"]
    assert all(torch.equal(tensor, saved[key]) for key, tensor in loaded.state_dict().items()), (
        "other weights"
    )
    return result


def save_rounds(size, path, rounds):
    """{contestant: seconds} of each round; leaves a checkpoint in path."""
    torch.manual_seed(SEED)
    contestants = savers(fc_model.Network(*NETWORKS[size]), path)
    result = timed_rounds(contestants, rounds)
    contestants["save_checkpoint"]()
    return result


def stall_rounds(size, path, rounds):
    """{contestant: seconds} of each round, until the training goes on."""
    torch.manual_seed(SEED)
    model = fc_model.Network(*NETWORKS[size])
    contestants = {
        "copy": lambda: {key: tensor.clone() for key, tensor in model.state_dict().items()},
        "background save": lambda: checkpoints.save({"model": model}, path, background=True),
    }
    return timed_rounds(contestants, rounds)


def timed_rounds(contestants, rounds):
    result = []
    for names in take_turns(contestants, rounds):
        seconds = {}
        for name in names:
            getattr(os, "sync", int)()  # Windows has none
            began = time.perf_counter()
            made = contestants[name]()
            seconds[name] = time.perf_counter() - began
            if isinstance(made, checkpoints.Job):
                made.result()
            del made
        result.append(seconds)
    return result


def in_new_process(function, *arguments):
    """What a function of this file returns, called in a process of its own."""
    command = [sys.executable, __file__, "--call", json.dumps([function.__name__, *arguments])]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


# ---------------------------------------------------------------- the figures


def measure(sizes=tuple(NETWORKS), rounds=None):
    """Measure saving and loading.

    Args:
        sizes (list of str): keys of NETWORKS. rounds (int): instead of ROUNDS.

    Returns:
        list of Row. Raises OSError if the folder for temporary files has too little room.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        need = 3 * max(_bytes(size) for size in sizes)  # an old file, a new one, and some air
        free = shutil.disk_usage(folder).free
        if free < need:
            room = f"{os.path.dirname(folder)} has {free / 1e9:.1f} GB free, {need / 1e9:.1f} are needed"
            raise OSError(f"{room}: set TMPDIR to another folder")
        path = str(Path(folder) / "checkpoint.pth")
        for size in sizes:
            count = rounds or ROUNDS[size]
            for work, function in {"stall": stall_rounds, "save": save_rounds}.items():
                timed = in_new_process(function, size, path, count)
                timed = [
                    {name: (seconds, None) for name, seconds in each.items()} for each in timed
                ]
                rows += _rows(work, size, timed)
            Path(path).read_bytes()  # into the page cache
            loaded = []
            for names in take_turns(LOAD, count):
                readings = {name: in_new_process(load_once, name, path) for name in names}
                loaded.append(
                    {name: reading[0] for name, reading in readings.items()}
                    | {USED: readings["mmap"][1]}
                )
            rows += _rows("load", size, loaded)
    return rows


def _bytes(size):
    with torch.device("meta"):
        return 4 * sum(p.numel() for p in fc_model.Network(*NETWORKS[size]).parameters())


def _rows(work, size, rounds):
    """The rows of one size, from {contestant: (seconds, extra bytes or None)} of each round."""
    names = [*LOAD, USED] if work == "load" else list(rounds[0])
    reference, plain = REFERENCES[work]
    rows = []
    for name in sorted(names, key=lambda name: name == plain):
        seconds = [each[name][0] for each in rounds]
        extra = [each[name][1] for each in rounds]
        rows.append(
            Row(
                work,
                size,
                name,
                statistics.median(seconds),
                statistics.median(own / each[reference][0] for own, each in zip(seconds, rounds)),
                statistics.median(own / each[plain][0] for own, each in zip(seconds, rounds)),
                None if None in extra else statistics.median(extra) / _bytes(size),
            )
        )
    return rows


def judge(rows):
    """[(goal, "met", "missed" or "not measured")] for the goals of the sizes that are among the rows."""
    verdicts = []
    for work, size, contestant, column, limit in GOALS:
        for row in rows:
            if row[:3] != (work, size, contestant):
                continue
            value = getattr(row, column)
            verdict = "not measured" if value is None else "met" if value <= limit else "missed"
            if column == "memory":
                found = "" if value is None else f": {value:.2f}"
                goal = f"{work} {size}, {contestant}: extra memory over the model's size{found} (at most {limit})"
            elif limit < 1:
                goal = (
                    f"{work} {size}, {contestant}: {1 / value:.3g} times as fast as the posts' way"
                )
                goal += f" (at least {1 / limit:.0f})"
            else:
                reference = REFERENCES[work][0]
                goal = f"{work} {size}, {contestant}: {value:.2f} times the seconds of {reference} (at most {limit})"
            verdicts.append((goal, verdict))
    return verdicts


def tables(rows):
    """The tables as text."""
    lines = [
        f"{'load':8}{'':18}{'seconds':>10}{'posts / it':>12}{'it / plain':>12}{'memory / size':>15}"
    ]
    for row in (row for row in rows if row.work == "load"):
        extra = "-" if row.memory is None else f"{row.memory:.2f}"
        lines.append(
            f"{row.size:8}{row.contestant:18}{row.seconds:10.4f}{1 / row.times_reference:12.2f}"
            f"{row.times_plain:12.2f}{extra:>15}"
        )
    lines += ["", f"{'save':8}{'':18}{'seconds':>10}{'it / torch':>12}{'it / plain':>12}"]
    for row in (row for row in rows if row.work == "save"):
        lines.append(
            f"{row.size:8}{row.contestant:18}{row.seconds:10.4f}{row.times_reference:12.2f}{row.times_plain:12.2f}"
        )
    lines += ["", f"{'stall':8}{'':18}{'seconds':>10}{'it / copy':>12}"]
    for row in (row for row in rows if row.work == "stall"):
        lines.append(
            f"{row.size:8}{row.contestant:18}{row.seconds:10.4f}{row.times_reference:12.2f}"
        )
    if any(row.work == "load" and row.memory is None for row in rows):
        lines += ["", NO_MEMORY]
    return "\n".join(lines)


def draw(rows, path):
    """Draw the seconds and the extra memory of loading as two panels into a PNG file."""
    import matplotlib.pyplot as plt  # here, because the processes that load don't need them

    import helper

    styles = {
        "posts' way": ("the posts' way", helper.RED),
        "checked": ("load_checkpoint", helper.BLUE),
        "mmap": ("mmap=True", helper.GREEN),
        USED: ("mmap=True, all used", "#8cc7b0"),
        "plain read": ("plain read", helper.GREY),
    }
    rows = [row for row in rows if row.work == "load"]
    sizes = list(dict.fromkeys(row.size for row in rows))
    heights = [
        sizes.index(row.size) * (len(styles) + 1.2) + list(styles).index(row.contestant)
        for row in rows
    ]
    colors = [styles[row.contestant][1] for row in rows]
    known = [
        (row.memory, height, color)
        for row, height, color in zip(rows, heights, colors)
        if row.memory is not None
    ]

    beside = {"textcoords": "offset points", "va": "center_baseline", "fontsize": 12.5}
    blank = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 1.2 + 1.65 * len(sizes)), sharey=True)
    left.hlines(heights, 0, 1, transform=left.get_yaxis_transform(), color="#e5e7eb", zorder=0)
    left.scatter([row.seconds for row in rows], heights, s=90, color=colors)
    for row, height in zip(rows, heights):
        text = f"{row.seconds:.2f} s" if row.seconds >= 0.1 else f"{row.seconds * 1000:.2g} ms"
        left.annotate(text, (row.seconds, height), (8, 0), **beside, bbox=blank)
    shortest, longest = min(row.seconds for row in rows), max(row.seconds for row in rows)
    left.set(
        title="Time to load",
        xlabel="seconds (log scale)",
        xscale="log",
        xlim=(shortest / 2, longest * 5),
    )
    left.xaxis.set_major_formatter("{x:g}")
    left.set_yticks(heights, [styles[row.contestant][0] for row in rows], fontsize=12.5)
    for size in sizes:
        top = sizes.index(size) * (len(styles) + 1.2) - 0.75
        for ax in (left, right)[: 1 + bool(known)]:
            ax.text(
                0,
                top,
                f" {size}",
                transform=ax.get_yaxis_transform(),
                fontsize=13,
                fontweight="bold",
                va="center",
            )

    for extra, height, color in known:
        right.barh(height, extra, 0.75, color=color)
        right.annotate(f"{extra:.2f}", (extra, height), (5, 0), **beside)
    if not known:
        right.text(
            0.5,
            0.5,
            "not measured: only Linux tells",
            transform=right.transAxes,
            ha="center",
            fontsize=13,
        )
    most = max([1, *(extra for extra, _, _ in known)])
    right.set(
        title="Extra memory at its peak",
        xlabel="times the size of the model",
        xlim=(0, 1.18 * most),
    )
    right.set_ylim(max(heights) + 0.7, -1.3)
    for ax in (left, right):
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.xaxis.label.set_size(13)
        ax.tick_params(axis="x", labelsize=12.5)
        ax.title.set_size(15)
    right.tick_params(labelleft=False)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(path=FIGURE):
    try:
        rows = measure()
    except OSError as error:
        sys.exit(str(error))
    print(tables(rows), end="\n\n")
    verdicts = judge(rows)
    for goal, verdict in verdicts:
        print(f"{verdict:13}{goal}")
    draw(rows, path)
    print(f"\nFigure: {path}")
    return int(any(verdict == "missed" for _, verdict in verdicts))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--call"]:
        name, *arguments = json.loads(sys.argv[2])
        called = {"load_once": load_once, "save_rounds": save_rounds, "stall_rounds": stall_rounds}
        print(json.dumps(called[name](*arguments)))
    else:
        sys.exit(main(*sys.argv[1:]))
