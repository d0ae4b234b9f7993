"""Drawings that a single lesson uses, in the order of the lessons. Those of several lessons are in helper.py."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import helper
from helper import BLUE, GREEN, GREY, RED, YELLOW


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
        helper.write_on_bar(ax, 0, begin, "header")
    names = [name for name in header if name != "__metadata__"]
    bars = [
        (begin + start, end - start)
        for start, end in (header[name]["data_offsets"] for name in names)
    ]
    ax.broken_barh(bars, (0, 1), facecolor=BLUE, edgecolor="white", linewidth=0.6, label="numbers")
    for name, (start, length) in zip(names, bars):
        if length > 0.01 * len(name) * (width or len(content)):  # else the name would not fit in
            helper.write_on_bar(ax, start, length, name)
    helper.name_bytes(ax, path, len(content))
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
