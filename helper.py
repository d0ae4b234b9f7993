"""Everything round the model: the data, the pictures and the marks of the exercises.

Importing it sets matplotlib's defaults for the series: readable sizes and one palette.
"""

import functools
import gzip
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import zipfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
)

DATA = Path(__file__).resolve().parent / "data"

# SHA-256 of the four files as their authors published them (data/README.md).
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
CLASSES = {
    "Fashion": [
        "T-shirt",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Boot",
    ],
    "MNIST": [str(digit) for digit in range(10)],
}

BLUE, RED, GREEN, YELLOW, GREY = "#2f6db5", "#d1383d", "#2a8f6a", "#e0a526", "#6b7280"
plt.rcParams.update(
    {
        "axes.prop_cycle": plt.cycler(color=[BLUE, RED, GREEN, YELLOW, GREY]),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 14,
        "axes.labelsize": 12,
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
        "legend.fontsize": 11,
        "legend.frameon": False,
        "figure.dpi": 100,
        "figure.constrained_layout.use": True,
    }
)


# ---------------------------------------------------------------- data


def regression_data(seed=1, n=100, noise=0.2):
    """The points of the regression lessons: y = x^2 + noise * U(0, 1), x evenly spaced from -1 to 1.

    Returns:
        (Tensor, Tensor): x and y, float32, both (n, 1): a column, as nn.Linear(1, ...) expects. The same seed gives
        the same points, and the global random state is left alone.
    """
    x = torch.linspace(-1, 1, n).unsqueeze(1)
    generator = torch.Generator().manual_seed(seed)
    return x, x**2 + noise * torch.rand(x.shape, generator=generator)


def data_file(name):
    """Path of one of the four Fashion-MNIST files, after its SHA-256 has been compared with the published one.

    Raises:
        FileNotFoundError: the file is missing. RuntimeError: it is damaged. Both name the file and the way out.
    """
    path = DATA / "FashionMNIST" / "raw" / name
    way_out = "Restore the folder with `git checkout -- data`, or clone the repository again."
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {way_out}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != CHECKSUMS[name]:
        raise RuntimeError(f"{path} is damaged: its SHA-256 is not the published one. {way_out}")
    return path


@functools.cache
def fashion_mnist(*, train):
    """The Fashion-MNIST training set (60,000 images) or test set (10,000), read once and kept in memory.

    Read straight from the .gz files, so nothing is unpacked on disk and two notebooks can start at the same time.

    Args:
        train (bool): the training set if True, the test set if False.

    Returns:
        (Tensor, Tensor): images, uint8 (N, 28, 28), 0 to 255, and labels, int64 (N,), 0 to 9.

    Raises:
        FileNotFoundError, RuntimeError: as `data_file` does.
    """
    part = "train" if train else "t10k"
    # bytearray, because torch warns about tensors over memory that cannot be written.
    pixels = bytearray(gzip.decompress(data_file(f"{part}-images-idx3-ubyte.gz").read_bytes()))
    labels = bytearray(gzip.decompress(data_file(f"{part}-labels-idx1-ubyte.gz").read_bytes()))
    # The IDX format: a header of 16 bytes before the images and of 8 bytes before the labels, then the bytes.
    images = torch.frombuffer(pixels, dtype=torch.uint8, offset=16).view(-1, 28, 28)
    return images, torch.frombuffer(labels, dtype=torch.uint8, offset=8).long()


def fashion_mnist_loaders(batch_size=64, train_size=None, generator=None):
    """DataLoaders of Fashion-MNIST that hold the normalised tensors in memory and fetch whole batches.

    The values are those of `Compose([ToTensor(), Normalize((0.5,), (0.5,))])`, to the bit: float32 from -1 to 1.
    They are computed once instead of once a sample and epoch. The sampler hands out a list of indices, and
    indexing the tensors with it gives a batch in one step; with `batch_size=None` the DataLoader passes it on.

    Args:
        batch_size (int): images a training batch; the test loader always takes 1,000, since a mean over the test
            set does not depend on it.
        train_size (int or None): use only the first train_size training images; None uses all 60,000.
        generator (torch.Generator or None): draws the order of the training images, so that shuffling repeats;
            None uses torch's global random state.

    Returns:
        (DataLoader, DataLoader): trainloader, shuffled, and testloader, in order. Each yields images, float32
        (batch, 1, 28, 28), and labels, int64 (batch,). Going through testloader never touches the global random state.

    Raises:
        ValueError: batch_size or train_size is not an int or out of range. FileNotFoundError, RuntimeError: as
            `data_file` does.
    """
    images, labels = fashion_mnist(train=True)
    train_size = len(images) if train_size is None else train_size
    # Not isinstance: True is an int too, and would mean one image.
    if type(train_size) is not int or not 1 <= train_size <= len(images):
        raise ValueError(f"train_size must be an int from 1 to {len(images)}, got {train_size!r}")
    train_set = TensorDataset(_normalize(images[:train_size]), labels[:train_size])
    test_images, test_labels = fashion_mnist(train=False)
    test_set = TensorDataset(_normalize(test_images), test_labels)

    batches = BatchSampler(
        RandomSampler(train_set, generator=generator), batch_size, drop_last=False
    )
    trainloader = DataLoader(train_set, sampler=batches, batch_size=None, generator=generator)
    test_batches = BatchSampler(SequentialSampler(test_set), 1000, drop_last=False)
    testloader = DataLoader(
        test_set, sampler=test_batches, batch_size=None, generator=torch.Generator()
    )
    return trainloader, testloader


def _normalize(images):
    return images.unsqueeze(1).to(torch.float32).div_(255).sub_(0.5).div_(0.5)


# ---------------------------------------------------------------- pictures


def imshow(image, ax=None, title=None, normalize=True):
    """Show one image tensor.

    Args:
        image (Tensor): (28, 28), (1, 28, 28) or (3, H, W), float; left unchanged.
        ax (matplotlib Axes or None): where to draw; None makes a new figure.
        title (str or None): text above the image.
        normalize (bool): True undoes Normalize((0.5,), (0.5,)), that is, maps -1..1 back to 0..1.

    Returns:
        matplotlib Axes. Raises ValueError for any other shape, or an image of integers.
    """
    if image.ndim == 2:
        image = image.unsqueeze(0)
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"image must be (H, W), (1, H, W) or (3, H, W), got {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ValueError(
            f"image must be float, got {image.dtype}: divide bytes by 255, and pass normalize=False"
        )
    pixels = image.detach().cpu().float()
    pixels = (pixels * 0.5 + 0.5 if normalize else pixels).clamp(0, 1).permute(1, 2, 0).squeeze(2)
    if ax is None:
        _, ax = plt.subplots(figsize=(3, 3))
    ax.imshow(pixels.numpy(), cmap="gray", vmin=0, vmax=1)
    ax.set_axis_off()
    if title:
        ax.set_title(title)
    return ax


def view_classify(img, ps, version="MNIST"):
    """Show an image beside its ten class probabilities.

    Args:
        img (Tensor): as in `imshow`, normalised; left unchanged.
        ps (Tensor): ten probabilities, (10,) or (1, 10); left unchanged.
        version (str): "MNIST" or "Fashion", which names the classes.

    Returns:
        the two matplotlib Axes. Raises ValueError for another version or anything but ten probabilities.
    """
    if version not in CLASSES:
        raise ValueError(f"version must be 'MNIST' or 'Fashion', got {version!r}")
    if ps.numel() != 10:
        raise ValueError(f"ps must hold 10 probabilities, got shape {tuple(ps.shape)}")
    if not 0 <= ps.min() <= ps.max() <= 1:
        raise ValueError(
            "ps must lie between 0 and 1: log-probabilities become probabilities by .exp()"
        )
    _, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), width_ratios=[1, 1.4])
    imshow(img, ax=left, title="Image")
    right.barh(CLASSES[version], ps.detach().cpu().flatten().numpy())
    right.invert_yaxis()
    right.set(xlim=(0, 1), xlabel="probability", title="Class probabilities")
    return left, right


def plot_fits(x, y, predictions):
    """One panel for each entry of predictions ({title: tensor like y}): the points, and the prediction in red."""
    _, axes = plt.subplots(
        1, len(predictions), figsize=(4 * len(predictions), 3.4), sharey=True, squeeze=False
    )
    for ax, (title, prediction) in zip(axes[0], predictions.items()):
        ax.scatter(x, y, s=18, color=GREY, alpha=0.7, label="data")
        ax.plot(x, prediction.detach(), color=RED, linewidth=4, label="prediction")
        ax.set(title=title, xlabel="x")
    axes[0, 0].set_ylabel("y")
    axes[0, 0].legend(loc="upper center")
    return axes[0]


def plot_history(history):
    """Draw the list that `train` returns: both losses on the left, the test accuracy on the right."""
    if not history:
        raise ValueError("history is empty: train prints and records every print_every steps")
    steps, training, test, accuracy = zip(*history)
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
    left.plot(steps, training, label="training loss")
    left.plot(steps, test, label="test loss")
    left.set(title="Loss", xlabel="step", ylabel="mean loss per image", ylim=(0, None))
    left.legend()
    right.plot(steps, accuracy, color=GREEN)
    right.set(title="Test accuracy", xlabel="step", ylabel="share of right answers", ylim=(0, 1))
    return left, right


def plot_zip(path):
    """Draw a zip file, as torch.save writes it, to scale: one bar over the file's bytes, each entry in its place."""
    with zipfile.ZipFile(path) as file:
        entries = file.infolist()
    size = Path(path).stat().st_size
    _, ax = plt.subplots(figsize=(11, 2.6))
    ax.broken_barh(
        [(0, size)], (0, 1), color="#c9ced8", label="headers, padding, table of contents"
    )
    for label, color in {"data/": BLUE, "data.pkl": RED, "": YELLOW}.items():
        chosen = [entry for entry in entries if entry.filename.partition("/")[2].startswith(label)]
        entries = [entry for entry in entries if entry not in chosen]
        bars = [(_data_offset(path, entry), entry.file_size) for entry in chosen]
        name = {"data/": "numbers: data/0, data/1 …", "": "other entries"}.get(label, label)
        ax.broken_barh(bars, (0, 1), facecolor=color, edgecolor="white", linewidth=0.6, label=name)
        for entry, (start, length) in zip(chosen, bars):
            if length > 0.04 * size:
                text = entry.filename.partition("/")[2]
                ax.text(
                    start + length / 2,
                    0.5,
                    text,
                    color="white",
                    ha="center",
                    va="center",
                    fontsize=11,
                )
    _name_bytes(ax, path, size)
    return ax


def plot_safetensors(path, width=None):
    """Draw a safetensors file to scale: its 8 bytes of length, its header, and each tensor's numbers in their place.

    width is how many bytes the picture is wide, to compare it with another file; None takes the file's size. Raises
    ValueError for a file of another format.
    """
    content = Path(path).read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    _, ax = plt.subplots(figsize=(11, 2.6))
    ax.broken_barh([(0, 8)], (0, 1), color=GREY, label="8 bytes: length of the header")
    ax.broken_barh([(8, begin - 8)], (0, 1), color=RED, label="header, JSON")
    if begin > 0.1 * (width or len(content)):
        ax.text(begin / 2, 0.5, "header", color="white", ha="center", va="center", fontsize=11)
    names = [name for name in header if name != "__metadata__"]
    bars = [
        (begin + start, end - start)
        for start, end in (header[name]["data_offsets"] for name in names)
    ]
    ax.broken_barh(bars, (0, 1), facecolor=BLUE, edgecolor="white", linewidth=0.6, label="numbers")
    for name, (start, length) in zip(names, bars):
        if length > 0.01 * len(name) * (width or len(content)):  # else the name would not fit in
            ax.text(
                start + length / 2, 0.5, name, color="white", ha="center", va="center", fontsize=11
            )
    _name_bytes(ax, path, len(content))
    ax.set_xlim(0, width or len(content))
    return ax


def plot_flips(ax, strips):
    """Below the file that plot_zip or plot_safetensors drew into ax: what became of it when one bit was another one.

    strips is {name of a loader: [(byte, outcome), ...]}, a row each, a stroke at each byte. An outcome is "wrong", it
    loaded other values without an error, "right", it loaded what it should, or "error". Beside the name stands the
    share of "wrong".
    """
    strokes, names = {"right": "#c9ced8", "error": GREEN, "wrong": RED}, ["the file"]
    for row, (name, flips) in enumerate(strips.items(), start=1):
        places = {
            outcome: [byte for byte, found in flips if found == outcome] for outcome in strokes
        }
        lines = [
            ax.vlines(places[key], -1.2 * row, 1 - 1.2 * row, strokes[key], linewidth=1.5)
            for key in strokes
        ]
        names.append(f"{name}\n{len(places['wrong']) / len(flips):.0%} wrong")
    ax.set_yticks([0.5 - 1.2 * row for row in range(len(names))], names)
    ax.tick_params(axis="y", length=0)
    ax.figure.set_size_inches(11, 1.9 + 0.6 * len(strips))
    labels = ["loaded, right", "error", "loaded, wrong, no error"]
    legend = ax.legend(
        lines, labels, loc="upper center", bbox_to_anchor=(0.45, -0.75 / len(names)), ncols=3
    )
    for handle in legend.legend_handles:
        handle.set_linewidth(5)
    return ax


def _name_bytes(ax, path, size):
    ax.set(
        title=f"{Path(path).name}: {size:,} bytes",
        xlabel="byte in the file",
        xlim=(0, size),
        yticks=[],
    )
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=4)
    ax.spines["left"].set_visible(False)


def _data_offset(path, entry):
    # Before an entry's bytes stand 30 bytes of local header, its name, and an extra field, which torch.save fills up
    # so that the bytes start at a multiple of 64. The header's last four bytes are the lengths of name and field.
    with open(path, "rb") as file:
        file.seek(entry.header_offset + 26)
        name, extra = file.read(2), file.read(2)
    return (
        entry.header_offset + 30 + int.from_bytes(name, "little") + int.from_bytes(extra, "little")
    )


def plot_ladder(losses, rungs):
    """Draw a run that was never interrupted under each of four runs that were resumed in its middle.

    losses has a number for each step; rungs is {title: losses from the interruption to the end}, a panel each. Most
    of what came before the interruption is left out.
    """
    _, axes = plt.subplots(2, 2, figsize=(11, 5), sharex=True, sharey=True)
    steps = range(1, len(losses) + 1)
    for ax, (title, resumed), color in zip(axes.flat, rungs.items(), [RED, YELLOW, BLUE, GREEN]):
        ax.plot(steps, losses, color=GREY, alpha=0.4, linewidth=6, label="never interrupted")
        ax.plot(steps[-len(resumed) :], resumed, color=color, linewidth=2, label="resumed")
        ax.axvline(len(losses) - len(resumed) + 0.5, color=GREY, linestyle=":")
        ax.set(
            title=title,
            xlim=(0.7 * (len(losses) - len(resumed)), None),
            ylim=(0, 1.25 * max(map(max, rungs.values()))),
        )
    axes[0, 0].legend(loc="upper right", ncols=2)
    for below, left in zip(axes[1], axes[:, 0]):
        below.set_xlabel("step")
        left.set_ylabel("loss of the batch")
    return axes


def plot_widths(networks):
    """Draw two networks of as many layers, to see which tensors of the one fit the other: green fits, red does not.

    networks is {title: widths, from the input to the output}, a panel each. A bar is a layer, in the colour of its
    bias; the area on its left is its weight. The input, which has neither, is grey.
    """
    one, other = networks.values()
    same = [a == b for a, b in zip(one, other)]
    names = ["input", *(f"hidden_layers.{i}" for i in range(len(one) - 2)), "output"]
    _, axes = plt.subplots(1, 2, figsize=(12, 4.2), sharey=True)
    for ax, (title, widths) in zip(axes, networks.items()):
        half = [width / 2 for width in widths]
        colors = [GREY, *(GREEN if fits else RED for fits in same[1:])]
        bars = ax.bar(range(len(widths)), widths, 0.14, [-h for h in half], color=colors)
        ax.bar_label(bars, padding=3, fontsize=13)
        for i in range(1, len(widths)):
            ends, top = [i - 0.9, i - 0.1], half[i - 1 : i + 1]
            fits = same[i - 1] and same[i]
            ax.fill_between(ends, top, [-h for h in top], color=GREEN if fits else RED, alpha=0.35)
        ax.set_xticks(range(len(widths)), names, fontsize=10)
        last = len(widths) - 1
        ax.annotate(
            "output.bias",
            (last, -5),
            (last - 0.3, -180),
            color=colors[-1],
            arrowprops={"arrowstyle": "->"},
        )
        ax.set(title=title, xlabel="layer", ylabel="width of the layer", yticks=[])
    return axes


def plot_parameters(model):
    """Draw how many numbers the parameters of each layer of a model (nn.Module) hold, a colour a kind of layer."""
    sizes = [
        (type(m).__name__, sum(p.numel() for p in m.parameters(recurse=False)))
        for m in model.modules()
    ]
    sizes = [(kind, size) for kind, size in sizes if size]
    _, ax = plt.subplots(figsize=(11, 3.4))
    for kind in dict(sizes):
        bars = {i: size for i, (other, size) in enumerate(sizes) if other == kind}
        ax.bar(list(bars), list(bars.values()), label=f"{kind}: {sum(bars.values()):,}")
    ax.set(
        title="Size of each layer",
        xlabel="layer, in the order of modules()",
        ylabel="numbers in its parameters",
    )
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.legend(loc="upper left")
    return ax


def plot_units(networks):
    """Draw the weights of a Network's first eight hidden units as images of 28 x 28, blue above zero, red below.

    networks is {title: Network(784, ...) of eight units or more}, a row each. Weights beyond plus or minus 0.25 have
    the full colour.
    """
    figure, axes = plt.subplots(
        len(networks), 8, figsize=(12, 0.6 + 1.6 * len(networks)), squeeze=False
    )
    for row, (title, network) in zip(axes, networks.items()):
        for ax, weights in zip(row, network.hidden_layers[0].weight.detach()):
            image = ax.imshow(weights.view(28, 28).numpy(), cmap="RdBu", vmin=-0.25, vmax=0.25)
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(title)
    figure.colorbar(image, ax=axes, label="weight")
    figure.suptitle("The weights of eight hidden units, as images", fontsize=14)
    return axes


def plot_agreement(answers, others):
    """Draw each of others, {title: answers after loading}, against the answers before: a diagonal if they agree."""
    _, axes = plt.subplots(
        1, len(others), figsize=(5.5 * len(others), 3.8), sharex=True, sharey=True, squeeze=False
    )
    for ax, (title, found) in zip(axes[0], others.items()):
        ax.scatter(answers, found, s=3, color=GREEN if torch.equal(found, answers) else RED)
        ax.axline((0, 0), slope=1, color=GREY, linestyle=":")
        ax.set(title=title, xlabel="answer of the saved network")
    axes[0, 0].set_ylabel("answer after loading")
    return axes[0]


def plot_grid(table, words, title, xlabel, ylabel):
    """Draw a table {row: {column: bool}}: a red field with words[0] for True, a green one with words[1] for False."""
    columns = list(next(iter(table.values())))
    _, ax = plt.subplots(figsize=(2.5 + 1.5 * len(columns), 1.2 + 0.6 * len(table)))
    for y, row in enumerate(table.values()):
        for x, column in enumerate(columns):
            color, word = (RED, words[0]) if row[column] else (GREEN, words[1])
            ax.add_patch(plt.Rectangle((x + 0.02, y + 0.04), 0.96, 0.92, color=color))
            ax.text(x + 0.5, y + 0.5, word, ha="center", va="center", color="white", fontsize=12)
    ax.set_xticks([x + 0.5 for x in range(len(columns))], columns)
    ax.set_yticks([y + 0.5 for y in range(len(table))], list(table))
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, xlim=(0, len(columns)), ylim=(len(table), 0))
    ax.tick_params(length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax


def plot_decisions(decisions, otherwise):
    """Draw a chain of (question, answer) pairs: "yes" leads right to the answer, "no" down, at last to `otherwise`."""
    _, ax = plt.subplots(figsize=(10, 1.1 * (len(decisions) + 1)))
    arrow = {"arrowstyle": "-|>", "color": GREY}

    def box(left, row, text, colour):
        ax.add_patch(
            plt.Rectangle(
                (left, -row - 0.3), 0.45, 0.6, facecolor="white", edgecolor=colour, linewidth=2
            )
        )
        ax.text(left + 0.225, -row, text, ha="center", va="center", fontsize=12)

    for row, (question, answer) in enumerate(decisions):
        box(0, row, question, BLUE)
        box(0.53, row, answer, GREEN)
        ax.annotate("", (0.53, -row), (0.45, -row), arrowprops=arrow)
        ax.text(0.49, -row + 0.06, "yes", ha="center", va="bottom", fontsize=12)
        ax.annotate("", (0.225, -row - 0.7), (0.225, -row - 0.3), arrowprops=arrow)
        ax.text(0.24, -row - 0.5, "no", va="center", fontsize=12)
    box(0, len(decisions), otherwise, GREEN)
    ax.set(
        xlim=(-0.01, 0.99),
        ylim=(-len(decisions) - 0.4, 0.4),
        title="Which way of saving do you need?",
    )
    ax.set_axis_off()
    return ax


def plot_loading_sizes(rows):
    """Draw what notebooks/08_measure_loading.py measured at several sizes: bars are what counts, dots all measurements.

    rows is the list that the program prints. Ways that were measured at one size only are left out; ValueError if
    that leaves none.
    """
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    ways = {
        way: [row for row in rows if row["way"] == way]
        for way in dict.fromkeys(row["way"] for row in rows)
    }
    ways = {way: own for way, own in ways.items() if len(own) > 1}
    if not ways:
        raise ValueError("no way was measured at more than one size")
    _, axes = plt.subplots(1, 2, figsize=(11, 3.6))
    for number, (way, own) in enumerate(ways.items()):
        for ax, name in zip(axes, ["seconds", "copies"]):
            for row in own:
                place = sizes.index(row["size"]) + (number - (len(ways) - 1) / 2) * 0.8 / len(ways)
                unit = row["size"] / 1e6 if name == "copies" else 1
                ax.bar(
                    place,
                    row[name] * unit,
                    0.75 / len(ways),
                    color=f"C{number}",
                    label=way if row is own[0] else None,
                )
                dots = [value * unit for value in row["measured"][name]]
                ax.plot([place] * len(dots), dots, "k.", markersize=4)
    for ax in axes:
        ax.set_xticks(range(len(sizes)), [f"{size / 1e6:.0f}" for size in sizes])
        ax.set_xlabel("MB of weights")
    axes[0].set(title="Time to load", ylabel="seconds")
    axes[1].set(title="Peak of memory", ylabel="MB")
    axes[0].legend(loc="upper left")
    return axes


def plot_loading_ways(rows):
    """Draw what notebooks/08_measure_loading.py measured: a row a way, pale once each weight has been read.

    rows are some of the entries that the program prints.
    """
    _, axes = plt.subplots(1, 2, figsize=(11, 1.3 + 0.42 * len(rows)), sharey=True)
    ways = [row["way"] for row in rows]
    for ax, name in zip(axes, ["seconds", "copies"]):
        ax.barh(
            ways,
            [row[f"read_{name}"] for row in rows],
            0.75,
            color="#b9cfe8",
            label="loaded, then read",
        )
        ax.barh(ways, [row[name] for row in rows], 0.45, color=BLUE, label="loaded")
    axes[0].set(title="Time", xlabel="seconds", ylabel="way")
    axes[1].set(title="Peak of memory", xlabel="copies of the model", xticks=[0, 1, 2])
    axes[1].grid(axis="x", color=GREY, alpha=0.4)
    axes[0].invert_yaxis()
    axes[0].legend(loc="lower right")
    return axes


def plot_rows(panels):
    """Draw which rank holds which rows: a panel for each entry of panels, in it a box for each tensor, to scale.

    panels is {title: {tensor: (columns, [(rank, first row, rows), ...])}}; ranks are 0 to 3, a colour each.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(12, 3.6), sharey=True, squeeze=False)
    colors = (BLUE, RED, GREEN, YELLOW)
    for ax, (title, tensors) in zip(axes[0], panels.items()):
        left = 0
        for name, (columns, pieces) in tensors.items():
            for rank, first, rows in pieces:
                for row in range(first, first + rows):
                    ax.add_patch(plt.Rectangle((left, row), columns, 0.86, color=colors[rank]))
            ax.text(
                left + columns / 2, -0.3, name, ha="left", va="bottom", rotation=45, fontsize=11
            )
            left += columns + 3
        ax.set(title=title, xlabel="columns", xlim=(0, left + 4), xticks=[], ylim=(10.2, -4))
        ax.spines[["left", "bottom"]].set_visible(False)
    axes[0, 0].set(ylabel="row", yticks=[0.5, 9.5], yticklabels=[0, 9])
    ranks = sorted(
        {
            rank
            for tensors in panels.values()
            for _, pieces in tensors.values()
            for rank, *_ in pieces
        }
    )
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=colors[rank], label=f"rank {rank}") for rank in ranks
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(ranks))
    return axes[0]


# ---------------------------------------------------------------- several processes


def torchrun(script, ranks, *arguments, check=True, timeout=300):
    """Run a script in several processes, as `torchrun --nproc-per-node RANKS SCRIPT ARGUMENTS` does, and wait for it.

    They talk to each other through 127.0.0.1 and a free port, so no network but this machine's own (`lo`) is needed,
    and any number of calls can run side by side. Each has one thread, the environment of this process, and its working
    directory.

    Args:
        script (str or Path): a Python file. ranks (int): how many processes. arguments: handed to each, as text.
        check (bool): whether it is an error if a process fails.
        timeout (float): seconds after which all processes are ended.

    Returns:
        subprocess.CompletedProcess: returncode, 0 or 1, stdout and stderr of all processes and of torchrun.

    Raises:
        RuntimeError: a process failed, or time is up; its text ends with what the processes said last.
    """
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--local-addr",
        "127.0.0.1",
    ]
    program = ["--nproc-per-node", ranks, script, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _, name in socket.if_nameindex():
        if name in (
            "lo",
            "lo0",
        ):  # gloo would look up the host's name, which need not have an address
            environment["GLOO_SOCKET_IFNAME"] = name
    options = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "encoding": "utf-8",
        "errors": "replace",
    }
    with ExitStack() as stack:
        logs = stack.enter_context(
            tempfile.TemporaryDirectory()
        )  # torchrun makes a folder, and would leave it
        command = [str(part) for part in (*command, "--log-dir", logs, *program)]
        launcher = stack.enter_context(subprocess.Popen(command, env=environment, **options))
        try:
            stdout, stderr = launcher.communicate(timeout=timeout)
            problem = f"exit code {launcher.returncode}" if check and launcher.returncode else ""
        except BaseException as error:  # time is up, or the kernel was interrupted
            launcher.terminate()  # not kill: told to end, torchrun ends its processes first
            stdout, stderr = launcher.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            problem = f"not done after {timeout} seconds"
    if problem:
        # The lines that begin like E1126 or W1126, and those behind them, are torchrun's own.
        said = (
            re.split(r"^[EW]\d{4} ", stderr, maxsplit=1, flags=re.MULTILINE)[0]
            .rstrip()
            .splitlines()
        )
        raise RuntimeError(
            "\n".join([f"{Path(script).name} in {ranks} processes: {problem}", *said[-15:]])
        )
    return subprocess.CompletedProcess(command, launcher.returncode, stdout, stderr)


# ---------------------------------------------------------------- errors, comparing, exercises


def error_of(action):
    """Call action() and return the error that it raises, as `Type: message`; AssertionError if it raises none."""
    try:
        action()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # as in `exercise`
        return f"{type(error).__name__}: {error}"
    else:
        raise AssertionError("no error was raised")


def same_weights(model, other):
    """Whether two models (nn.Module) have the same state_dict: the same keys, dtypes, shapes and numbers."""
    ours, theirs = model.state_dict(), other.state_dict()
    # torch.equal alone takes 1.0 in float32 and 1.0 in float64 for the same.
    return ours.keys() == theirs.keys() and all(
        ours[key].dtype == theirs[key].dtype and torch.equal(ours[key], theirs[key]) for key in ours
    )


def moved(before, after):
    """The keys (list of str) under which two models (nn.Module) of the same keys and shapes hold different numbers.

    A NaN is different from everything, itself included. Numbers that are equal in two dtypes count as the same.
    """
    ours, theirs = before.state_dict(), after.state_dict()
    return [key for key in ours if not torch.equal(ours[key], theirs[key])]


@contextmanager
def exercise(name):
    """Run the asserts of an exercise's check; print its mark, or "not yet" and a hint, and never stop the notebook.

    >>> with exercise("1.2"):
    ...     assert 1 + 1 == 2, "count again"
    ✅ Exercise 1.2
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except (
        BaseException
    ) as error:  # CheckpointException of torch.distributed.checkpoint is no Exception
        hint = (
            str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
        )
        print(f"⬜ Exercise {name}: not yet. {hint or 'A check failed.'}")
    else:
        print(f"✅ Exercise {name}")
