"""Drawings that a single lesson uses, in the order of the lessons. Those of several lessons are in helper.py."""

import json
import pickletools
import textwrap
import time
import zipfile
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

import helper
from helper import BLUE, GREEN, GREY, RED, YELLOW


def plot_answers(network, title):
    """Show ten test images of Fashion-MNIST, one of each class, each below the answer of a network.

    A right answer is green with a check mark, a wrong one is red with a cross. The figure's title
    says how many are right.
    """
    images, labels = helper.fashion_mnist(train=False)
    # The third of each class: the trained network is right on nine of these.
    chosen = torch.stack([images[labels == label][2] for label in range(10)]) / 255
    with torch.no_grad():
        answers = network(chosen.flatten(1) * 2 - 1).argmax(dim=1).tolist()
    figure, axes = plt.subplots(2, 5, figsize=(10, 5))
    figure.get_layout_engine().set(h_pad=0.1)
    for label, (ax, answer) in enumerate(zip(axes.flat, answers)):
        mark, color = ("✓", GREEN) if answer == label else ("✗", RED)
        helper.imshow(chosen[label], ax, normalize=False)
        name = f"{helper.CLASSES['Fashion'][answer]} {mark}"
        ax.set_title(name, color=color, weight="bold", fontsize=17)
    right = sum(answer == label for label, answer in enumerate(answers))
    figure.suptitle(f"{title} answers: {right} of 10 right", fontsize=18)
    return axes


def plot_ways():
    """Draw the questions that lead to a way of saving: "yes" leads right, "no" down to the next."""
    rows = [
        ("Will training continue\nfrom this file?", "checkpoint\nlesson 04"),
        ("Must the model run\nwithout your code?", "exported program\nlesson 13"),
        ("Will strangers\nload the file?", "safetensors\nlesson 10"),
        ("Otherwise", "state_dict\nlessons 01 to 03"),
    ]
    _, ax = plt.subplots(figsize=(10, 4.4))
    arrow = {"arrowstyle": "-|>", "color": GREY}
    last = len(rows) - 1
    for row, (question, way) in enumerate(rows):
        for left, text, color, face in (
            (0, question, BLUE, "white"),
            (0.56, way, GREEN, "#e6f4ee"),
        ):
            style = {"facecolor": face, "edgecolor": color, "linewidth": 2}
            ax.add_patch(plt.Rectangle((left, -row - 0.3), 0.42, 0.6, **style))
            bold = "bold" if row == last and left else "normal"
            ax.text(left + 0.21, -row, text, ha="center", va="center", fontsize=14, weight=bold)
        ax.annotate("", (0.56, -row), (0.42, -row), arrowprops=arrow)
        if row < last:
            ax.annotate("", (0.21, -row - 0.7), (0.21, -row - 0.3), arrowprops=arrow)
            ax.text(0.49, -row + 0.06, "yes", ha="center", va="bottom", fontsize=12)
            ax.text(0.225, -row - 0.5, "no", va="center", fontsize=12)
    ax.set(xlim=(-0.01, 0.99), ylim=(-last - 0.4, 0.4), title="Which way of saving do you need?")
    ax.set_axis_off()
    return ax


def plot_panel(place, title, x, y, prediction):
    """Draw points and a prediction, a thick red line, into one panel of a figure.

    place is what plt.subplot takes: 132 is the second panel in one row of three. The first panel has the legend.
    """
    ax = plt.subplot(place)
    ax.scatter(x, y, s=18, color=GREY, alpha=0.7, label="data")
    ax.plot(x, prediction.detach(), color=RED, linewidth=3, label="prediction")
    return _finish_panel(ax, place, title)


def plot_calls(place, title, x, y, first, second):
    """Draw points and the answers of two calls of a network, a thick blue and a thin red line, into one panel."""
    ax = plt.subplot(place)
    ax.scatter(x, y, s=18, color=GREY, alpha=0.7, label="data")
    ax.plot(x, first.detach(), color=BLUE, linewidth=4, label="first call")
    ax.plot(x, second.detach(), color=RED, linewidth=2, label="second call")
    return _finish_panel(ax, place, title)


def _finish_panel(ax, place, title):
    """Give the panels of a row the same axes; only the first has a legend, inside of the U, and numbers at y."""
    ax.set(title=title, xlabel="x", xticks=[-1, 0, 1], yticks=[0, 0.5, 1], ylim=(-0.1, 1.35))
    if place % 10 == 1:
        ax.set_ylabel("y")
        ax.legend(loc="upper center")
    else:
        ax.tick_params(labelleft=False)
    return ax


def plot_two_files(whole, params):
    """Draw two files of one model in a row each: what it holds, the program that loads it, the code of the class.

    whole is the path of the whole model, whose class is in __main__; params is the path of its state_dict.
    """
    # Sorted, because then __main__.Net comes before torch.nn.
    net, *others = sorted(get_unsafe_globals_in_checkpoint(whole))
    tensors = torch.load(params)
    numbers = f"{sum(tensor.numel() for tensor in tensors.values())} numbers"
    asking = [net, f"{len(others)} names of torch.nn", numbers]
    filling = [next(iter(tensors)), f"{len(tensors) - 1} more names", numbers]
    load = ["from curve_net import Net", "model = torch.load(…)"]
    fill = ["from curve_net import Net", "model = Net()", "model.load_state_dict(…)"]
    boxes = {  # title: left, bottom, width, height, color, lines
        f"{whole.name}: whole model": (0, 2.1, 3, 1.4, BLUE, asking),
        f"{params.name}: state_dict": (0, 0, 3, 1.4, GREEN, filling),
        "load_fixed.py": (4.5, 2.1, 3.1, 1.4, GREY, load),
        "load_params.py": (4.5, 0, 3.1, 1.4, GREY, fill),
        "curve_net.py": (8.9, 1.45, 2.95, 0.6, GREY, ["class Net(nn.Module): …"]),
    }
    _, ax = plt.subplots(figsize=(12, 4.2))
    for title, (left, bottom, width, height, color, lines) in boxes.items():
        style = {"facecolor": "white", "edgecolor": color, "linewidth": 3}
        ax.add_patch(plt.Rectangle((left, bottom), width, height, **style))
        ax.text(left, bottom + height + 0.1, title, fontsize=14, color=color, weight="bold")
        for row, line in enumerate(lines):
            bold = (
                "bold" if line in (net, load[0], fill[2], "class Net(nn.Module): …") else "normal"
            )
            place = left + 0.12, bottom + height - 0.34 - 0.4 * row
            ax.text(*place, line, fontsize=13, family="monospace", weight=bold)
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.5}
    for start, end in [
        ((3, 3.25), (4.5, 3.25)),
        ((3, 0.35), (4.5, 0.35)),
        ((7.6, 3.25), (8.9, 1.9)),
        ((7.6, 1.15), (8.9, 1.6)),
    ]:
        ax.annotate("", end, start, arrowprops=arrow)
    ax.text(3.75, 3.35, f"asks for\n{net}", fontsize=12, ha="center")
    ax.text(3.75, 0.45, "fills\nthe model", fontsize=12, ha="center")
    ax.text(8.35, 2.75, "imports", fontsize=12)
    ax.text(8.2, 1.1, "imports", fontsize=12, va="center")
    ax.set(title="The code of the class is in neither file", xlim=(-0.05, 12), ylim=(-0.1, 4.1))
    ax.set_axis_off()
    return ax


def plot_keys(model, lit):
    """Draw the parts of a model as a tree, and behind each tensor its key and shape. The path to the key `lit` is blue.

    Below the name of a part is its class, in grey, and a Linear's inputs and outputs.
    The model itself is black: its name is not part of a key.
    Beside a part without a tensor, a note says that it has no key.
    """
    parts, tensors = dict(model.named_modules()), model.state_dict()
    # A gap between the two, so that no edge runs behind the class of the last tensor's layer.
    ends = [*tensors, " ", *(name for name, part in parts.items() if not part.state_dict())]
    last = max(key.count(".") for key in tensors) + 1
    _, ax = plt.subplots(figsize=(12, 0.8 + 0.46 * len(ends)))

    def place(path):
        rows = [row for row, end in enumerate(ends) if not path or f"{end}.".startswith(f"{path}.")]
        depth = path.count(".") + 1 if path else 0
        return last if path in tensors else depth, sum(rows) / len(rows)

    def on_path(path):
        return path != "" and f"{lit}.".startswith(f"{path}.")

    def write(x, y, words, path, **look):
        color, weight = (BLUE, "bold") if on_path(path) else ("black", "normal")
        ax.text(x, y, words, color=color, weight=weight, fontsize=12, va="center", **look)

    box = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": "none"}
    for path in filter(None, [*parts, *tensors]):
        (x, y), (left, top) = place(path), place(path.rpartition(".")[0])
        line = {"color": BLUE, "linewidth": 3.5} if on_path(path) else {"color": "#b8bec9"}
        ax.plot([left, x], [top, y], zorder=1 + on_path(path), **line)
    for path in parts:
        x, y = place(path)
        name, kind = path.rpartition(".")[2], type(parts[path]).__name__
        if isinstance(parts[path], torch.nn.Linear):
            kind += f" {parts[path].in_features} → {parts[path].out_features}"
        if not path:
            name, kind = kind, "not in the key"
        # One white box behind both lines, as wide as the wider one, cuts an edge of the tree straight.
        words = "\n".join(2 * ["n" * max(round(0.85 * len(name)), round(0.66 * len(kind)))])
        look = {"fontsize": 13, "weight": "bold" if on_path(path) else "normal"}
        ax.text(x, y, words, color="white", ha="center", va="center", bbox=box, **look)
        write(x, y - 0.2, name, path, ha="center")
        ax.text(x, y + 0.24, kind, color=GREY, fontsize=10, ha="center", va="center")
        if path in ends:
            note = {"color": GREY, "style": "italic", "fontsize": 12}
            ax.text(x + 0.22, y, "no tensor, so no key", va="center", **note)
    for key, tensor in tensors.items():
        x, y = place(key)
        write(x + 0.08, y, key.rpartition(".")[2], key)
        write(x + 0.5, y, key, key, family="monospace")
        write(x + 1.9, y, tuple(tensor.shape), key, family="monospace")
    for x, words in {last + 0.5: "key", last + 1.9: "shape"}.items():
        ax.text(x, -1, words, fontsize=12, color=GREY)
    ax.set(xlim=(-0.25, last + 2.5), ylim=(len(ends) - 0.5, -1.4))
    ax.set_title("A key is the path of names from the model to the tensor", pad=14)
    ax.set_axis_off()
    return ax


def plot_registered(model):
    """Draw four boxes, one inside the other, and in each the names that it has and the next one inside has not.

    From inside: the parameters, what the state_dict holds, what is registered, and all attributes
    that are tensors or lists.
    """
    parameters, keys = dict(model.named_parameters()), list(model.state_dict())
    boxes = {  # label: color, names
        "parameters(): trained": (GREEN, parameters),
        "state_dict(): saved": (BLUE, [key for key in keys if key not in parameters]),
        "registered: to() converts it": (
            YELLOW,
            [name for name, _ in model.named_buffers() if name not in keys],
        ),
        f"attributes of {type(model).__name__}": (
            GREY,
            [
                name
                for name, value in vars(model).items()
                if isinstance(value, (torch.Tensor, list))
            ],
        ),
    }
    _, ax = plt.subplots(figsize=(11, 3.6))
    for level, (label, (color, names)) in enumerate(boxes.items()):
        right, top = 1 + level + 0.04 * level, 2 + 0.5 * level
        box = plt.Rectangle(
            (-0.06 * level, -0.12 * level), right + 0.06 * level, top + 0.12 * level
        )
        box.set(facecolor="white", edgecolor=color, linewidth=3, zorder=1 - 0.1 * level)
        ax.add_patch(box)
        ax.text(0.05 - 0.06 * level, top - 0.25, label, va="center", fontsize=13, weight="bold")
        for row, name in enumerate(names):
            place = level + 0.15, 1.3 - 0.45 * row
            ax.text(*place, name, va="center", fontsize=13, family="monospace")
    ax.set(
        xlim=(-0.25, 4.2), ylim=(-0.45, 3.6), title="The state_dict holds the names in the blue box"
    )
    ax.set_axis_off()
    return ax


def plot_checkpoint():
    """Draw a checkpoint as nested boxes: each one adds keys to the box inside it, and names what they are good for."""
    pieces = [
        ("#f0f6fc", "state_dict", "fill a network that you have built"),
        (
            "#dae8f6",
            "+ input_size, output_size,\n  hidden_layers, drop_p",
            "rebuild the network, and use it",
        ),
        ("#c3d9f0", "+ optimizer, epoch", "continue training"),
        ("#a9c9ea", "+ scheduler, random_state", "continue as if nothing had happened"),
    ]
    _, ax = plt.subplots(figsize=(10.4, 4.6))
    for row, (shade, keys, use) in reversed(list(enumerate(pieces))):
        inset = 0.14 * (len(pieces) - 1 - row)
        corner, size = (inset, inset - 0.5), (5.4 - inset, row + 1 - inset)
        ax.add_patch(plt.Rectangle(corner, *size, facecolor=shade, edgecolor=BLUE, linewidth=2))
        middle = row if row else inset / 2
        ax.text(2.9, middle, keys, ha="center", va="center", family="monospace", fontsize=14)
        arrow = {"arrowstyle": "<-", "color": BLUE, "linewidth": 2}
        ax.annotate("", (5.4, middle), (5.9, middle), arrowprops=arrow)
        ax.text(6, middle, use, va="center", fontsize=14)
    ax.text(2.7, -0.8, "What the file holds", ha="center", fontsize=15, weight="bold")
    ax.text(6, -0.8, "What that lets you do", fontsize=15, weight="bold")
    ax.set(xlim=(-0.1, 9.4), ylim=(len(pieces) - 0.4, -1.2))
    ax.set_axis_off()
    return ax


def plot_turned(images, labels, networks):
    """Draw the fourth image, and beside it the class probabilities that each of networks, {title: network}, gives it.

    The bar of the right class is green, and its name has a check mark. The titles say how many of all images are right.
    """
    label = labels[3].item()
    names = [*helper.CLASSES["Fashion"]]
    _, axes = plt.subplots(1, 3, figsize=(11, 3.8), width_ratios=[1, 1.2, 1.2])
    helper.imshow(images[3], ax=axes[0], title=f"{names[label]}, upside down")
    names[label] = f"✓ {names[label]}"
    for ax, (title, network) in zip(axes[1:], networks.items()):
        with torch.no_grad():
            answers = network(images.flatten(1)).exp()
        share = (answers.argmax(dim=1) == labels).float().mean()
        colors = [GREEN if number == label else GREY for number in range(10)]
        bars = ax.barh(range(10), 100 * answers[3].numpy(), color=colors)
        texts = [f"{p:.0%}" if p >= 0.01 else "" for p in answers[3].tolist()]
        ax.bar_label(bars, texts, padding=3)
        ax.invert_yaxis()
        ax.set_yticks(range(10), names if ax is axes[1] else [""] * 10)
        ax.set(xlim=(0, 120), xticks=(0, 50, 100), xlabel="probability in %")
        ax.spines["bottom"].set_bounds(0, 100)
        ax.set_title(f"{title}\n{share:.0%} of all images right")
    return axes


def plot_agreement(answers, others):
    """Draw each of others, {title: answers of second}, against the answers of resnet: on the line if they agree.

    At most 500 answers are drawn. The number in a panel is the largest difference of all answers.
    """
    every = max(1, answers.numel() // 500)
    size = 1.1 * max(found.abs().max().item() for found in (answers, *others.values()))
    _, axes = plt.subplots(
        1, len(others), figsize=(5.2 * len(others), 5), sharey=True, squeeze=False
    )
    for ax, (title, found) in zip(axes[0], others.items()):
        same, most = torch.equal(found, answers), (found - answers).abs().max().item()
        color, marker = (GREEN, "o") if same else (RED, "^")
        before, after = answers.flatten()[::every], found.flatten()[::every]
        ax.axline((0, 0), slope=1, color=GREY, linestyle="--", zorder=0)
        ax.scatter(before, after, s=22, color=color, marker=marker, alpha=0.5, linewidths=0)
        place = {"rotation": 45, "rotation_mode": "anchor", "ha": "center", "va": "bottom"}
        ax.text(0.65 * size, 0.67 * size, "same answer", fontsize=12, color=GREY, **place)
        words = f"largest difference: {most:.1f}" if most else "no difference"
        ax.text(0.03, 0.97, words, color=color, va="top", fontsize=14, transform=ax.transAxes)
        ax.set(title=title, xlabel=r"answer of $\mathtt{resnet}$", aspect="equal")
        ax.set(xlim=(-size, size), ylim=(-size, size))
    axes[0, 0].set_ylabel(r"answer of $\mathtt{second}$")
    return axes[0]


def plot_changes(model, steps):
    """Draw what training changed: for each of steps, {title: names of changed entries}, a panel of boxes.

    A box stands for the parameters or the buffers of one child of the model. The last child is the head.
    """
    parameters = [name for name, _ in model.named_parameters()]
    buffers = [name for name, _ in model.named_buffers()]
    children = [path for path, child in model.named_children() if child.state_dict()]
    _, axes = plt.subplots(len(steps), 1, figsize=(11, 2.5 * len(steps)), squeeze=False)
    axes[0, 0].figure.get_layout_engine().set(hspace=0.1)
    for ax, (title, changed) in zip(axes[:, 0], steps.items()):
        for row, entries in enumerate((parameters, buffers)):
            for column, path in enumerate(children):
                names = {name for name in entries if name.startswith(f"{path}.")}
                color = GREEN if path == children[-1] else RED
                if names:
                    _draw_state(ax, column, row, color if names & {*changed} else None)
        ax.set(xlim=(0, len(children)), ylim=(2, 0), yticks=[0.5, 1.5])
        ax.set_title(title, family="monospace", loc="left")
        ax.set_yticklabels(["parameters", "buffers"], fontsize=13)
        ax.set_xticks([column + 0.5 for column in range(len(children))])
        ax.set_xticklabels([*children[:-1], f"{children[-1]} (head)"], family="monospace", size=13)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    return axes[:, 0]


def _draw_state(ax, column, row, color):
    # A box of plot_changes: coloured if something in it changed, grey and dashed if all of it stayed.
    style = {"facecolor": color or "white", "edgecolor": color or GREY}
    box = plt.Rectangle((column + 0.04, row + 0.08), 0.92, 0.84, linewidth=1.5, **style)
    box.set_linestyle("-" if color else "--")
    ax.add_patch(box)
    font = {"ha": "center", "va": "center", "fontsize": 13, "color": "white" if color else GREY}
    ax.text(column + 0.5, row + 0.5, "changes" if color else "stays", **font)


def plot_fitting(networks):
    """Draw two networks of as many layers, one above the other: plain blue tensors have one shape, hatched red differ.

    networks is {title: widths, from the input to the output}. A bar is the bias of a layer, the area on its left the
    weight; the input has neither. Heights are to scale, areas are not. Widths that differ are bold.
    """
    one, other = networks.values()
    same = [a == b for a, b in zip(one, other)]
    bold = {width for pair in zip(one, other) if len({*pair}) == 2 for width in pair}
    layers = [*(f"hidden_layers.{i}" for i in range(len(one) - 2)), "output"]
    figure, axes = plt.subplots(2, 1, figsize=(12, 5.4), sharex=True)
    for ax, (title, widths) in zip(axes, networks.items()):
        ax.bar(0, widths[0], 0.08, -widths[0] / 2, color="#c9ced8")
        ax.text(0, widths[0] / 2 + 30, f"{widths[0]} pixels", ha="center", fontsize=12)
        words = [rf"$\mathbf{{{width}}}$" if width in bold else width for width in widths]
        for i in range(1, len(widths)):
            left, right = widths[i - 1 : i + 1]
            ends, top = [i - 0.91, i - 0.09], [left / 2, right / 2]
            ax.fill_between(ends, top, [-h for h in top], **_fit(same[i - 1] and same[i]))
            ax.bar(i, right, 0.12, -right / 2, **_fit(same[i]))
            shape = f"({words[i]}, {words[i - 1]})"
            ax.text(i - 0.5, -left / 2 - 20, shape, ha="center", va="top", fontsize=12)
            ax.text(i, right / 2 + 30, f"({words[i]},)", ha="center", fontsize=12)
        ax.set(yticks=[], ylim=(-500, 520))
        ax.set_ylabel(title, fontsize=14)
        ax.spines[["left", "bottom"]].set_visible(False)
        ax.tick_params(axis="x", length=0)
    places = [i + part for i in range(len(layers)) for part in (0.5, 1)]
    axes[1].set_xticks(places, [".weight", ".bias"] * len(layers), fontsize=12)
    axes[1].tick_params(axis="x", pad=20)
    middles = [0, *(i + 0.75 for i in range(len(layers)))]
    axes[1].set_xticks(middles, ["input", *layers], minor=True, fontsize=12)
    for ax in axes:
        ax.tick_params(axis="x", which="minor", length=0)
    words = {"same shape": True, "different shape": False}
    handles = [
        plt.Rectangle((0, 0), 1, 1, label=word, **_fit(fits)) for word, fits in words.items()
    ]
    axes[0].legend(handles=handles, loc="upper right")
    fits = [fit for i in range(1, len(same)) for fit in (same[i - 1] and same[i], same[i])]
    title = f"{fits.count(False)} of {len(fits)} tensors have a different shape"
    figure.suptitle(title, fontsize=15)
    return axes


def _fit(fits):
    return (
        {"facecolor": BLUE} if fits else {"facecolor": "#f4c7c8", "edgecolor": RED, "hatch": "//"}
    )


def plot_overwritten(before, after):
    """Draw which tensors a failed load has overwritten in a Network: a box each, "kept" or "overwritten"."""
    changed = helper.changed(before, after)
    keys = list(before.state_dict())
    _, ax = plt.subplots(figsize=(8, 3.6))
    for place, key in enumerate(keys):
        row, column = divmod(place, 2)
        color, word = (YELLOW, "overwritten") if key in changed else (BLUE, "kept")
        box = plt.Rectangle((column + 0.02, row + 0.06), 0.96, 0.88, color=color)
        ax.add_patch(box)
        look = {"fontsize": 14, "color": "black" if key in changed else "white"}
        ax.text(column + 0.5, row + 0.5, word, ha="center", va="center", **look)
    layers = [key.removesuffix(".weight") for key in keys[::2]]
    ax.set_yticks([row + 0.5 for row in range(len(layers))], layers, fontsize=13)
    ax.set_xticks([0.5, 1.5], ["weight", "bias"], fontsize=13)
    ax.set(xlim=(0, 2), ylim=(len(layers), 0))
    title = f"The copy after the error: {len(changed)} of {len(keys)} tensors overwritten"
    ax.set_title(title, fontsize=15)
    ax.tick_params(length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax


def train_head(network):
    """Train the output of a Network of three classes, with the rest frozen: pullover, coat and shirt of Fashion-MNIST.

    Ten images of each class for 60 steps, 1,000 to test.

    Returns:
        list of float: the test accuracy at the start and after each step.
    """
    train, test = (_three_clothes(loader) for loader in helper.fashion_mnist_loaders())
    images, labels = (tensor[:, :10].flatten(0, 1) for tensor in train)
    test_images, test_labels = (tensor[:, :1000].flatten(0, 1) for tensor in test)
    network.train().hidden_layers.requires_grad_(False)
    for layer in network.hidden_layers:  # what the body makes of the test images does not change
        test_images = layer(test_images).relu()
    optimizer = torch.optim.Adam(network.output.parameters(), lr=0.003)
    curve = []
    for _ in range(61):
        with torch.no_grad():
            answers = network.output(test_images).argmax(dim=1)
        curve.append((answers == test_labels).float().mean().item())
        optimizer.zero_grad()
        torch.nn.functional.nll_loss(network(images), labels).backward()
        optimizer.step()
    return curve


def _three_clothes(loader):
    """The first 1,000 images of each of the three classes, (3, 1000, 784), and their new labels, (3, 1000)."""
    images, labels = loader.dataset.tensors
    rows = torch.stack([torch.where(labels == label)[0][:1000] for label in (2, 4, 6)])
    return images[rows].flatten(2), torch.arange(3)[:, None].expand(-1, 1000)


def plot_heads(loaded, random, chance):
    """Draw the test accuracy at the start and after each step, shares in [0, 1].

    A thick line for the curve of the loaded body, a thin one for each of the curves in random.
    """
    _, ax = plt.subplots(figsize=(9, 3.8))
    last = len(loaded) - 1
    ax.plot(loaded, color=BLUE, linewidth=3)
    _end(ax, f"loaded body, {100 * loaded[-1]:.0f} %", last, loaded[-1], BLUE)
    for curve in random:
        ax.plot(curve, "--", color="black", linewidth=1.2)
    low, high = (100 * pick(curve[-1] for curve in random) for pick in (min, max))
    text = f"{len(random)} random bodies,\n{low:.0f} to {high:.0f} %"
    _end(ax, text, last, sum(curve[-1] for curve in random) / len(random), "black", 8)
    ax.axhline(chance, color=GREY, linestyle=":")
    _end(ax, f"guessing, {100 * chance:.0f} %", last, chance, GREY, -14)
    ax.set(title="The new head is better on the loaded body")
    ax.set(xlabel="training step", ylabel="test accuracy", xlim=(0, last), ylim=(0, 1))
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    return ax


def _end(ax, text, x, y, color, shift=0):
    """Write the name of a curve on the right of its end, some points higher or lower."""
    look = {"textcoords": "offset points", "va": "center", "fontsize": 13, "color": color}
    ax.annotate(text, (x, y), (8, shift), annotation_clip=False, **look)


def add_batch_losses(losses, count):
    """Add the loss of each batch to the current figure, which has a curve of losses, one an epoch.

    An epoch has count batches. A diamond marks the last one of each.
    """
    ax = plt.gca()
    ax.figure.set_size_inches(11, 4)
    ax.lines[0].set(color=RED, linewidth=3.5, zorder=3)
    epochs = [step / count for step in range(len(losses))]
    ax.plot(epochs, losses, color=BLUE, linewidth=1, label="batches")
    last = slice(count - 1, None, count)
    small = {"color": YELLOW, "markersize": 5, "markeredgecolor": "black", "markeredgewidth": 0.5}
    ax.plot(epochs[last], losses[last], "D", label="batch of only 4 points", **small)
    title = "The same network and learning rate: a smooth curve, and a jagged one"
    ax.set(title=title, xlabel="epoch", ylabel="loss", xlim=(-1, 101), ylim=(0, None))
    ax.legend()
    return ax


def plot_pairs(answers, targets):
    """Draw the squared difference of each answer and each target as a field, with a dot on each wanted pair.

    Both are sorted by the targets.
    """
    targets, order = targets.flatten().sort()
    answers = answers.detach().flatten()[order]
    squares = (answers.view(-1, 1) - targets) ** 2
    count = len(targets)
    _, ax = plt.subplots(figsize=(6, 4.8))
    plt.colorbar(ax.imshow(squares.numpy(), cmap="Blues", vmin=0), label="squared difference")
    ax.plot(range(count), range(count), "o", color="black", markersize=3.5)
    title = f"mean of all {squares.numel():,} squares: {squares.mean():.3f}\n"
    title += f"mean of the {count} at the dots: {squares.diagonal().mean():.3f}"
    ax.set(title=title, xlabel="target of point (sorted)", ylabel="answer for point")
    return ax


def plot_fits_and_mean(x, y, networks):
    """`helper.plot_fits` of the answers of networks ({title: network}), with a dashed line at the mean of y."""
    axes = helper.plot_fits(x, y, {title: network(x) for title, network in networks.items()})
    for ax in axes:
        look = {"color": "black", "linestyle": "--", "linewidth": 1.2, "zorder": 3}
        ax.axhline(y.mean(), label="mean of y", **look)
        ax.lines[0].set_label("answers")
    axes[0].legend(loc="upper center")
    return axes


def plot_batches(loaders):
    """Draw the points of each loader in {title: loader of x and y}, a panel each: its first batch is coloured."""
    _, axes = plt.subplots(1, len(loaders), figsize=(11, 3.6), sharey=True)
    for ax, (title, loader) in zip(axes, loaders.items()):
        (first_x, first_y), *others = loader
        for xs, ys in others:
            ax.scatter(xs, ys, s=26, color="white", edgecolor=GREY)
        ax.scatter(first_x, first_y, s=40, color=BLUE, label=f"first batch: {len(first_x)} points")
        ax.scatter([], [], s=26, color="white", edgecolor=GREY, label="other batches")
        ax.set(title=title, xlabel="x", xticks=[-1, -0.5, 0, 0.5, 1])
    axes[0].set_ylabel("y")
    axes[0].legend(loc="upper center")
    return axes


# ---- 10


def plot_damage(flips):
    """Draw what single flipped bits do: the parts of each file as a bar, and a row of strokes for each check below it.

    flips is {path: {check: [(byte, outcome), ...]}}, a stroke for each outcome: "wrong" is long and
    red, "error" is middle and green, "right" is short and grey. Beside a row stands the share of
    "wrong" among all flips, and among those in the numbers.
    """
    looks = {"wrong": (RED, 0.9), "error": (GREEN, 0.55), "right": (GREY, 0.3)}
    bars = {"names and shapes": YELLOW, "numbers": BLUE, "rest of the zip file": "white"}
    figure, ax = plt.subplots(figsize=(11, 5))
    y, ticks = 0, {}
    for path, checks in flips.items():
        size = path.stat().st_size
        ax.broken_barh([(0, size)], (y, 0.8), facecolor="white", edgecolor=GREY, linewidth=1)
        for color, spans in zip(bars.values(), _parts(path)):
            ax.broken_barh(spans, (y, 0.8), facecolor=color, edgecolor="white", linewidth=0.6)
        ticks[y + 0.4] = path.name
        for check, found in checks.items():
            y -= 1.15
            for outcome, (color, height) in reversed(looks.items()):
                places = [byte for byte, each in found if each == outcome]
                ax.vlines(places, y, y + height, color, linewidth=1.5)
            shares = _wrong(found, [(0, size)]), _wrong(found, _parts(path)[1])
            text = "wrong: {} of all flips,\n{} of those in the blue".format(*shares)
            ax.text(size + 30, y + 0.4, text, color=RED, va="center", fontsize=12)
            ticks[y + 0.4] = check
        y -= 1.6
    ax.set_yticks(list(ticks), list(ticks.values()), fontsize=12)
    ax.tick_params(axis="y", length=0)
    ax.set_title(f"{len(found)} single flips in each row: what do you get when you load the file?")
    ax.set(xlabel="byte in the file", xlim=(0, None))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.spines["left"].set_visible(False)
    handles = [
        plt.Rectangle((0, 0), 1, 1, facecolor=color, edgecolor=GREY, label=bar)
        for bar, color in bars.items()
    ]
    words = ("wrong weights, no error", "an error", "right weights")
    for word, (color, height) in zip(words, looks.values()):
        look = {"color": color, "markersize": 24 * height, "markeredgewidth": 3, "linestyle": ""}
        handles.append(plt.Line2D([], [], marker="|", label=word, **look))
    figure.legend(handles=handles, loc="outside lower center", ncols=6, handletextpad=0.4)
    return ax


def _wrong(found, spans):
    """The share of wrong outcomes among the flips in these (start, length) of the file, as a text."""
    inside = [outcome for byte, outcome in found if any(0 <= byte - a < size for a, size in spans)]
    return f"{100 * inside.count('wrong') / max(1, len(inside)):.0f} %"


def _parts(path):
    """Where names and shapes, and where numbers stand in a file: two lists of (start, length)."""
    content = path.read_bytes()
    if not zipfile.is_zipfile(path):
        begin = 8 + int.from_bytes(content[:8], "little")
        return [(0, begin)], [(begin, len(content) - begin)]
    about, numbers = [], []
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            data = archive.read(entry)
            span = (content.index(data, entry.header_offset), len(data))
            if "/data/" in entry.filename:
                numbers.append(span)
            elif entry.filename.endswith("data.pkl"):
                about.append(span)
    return about, numbers


def plot_tensors_in(path):
    """Draw the parts of a small safetensors file with what they hold, not to scale.

    Below the parts stand the bytes of the file, above them the data_offsets.
    """
    content = Path(path).read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    parts = [("length", 0, 8, GREY, str(begin - 8)), ("header", 8, begin, YELLOW, "{… JSON …}")]
    for name, entry in header.items():
        start, end = (begin + offset for offset in entry["data_offsets"])
        numbers = torch.frombuffer(bytearray(content[start:end]), dtype=torch.float32)
        text = ", ".join(f"{number:g}" for number in numbers.tolist())
        parts.append((name, start, end, BLUE, text))
    _, ax = plt.subplots(figsize=(11, 3.2))
    middle = {"ha": "center", "va": "center"}
    for x, (name, start, end, color, inside) in enumerate(parts):
        look = {"facecolor": color, "edgecolor": "white", "linewidth": 3}
        ax.add_patch(plt.Rectangle((x, 0), 1, 1, **look))
        ink = "black" if color == YELLOW else "white"
        ax.text(x + 0.5, 0.76, name, color=ink, fontsize=15, weight="bold", **middle)
        ax.text(x + 0.5, 0.5, f"{end - start} bytes", color=ink, fontsize=13, **middle)
        paper = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": color}
        ax.text(x + 0.5, 0.2, inside, fontsize=12, family="monospace", bbox=paper, **middle)
    places = [start for _, start, *_ in parts] + [len(content)]
    for x, place in enumerate(places):
        ax.text(x, -0.1, place, fontsize=14, ha="center", va="top")
        if place >= begin:
            ax.text(x, 1.08, place - begin, fontsize=14, color=BLUE, ha="center", va="bottom")
    look = {"fontsize": 14, "ha": "right"}
    ax.text(1.9, 1.08, "data_offsets:", color=BLUE, va="bottom", **look)
    ax.text(-0.1, -0.1, "byte of the file:", va="top", **look)
    ax.set(xlim=(-1.15, len(parts) + 0.1), ylim=(-0.35, 1.35))
    ax.set_title(f"{path.name}, not to scale: data_offsets count from the end of the header")
    ax.set_axis_off()
    return ax


def plot_signature():
    """Draw who has which key, what the author sends, and which part of it an attacker can change."""
    _, ax = plt.subplots(figsize=(11, 4.6))
    boxes = [  # x, width, height, colour, title
        (0, 3.7, 3.2, BLUE, "the author"),
        (4.6, 2.1, 2.1, RED, "an attacker can change this"),
        (7.8, 3.3, 3.2, BLUE, "you"),
    ]
    for x, width, height, color, title in boxes:
        style = {"linestyle": "--" if color == RED else "-", "linewidth": 2.5}
        ax.add_patch(plt.Rectangle((x, 0), width, height, fill=False, edgecolor=color, **style))
        place = (x + width / 2, height + 0.12)
        ax.text(*place, title, fontsize=14, color=color, weight="bold", ha="center")
    middle = {"fontsize": 14, "ha": "center", "va": "center"}
    tiles = [  # x, y, colour, ink, name
        (0.95, 2.75, GREEN, "white", "public key"),
        (0.95, 1.45, BLUE, "white", "private key"),
        (2.8, 0.5, YELLOW, "black", "signature"),
        (5.65, 0.5, YELLOW, "black", "signature"),
        (9.45, 2.75, GREEN, "white", "public key"),
    ]
    for x, y, color, ink, name in tiles:
        tile = {"boxstyle": "round,pad=0.4", "facecolor": color, "edgecolor": color}
        ax.text(x, y, name, color=ink, weight="bold", bbox=tile, **middle)
    for x in (2.8, 5.65):
        ax.text(x, 1.45, "files\nmanifest.json", **middle)
    ax.text(9.45, 1.45, "does the signature\nfit manifest.json?", **middle)
    ax.text(9.45, 0.5, "does manifest.json\nfit the files?", **middle)
    ax.text(1.35, 0.65, "signs", fontsize=13, ha="right", va="center")
    look = {"color": GREEN, "fontsize": 14, "ha": "center"}
    ax.text(5.65, 2.9, "the attacker can't change this", **look)
    arrows = [  # start, end, colour
        ((1.8, 2.75), (8.6, 2.75), GREEN),
        ((3.5, 1.45), (4.55, 1.45), RED),
        ((3.5, 0.5), (4.55, 0.5), RED),
        ((6.75, 1.45), (8.45, 1.45), RED),
    ]
    for start, end, color in arrows:
        look = {"arrowstyle": "-|>", "color": color, "linewidth": 2.5, "mutation_scale": 20}
        look["linestyle"] = "-" if color == GREEN else "--"
        ax.annotate("", end, start, arrowprops=look)
    thin = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.5, "mutation_scale": 15}
    steps = [
        ((0.95, 1.15), (2.05, 0.5)),
        ((2.8, 1.15), (2.8, 0.75)),
        ((9.45, 2.5), (9.45, 1.8)),
        ((9.45, 1.12), (9.45, 0.83)),
    ]
    for start, end in steps:
        ax.annotate("", end, start, arrowprops=thin)
    ax.set(xlim=(-0.1, 11.2), ylim=(-0.1, 3.6))
    ax.set_title("What the author sends, and who has which key", pad=12)
    ax.set_axis_off()
    return ax


# ---- 07


def plot_ladder(ladder, steps_per_epoch):
    """Draw how far resumed runs are from the run without a stop: a line for each of {part: differences, one a step}.

    Each line begins with a dot, at step 1. The axis of the differences is logarithmic; 0 is below a break.
    """
    _, ax = plt.subplots(figsize=(11, 4.8))
    zero, last = 2e-4, len(next(iter(ladder.values())))
    top = max(0.3, *(1.3 * max(values) for values in ladder.values()))
    looks = [(RED, 6), ("#a46b00", -4), (GREEN, 0), (BLUE, 0)]
    for row, ((part, values), (color, shift)) in enumerate(zip(ladder.items(), looks)):
        heights = [max(value, zero) for value in values]
        dot = {"marker": "o", "markevery": [0], "markersize": 10, "clip_on": False}
        ax.semilogy(range(1, last + 1), heights, color=color, linewidth=3, **dot)
        name = f"+ {part}" if row else f"{part} alone"
        _end(ax, name, last, heights[-1], color, shift)
    ax.axvline(steps_per_epoch + 0.5, color=GREY, linewidth=1)
    for number, start in enumerate(range(0, last, steps_per_epoch), 2):
        place = {"ha": "center", "va": "bottom", "fontsize": 12, "color": GREY}
        ax.text(start + steps_per_epoch / 2 + 0.5, zero * 1.3, f"epoch {number}", **place)
    pause = {"ha": "center", "va": "center", "fontsize": 15, "rotation": 90}
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0}
    ax.text(0.2, 4.5e-4, "//", bbox=white, clip_on=False, **pause)
    ax.set(title="Only with all parts is the difference 0")
    ax.set(xlabel="training step after the restart", xlim=(0.2, last), ylim=(zero / 1.3, top))
    ax.set_ylabel("largest difference of a weight\n(log scale above the break)")
    ax.set_yticks([zero, 0.001, 0.01, 0.1], ["0", "0.001", "0.01", "0.1"])
    ax.set_xticks([1, *range(5, last + 1, 5)])
    ax.minorticks_off()
    return ax


def plot_scale(steps, forgotten):
    """Draw the scale of each step as stairs; steps is a list of (scale, whether the step was skipped).

    forgotten are the same for a new scaler, which makes the last steps again: a dashed line. A
    skipped step is a red cross, a good one a blue dot.
    """
    _, ax = plt.subplots(figsize=(11, 3.8))
    saved_after = len(steps) - len(forgotten)
    _stairs(ax, steps, 0, {"color": GREY, "linewidth": 2})
    _stairs(ax, forgotten, saved_after, {"color": RED, "linewidth": 2, "linestyle": "--"})
    ax.axvline(saved_after + 0.5, color="black", linestyle=":", linewidth=1.5)
    low, *ticks, high = sorted({scale for scale, _ in steps})
    ax.text(saved_after + 0.4, high, "saved here", ha="right", va="center", fontsize=13)
    ax.text(
        saved_after + 1.7, high, "new scaler: starts again", va="center", fontsize=13, color=RED
    )
    ax.set_yscale("log", base=2)
    ticks = [low, *ticks, high]
    ax.set_yticks(ticks, [f"{scale:,.0f}" for scale in ticks])
    ax.set(title="A skipped step halves the scale, four good steps double it")
    ax.set(xlabel="step", ylabel="scale (log scale)", xticks=range(1, len(steps) + 1))
    ax.set(xlim=(0.5, len(steps) + 0.5), ylim=(low / 1.4, high * 1.4))
    ax.legend(*_once(ax), loc="upper right")
    return ax


def _stairs(ax, steps, before, line):
    """Draw steps that come after `before` others, with a mark for each."""
    edges = [before + step + 0.5 for step in range(len(steps) + 1)]
    ax.stairs([scale for scale, _ in steps], edges, baseline=None, **line)
    for kind, marker, color, name in (
        (False, "o", BLUE, "good step"),
        (True, "X", RED, "skipped step"),
    ):
        found = {
            step: scale for step, (scale, skip) in enumerate(steps, before + 1) if skip == kind
        }
        look = {"color": color, "markersize": 12, "linestyle": "", "label": name}
        ax.plot(found.keys(), found.values(), marker, **look)


def _once(ax):
    """The handles and names of a legend, each name once."""
    named = dict(zip(*reversed(ax.get_legend_handles_labels())))
    return named.values(), named.keys()


def plot_draws(place, count):
    """Draw the random draws of an epoch as boxes, and which of its states a file at this place keeps."""
    _, ax = plt.subplots(figsize=(11, 2.6))
    done, wide = place["batches_done"], 2.6
    loader = {"iter": "seed", "first next": "order"}
    boxes = [(wide * number, wide, name, YELLOW) for number, name in enumerate(loader.values())]
    first = wide * len(loader)
    boxes += [(first + batch, 1, str(batch), BLUE) for batch in range(count)]
    for number, (x, width, name, color) in enumerate(boxes):
        filled = number < len(loader) + done
        look = {"facecolor": color if filled else "white", "edgecolor": color, "linewidth": 2}
        ax.add_patch(plt.Rectangle((x + 0.06, 0), width - 0.12, 1, **look))
        ink = "white" if filled and color == BLUE else "black"
        ax.text(x + width / 2, 0.5, name, ha="center", va="center", color=ink, fontsize=13)
    above = {wide * (number + 0.5): name for number, name in enumerate(loader)}
    above[first + done / 2] = f"dropout: {done} batches done"
    above[first + (done + count) / 2] = f"dropout: {count - done} batches left"
    for x, name in above.items():
        ax.text(x, 1.15, name, ha="center", va="bottom", fontsize=13)
    numbers = f"epochs_done = {place['epochs_done']}, batches_done = {done}"
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 2}
    names = {0: ["place: epoch_start"], first + done: [f"place: {numbers}", "random_state"]}
    for x, lines in names.items():
        ax.annotate("", (x, -0.05), (x, -0.7), arrowprops=arrow)
        for row, name in enumerate(lines):
            ax.text(x + 0.2, -0.55 - 0.5 * row, name, va="center", fontsize=13)
    ax.set(title=f"The random draws of epoch {place['epochs_done']}, and what the file keeps")
    ax.set(xlim=(-0.1, first + count + 0.1), ylim=(-1.3, 1.7))
    ax.set_axis_off()
    return ax


def plot_loader_draws():
    """Draw what a loader's own generator draws in two epochs, without a stop and resumed.

    A dashed box is the seed that a resumed epoch does not draw. A red one is the order that is wrong.
    """
    _, ax = plt.subplots(figsize=(11, 2.8))
    names = ["order", "seed", "order", "seed"]
    for y, row, draws in (1.4, "not stopped", [1, 2, 3, 4]), (0, "resumed", [1, None, 2, 3]):
        ax.text(-0.15, y + 0.5, row, ha="right", va="center", fontsize=14)
        for x, (name, draw) in enumerate(zip(names, draws)):
            wrong = name == "order" and draw == 2
            look = {"facecolor": "white", "edgecolor": GREY, "linewidth": 2, "linestyle": "--"}
            if draw:
                look = {"facecolor": RED if wrong else YELLOW, "edgecolor": "none"}
            ax.add_patch(plt.Rectangle((x + 0.03, y), 0.94, 1, **look))
            text = f"{'another ' if wrong else ''}{name}\ndraw {draw}" if draw else "no seed"
            ink = "white" if wrong else "black"
            ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=13, color=ink)
    for x, name in (1, "this epoch"), (3, "next epoch"):
        ax.text(x, 2.55, name, ha="center", va="bottom", fontsize=14)
    ax.plot([2, 2], [-0.1, 2.9], color=GREY, linewidth=1)
    ax.set(title="A resumed epoch draws no seed, so the next order is draw 2, not draw 3")
    ax.set(xlim=(-0.9, 4.05), ylim=(-0.15, 3))
    ax.set_axis_off()
    return ax


# ---- 09


def plot_instructions(*paths):
    """Draw the instructions in the pickles of files of torch.save: a column a file, a box each.

    Red finds a function, or calls it; blue takes a value from the file; grey does the rest. Where
    the default of torch.load refuses a function, the box says so.
    """
    lists = [_instructions(path) for path in paths]
    most = max(map(len, lists))
    _, ax = plt.subplots(figsize=(5.6 * len(lists), 0.9 + 0.62 * most))
    colors = {"call": RED, "value": BLUE, "": GREY}
    for column, (path, steps) in enumerate(zip(paths, lists)):
        ax.text(column + 0.47, -0.25, path.name, ha="center", fontsize=15, weight="bold")
        for row, (text, kind) in enumerate(steps):
            face = "#fbe6e7" if kind == "call" else "white"
            box = plt.Rectangle((column, row), 0.94, 0.8, facecolor=face, edgecolor=colors[kind])
            box.set_linewidth(3 if kind == "call" else 1.5)
            ax.add_patch(box)
            weight = "bold" if kind == "call" else "normal"
            style = {"fontsize": 13, "color": colors[kind], "weight": weight, "va": "center"}
            ax.text(column + 0.03, row + 0.4, f"{row + 1}. {text}", **style)
            if text.startswith("find") and get_unsafe_globals_in_checkpoint(path):
                style |= {"ha": "right", "weight": "normal", "style": "italic", "fontsize": 12}
                ax.text(column + 0.92, row + 0.4, "weights_only=True stops", **style)
    legend = [("red: find a function, or call it", RED), ("blue: take a value from the file", BLUE)]
    legend += [("grey: everything else", GREY), ("not shown: the bookkeeping of pickle", GREY)]
    for row, (text, color) in enumerate(legend):
        style = {"fontsize": 12, "color": color, "va": "center"}
        ax.text(0.03, len(lists[0]) + 0.5 + 0.5 * row, text, **style)
    ax.set(title="What torch.load is told to do", xlim=(-0.01, len(lists) - 0.05))
    ax.set_ylim(most, -0.6)
    ax.set_axis_off()
    return ax


def _instructions(path):
    # [(what it does in words, "call", "value" or "")]; left out is what only numbers the results.
    with zipfile.ZipFile(path) as file:
        (name,) = [each for each in file.namelist() if each.endswith("data.pkl")]
        codes = list(pickletools.genops(file.read(name)))
    words = {
        "EMPTY_DICT": ("make an empty dictionary", ""),
        "BINUNICODE": ("take the text {!r}", "value"),
        "BININT1": ("take the number {}", "value"),
        "GLOBAL": ("find the function {}", "call"),
        "TUPLE1": ("make a tuple of the text", ""),
        "REDUCE": ("call the function with this tuple", "call"),
        "SETITEM": ("put the last value into the dictionary", ""),
        "STOP": ("done: return the dictionary", ""),
    }
    steps = []
    for code, argument, _ in codes:
        if code.name in words:
            text, kind = words[code.name]
            given = argument.split()[-1] if code.name == "GLOBAL" else argument
            steps.append((text.format(given), kind))
    return steps


def plot_passport(groups, verdict):
    """Draw a row of tiles for each of {group: [objects]}: green if verdict(object) is "passes".

    The arrow in a red tile points to what to save instead.
    """
    _, ax = plt.subplots(figsize=(13, 1.1 + 0.62 * len(groups)))
    most = max(map(len, groups.values()))
    for row, things in enumerate(groups.values()):
        for column, thing in enumerate(things):
            passes = verdict(thing) == "passes"
            color, pale, mark = (GREEN, "#e6f3ee", "✓") if passes else (RED, "#fbe6e7", "✗")
            tile = plt.Rectangle((column, row), 0.95, 0.84, facecolor=pale, edgecolor=color)
            ax.add_patch(tile)
            name, instead = _tile(thing)
            style = {"ha": "center", "va": "center", "fontsize": 11.5}
            height = row + (0.42 if passes else 0.25)
            ax.text(column + 0.475, height, f"{mark} {name}", color=color, weight="bold", **style)
            if not passes:
                ax.text(column + 0.475, row + 0.6, f"→ {instead}", **style)
    ax.set_yticks([row + 0.42 for row in range(len(groups))], list(groups))
    ax.set(title="torch.load with its default: ✓ passes, ✗ is refused", xticks=[])
    ax.set(xlim=(-0.05, most), ylim=(len(groups), -0.1))
    ax.tick_params(length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax


def _tile(thing):
    # The name on a tile, and what to save in the place of the object.
    kind = type(thing).__name__
    if isinstance(thing, type):
        return f"class {thing.__name__}", "its name, a text"
    if hasattr(thing, "_metadata"):
        return "model's", ""
    if isinstance(thing, dict) and "param_groups" in thing:
        return "optimizer's", ""
    if is_dataclass(thing):
        return f"{kind} (dataclass)", "asdict(…)"
    if isinstance(thing, Enum):
        return f"{kind} (Enum)", ".name"
    if hasattr(thing, "_fields"):
        return f"{kind} (named tuple)", "._asdict()"
    if hasattr(thing, "state_dict"):
        return kind, ".state_dict()"
    instead = {"ndarray": "torch.from_numpy(…)", "float64": ".item()", "datetime": ".isoformat()"}
    short = {"NoneType": "None", "PosixPath": "Path", "WindowsPath": "Path"}
    return short.get(kind, kind), instead.get(kind, "str(…)")


def plot_trust():
    """Draw what to ask before you load a file: "yes" leads right to advice, "no" down."""
    empty = "Is the list of refused\nnames empty?"
    mine = "Did you write the file, and\ndo you know every name?"
    known = "Do you know the sender, and does\nevery name stand for plain data?"
    rows = [
        (empty, "load it, compare shapes", GREEN),
        (mine, "load it once, convert, save\n(section 4)", YELLOW),
        (known, "ask for plain values,\nor for safetensors", YELLOW),
        ("leave it alone", "", RED),
    ]
    _, ax = plt.subplots(figsize=(10.5, 4.9))
    arrow = {"arrowstyle": "-|>", "color": GREY}
    for row, (left, right, color) in enumerate(rows):
        sides = [(0, 0.46, left, BLUE if right else color)]
        sides += [(0.58, 0.4, right, color)] if right else []
        for x, width, text, edge in sides:
            box = plt.Rectangle((x, -row - 0.32), width, 0.64, fc="white", ec=edge, lw=2.5)
            ax.add_patch(box)
            ax.text(x + width / 2, -row, text, ha="center", va="center", fontsize=14)
        if right:
            ax.annotate("", (0.58, -row), (0.46, -row), arrowprops=arrow)
            ax.text(0.52, -row + 0.06, "yes", ha="center", va="bottom", fontsize=12)
            ax.annotate("", (0.23, -row - 0.68), (0.23, -row - 0.32), arrowprops=arrow)
            ax.text(0.245, -row - 0.5, "no", va="center", fontsize=12)
    ax.set(xlim=(-0.01, 0.99), ylim=(-3.4, 0.4), title="May you load this file?")
    ax.set_axis_off()
    return ax


# ---- 11


def plot_loading(results, size):
    """Draw the memory that notebooks/11_measure_loading.py held over time: a panel for each of {title: result}.

    size is the bytes of the weights. Own memory is blue, pages of the file are yellow and hatched. A grey strip is a
    wait of the program. A result with two copies has the names of what changes its memory; in a result with pages,
    the stage that copies them has its name.
    """
    figure, axes = plt.subplots(1, len(results), figsize=(12, 4.2), sharey=True)
    last = 1.05 * max(result["changed"]["seconds"] for result in results.values())
    for ax, (title, result) in zip(axes, results.items()):
        stages = [result[stage] for stage in ("loaded", "read", "changed")]
        moments = sorted([*result["curve"], *stages], key=_seconds)
        curve = [(0, 0, 0), *(_in_copies(moment, size) for moment in moments)]
        seconds, _, held = _draw_memory(ax, [*curve, (last, *curve[-1][1:])])
        _draw_stages(ax, [_in_copies(stage, size) for stage in stages], result["wait"])
        ax.set(title=title, xlabel="seconds", xlim=(-0.05 * last, last))
        ax.set(ylim=(0, 2.5), yticks=[0, 1, 2])
        if max(held) > 1.5:
            _name_changes(ax, seconds, held, 0.03 * last)
        if result["read"]["pages"] > size / 2:
            start = result["read"]["seconds"] + result["wait"]
            ax.text(start, 1.13, "each page is copied", fontsize=11)
    axes[0].set_ylabel("memory, in copies\nof the weights")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), columnspacing=1.2)
    return axes


def _seconds(moment):
    return moment["seconds"]


def _in_copies(moment, size):
    """(seconds, own memory, all memory) of a moment. A few pages are no weights, but code that was read: left out."""
    own, pages = moment["own"] / size, moment["pages"] / size
    return moment["seconds"], own, own + (pages if pages > 0.05 else 0)


def _draw_memory(ax, curve):
    """Fill the area below a curve of (seconds, own, held), and return its three rows."""
    seconds, own, held = zip(*curve)
    ax.fill_between(seconds, own, color=BLUE, linewidth=0, label="own memory")
    look = {"facecolor": YELLOW, "edgecolor": "white", "hatch": "//", "linewidth": 0}
    ax.fill_between(seconds, own, held, label="pages of the file", **look)
    ax.plot(seconds, held, color="black", linewidth=1)
    return seconds, own, held


def _draw_stages(ax, stages, wait):
    """Mark the stages (loaded, read, changed), each (seconds, own, held), and shade the waits between them."""
    look = {"linestyle": "", "color": "black", "markersize": 9, "markeredgecolor": "white"}
    names = {"loaded": "o", "read": "D", "changed": "s"}
    for (stage, marker), (seconds, _, held) in zip(names.items(), stages):
        ax.plot(seconds, held, marker, label=stage, clip_on=False, zorder=3, **look)
    for (start, *_), label in zip(stages[:2], ("the program waits", None)):
        ax.axvspan(start, start + wait, color=GREY, alpha=0.15, linewidth=0, zorder=0, label=label)


def _name_changes(ax, seconds, held, gap):
    """Name the two rises of a curve at their left, its plateau above it, and its fall at its right."""
    rises = {level: next(x for x, y in zip(seconds, held) if y >= level) for level in (0.5, 1.5)}
    ax.text(rises[0.5] - gap, 0.5, "build()", ha="right", fontsize=11)
    ax.text(rises[1.5] - gap, 1.5, "torch.load", ha="right", fontsize=11)
    top = [x for x, y in zip(seconds, held) if y > 0.97 * max(held)]
    ax.text((top[0] + top[-1]) / 2, 1.04 * max(held), "load_state_dict", ha="center", fontsize=11)
    fall = max(x for x, y in zip(seconds, held) if y >= 1.5)
    ax.text(fall + gap, 1.5, "state_dict\nis freed", fontsize=11)


def plot_holders():
    """Draw who holds which tensor after load_state_dict: a panel for each way, holders left, tensors right."""
    old, new = ("the old\nparameter", GREY), ("the state_dict's\ntensor", YELLOW)
    untied = [("parameter\n0.weight", YELLOW), ("parameter\n1.weight", YELLOW)]
    own = {"optimizer": [0], "network": [0], "state_dict": [1]}
    assigned = {"optimizer": [0], "network": [1], "state_dict": [1]}
    apart = {"first layer": [0], "optimizer": [0, 1], "last layer": [1]}
    panels = {
        "load_state_dict(…)\ncopies the numbers": (own, [old, new]),
        "assign=True\nsections 5 and 6": (assigned, [old, new]),
        "assign=True, tied layers\nsection 7": (apart, untied),
    }
    _, axes = plt.subplots(1, len(panels), figsize=(13, 3.3))
    for ax, (title, (holders, tensors)) in zip(axes, panels.items()):
        _draw_tensors(ax, {name: 0.6 - 1.2 * row for row, name in enumerate(tensors)})
        for row, (name, held) in enumerate(holders.items()):
            _draw_holder(ax, name, 1 - row, [0.6 - 1.2 * each for each in held])
        ax.set_title(title, fontsize=14)
    arrow = {"arrowstyle": "-|>", "color": GREY, "linestyle": "--", "lw": 1.5}
    axes[0].annotate("", (0.78, 0.17), (0.78, -0.17), arrowprops=arrow)
    axes[0].text(0.8, 0, "copy", va="center", fontsize=12, color=GREY)
    axes[2].add_patch(plt.Rectangle((0.58, -0.2), 0.41, 0.4, color=YELLOW, linewidth=0))
    axes[2].text(0.785, 0, "one memory", ha="center", va="center", fontsize=12)
    return axes


def plot_replaced():
    """Draw which file two names and a mapped weight hold, before os.replace and after it."""
    old, new = ("old file\n1, 1, 1, …", YELLOW), ("new file\n0, 0, 0, …", BLUE)
    panels = {
        "before os.replace": {"weight, mapped": 0.8, "served.pth": 0.8, "new.pth": -0.8},
        "after os.replace": {"weight, mapped": 0.8, "served.pth": -0.8},
    }
    _, axes = plt.subplots(1, len(panels), figsize=(11, 3.3))
    for ax, (title, holders) in zip(axes, panels.items()):
        _draw_tensors(ax, {old: 0.8, new: -0.8})
        for row, (name, held) in enumerate(holders.items()):
            _draw_holder(ax, name, 1 - row, [held])
        ax.set_title(title, fontsize=14)
    return axes


def _draw_tensors(ax, heights):
    """Draw a box at the right for each of {(text, color): height}, in a panel without axes."""
    for (text, color), y in heights.items():
        box = plt.Rectangle((0.58, y - 0.4), 0.41, 0.8, facecolor="white", edgecolor=color, lw=3)
        ax.add_patch(box)
        ax.text(0.785, y, text, ha="center", va="center", fontsize=13)
    ax.set(xlim=(0, 1), ylim=(-1.3, 1.3))
    ax.set_axis_off()


def _draw_holder(ax, name, y, heights):
    """Write a name at the left, with an arrow to the box at each of these heights."""
    ax.text(0.33, y, name, ha="right", va="center", fontsize=13, weight="bold")
    for height in heights:
        arrow = {"arrowstyle": "-|>", "color": "black", "lw": 1.5, "mutation_scale": 16}
        ax.annotate("", (0.57, height), (0.35, y), arrowprops=arrow)


# ---- 12


def plot_bits():
    """Draw the bits of float32, float16 and bfloat16 in rows, in three groups: sign, exponent and digits."""
    _, ax = plt.subplots(figsize=(11, 3.2))
    looks = {"sign": {"facecolor": "#c9ced8"}, "exponent": {"facecolor": "#f3d48a", "hatch": "//"}}
    looks["digits"] = {"facecolor": "#a9c8ea"}
    types = {"float32": (1, 8, 23), "float16": (1, 5, 10), "bfloat16": (1, 8, 7)}
    for row, counts in enumerate(types.values()):
        left = 0
        for (name, look), count in zip(looks.items(), counts):
            label = {"label": name} if row == 0 else {}
            widths = {"width": 1, "height": 0.7, "edgecolor": GREY, **look, **label}
            bits = ax.bar(range(left, left + count), bottom=row - 0.35, align="edge", **widths)
            if count > 1:
                place = {"ha": "center", "va": "center", "fontsize": 13, "weight": "bold"}
                text = ax.text(left + count / 2, row, count, **place)
                text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 2})
            for bit in bits[1:]:
                bit.set_label("")
            left += count
    ax.set_yticks(range(3), list(types), fontsize=14, family="monospace")
    ax.set(title="16 bits for more digits, or for the whole range", xticks=[0, 16, 32])
    ax.set(xlabel="bits", xlim=(0, 32.2), ylim=(2.5, -0.5))
    ax.legend(loc="lower right", fontsize=13)
    return ax


def plot_ranges(groups):
    """Draw how large numbers are, on a log axis, a row of bars for each {name: tensors}, and what float16 loses.

    Numbers that are 0 before are left out.
    """
    edges = [10 ** (power / 4) for power in range(-80, 25)]
    figure, axes = plt.subplots(len(groups), 1, figsize=(11, 4.4), sharex=True)
    lost = {"facecolor": "#f4c7c8", "edgecolor": RED, "hatch": "//", "label": "becomes 0"}
    few = {"facecolor": "#fbe9e9", "edgecolor": RED, "hatch": ".", "label": "loses digits"}
    inf = {"facecolor": "#c9ced8", "edgecolor": GREY, "hatch": "xx", "label": "becomes inf"}
    for ax, (name, numbers), color in zip(axes, groups.items(), (BLUE, YELLOW)):
        numbers = torch.cat([each.detach().flatten() for each in numbers])
        numbers = numbers[numbers != 0].abs()
        share = (numbers.half() == 0).float().mean().item()
        ax.hist(numbers.numpy(), edges, color=color, edgecolor="white", linewidth=0.5, zorder=2)
        ax.axvspan(edges[0], 2**-25, zorder=0, **lost)
        ax.axvspan(2**-25, 2**-14, zorder=0, **few)
        ax.axvspan(65_520, edges[-1], zorder=0, **inf)
        place = {"transform": ax.transAxes, "va": "top", "fontsize": 13}
        text = ax.text(0.02, 0.9, f"{name}: {100 * share:.0f} % become 0", **place)
        text.set_bbox({"facecolor": "white", "edgecolor": GREY})
        ax.set(xscale="log", yticks=[], ylabel="how many", xlim=(edges[0], edges[-1]))
    axes[0].set_title("float16 keeps the weights, but not Adam's exp_avg_sq")
    axes[-1].set_xlabel("absolute value (log scale), without the numbers that were 0 before")
    handles, labels = axes[0].get_legend_handles_labels()
    place = {"loc": "outside lower center", "ncols": 4, "fontsize": 12}
    figure.legend(handles, labels, title="in float16, a number here", **place)
    return axes


def plot_resumed(runs):
    """Draw the losses of resumed runs on a log axis, {dtype of exp_avg_sq in the file: losses}; float32 first.

    Each name stands at its line, and says how far a run that stays close is from the first one.
    """
    _, ax = plt.subplots(figsize=(11, 4.2))
    looks = [(BLUE, "-", 8, ""), (YELLOW, ":", 4, "o"), (RED, "-", 2.5, "s")]
    exact = next(iter(runs.values()))
    for (dtype, losses), (color, style, width, marker) in zip(runs.items(), looks):
        look = {"color": color, "linestyle": style, "linewidth": width, "marker": marker}
        steps = range(1, len(losses) + 1)
        ax.semilogy(steps, losses, **look)
        name = str(dtype).removeprefix("torch.")
        apart = max(abs(one - two) for one, two in zip(losses, exact))
        if 0 < apart < 1:
            apart = f"{float(f'{apart:.1g}'):.9f}".rstrip("0")
            name += f": at most {apart} away from float32"
        shift = 16 if style == ":" else -24
        place = {"xytext": (0, shift), "textcoords": "offset points"}
        middle = (len(losses) + 1) // 2
        spot = (middle, losses[middle - 1])
        dark = "#8a6100" if color == YELLOW else color
        ax.annotate(name, spot, ha="center", va="center", color=dark, fontsize=14, **place)
    ax.set(title="The same training goes on, after exp_avg_sq was saved in three types")
    ax.set(xticks=steps)
    ax.set(xlabel="training step after loading", ylabel="loss (log scale)", xlim=(0.5, None))
    ax.margins(y=0.16)
    return ax


def plot_stairs():
    """Draw what each type makes of the numbers from 0.995 to 1.005, and mark 0.999 and 0.9999."""
    numbers = torch.linspace(0.995, 1.005, 8001)
    _, ax = plt.subplots(figsize=(9, 4.8))
    looks = {torch.float32: ("black", 2, ":"), torch.float16: (BLUE, 2.5, "-")}
    looks[torch.bfloat16] = (RED, 3.5, "-")
    for order, (dtype, (color, width, style)) in enumerate(looks.items()):
        look = {"color": color, "linewidth": width, "linestyle": style, "zorder": 3.5 - order / 2}
        name = str(dtype).removeprefix("torch.")
        ax.plot(numbers, numbers.to(dtype).float(), label=name, **look)
    for number, align, shift in ((0.999, "right", -6), (0.9999, "left", 6)):
        ax.axvline(number, color="black", linestyle="--", linewidth=1)
        place = {"xytext": (shift, 0), "textcoords": "offset points", "ha": align, "va": "center"}
        ax.annotate(str(number), (number, 1.007), fontsize=13, **place)
    marks = [(0.999, "bfloat16", torch.bfloat16, (-10, 15), "right")]
    marks += [(0.999, "float16", torch.float16, (10, -18), "left")]
    marks += [(0.9999, "both", torch.float16, (12, -12), "left")]
    for number, name, dtype, shift, align in marks:
        rounded = torch.tensor(number).to(dtype).item()
        ax.plot(number, rounded, "o", color="black", markersize=8, zorder=4)
        place = {"xytext": shift, "textcoords": "offset points", "ha": align, "va": "center"}
        text = ax.annotate(f"{name}: {rounded:.3f}", (number, rounded), fontsize=13, **place)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    ax.set(title="bfloat16 rounds 0.999 and 0.9999 to 1, float16 only 0.9999")
    ax.set(xlabel="exact number", ylabel="rounded number")
    ax.set(xlim=(0.995, 1.005), ylim=(0.9945, 1.0085))
    ticks = [0.996, 0.998, 1, 1.002, 1.004]
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(ticks, [f"{tick:.3f}" for tick in ticks])
    ax.legend(loc="lower right")
    return ax


def plot_storages(tensors, title):
    """Draw the storages of {name: tensor} as bars to scale, with a bracket over the numbers of each tensor.

    What belongs to a tensor is blue. A tensor as large as its storage is not painted if a slice of
    it is drawn: what the slice leaves is grey and hatched.
    """
    rows = {}  # address of a storage: its tensors
    for name, tensor in tensors.items():
        rows.setdefault(tensor.untyped_storage().data_ptr(), []).append((name, tensor))
    most = max(tensor.untyped_storage().nbytes() for tensor in tensors.values())
    height = 0.8 * (len(tensors) + len(rows))  # each bar and each bracket with its name
    _, ax = plt.subplots(figsize=(11, 0.7 + 0.5 * height))
    rest = {"facecolor": "#c9ced8", "edgecolor": GREY, "hatch": "//"}
    painted = []
    top = 0.8
    for named in rows.values():
        size = named[0][1].untyped_storage().nbytes()
        ax.add_patch(plt.Rectangle((0, top), size / most, 0.6, **rest))
        spans = {}  # name: the first and the last place of a tensor
        for name, tensor in named:
            start = tensor.storage_offset() * tensor.element_size() / most
            spans[name] = (start, start + tensor.nbytes / most)
        slices = [name for name, tensor in named if tensor.nbytes < size]
        for name in slices or spans:
            start, end = spans[name]
            ax.add_patch(plt.Rectangle((start, top), end - start, 0.6, color=BLUE))
            painted.append(name)
        for place, (name, span) in enumerate(spans.items()):
            y = top - 0.08 if place == 0 else top - 0.12 + 0.8 * place
            _draw_bracket(ax, span, y, place > 0, name)
        ax.text(size / most + 0.02, top + 0.3, f"{size // 1000:,} kB", va="center", fontsize=14)
        top += 0.8 * (1 + len(named))
    if any(tensor.untyped_storage().nbytes() > tensor.nbytes for tensor in tensors.values()):
        label = "numbers of " + " and ".join(painted)
        handles = [plt.Rectangle((0, 0), 1, 1, color=BLUE, label=label)]
        handles.append(plt.Rectangle((0, 0), 1, 1, label="the rest of the storage", **rest))
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "ncols": 2}
        ax.legend(handles=handles, fontsize=13, **place)
    ax.set_title(title)
    ax.set(xlim=(-0.02, 1.15), ylim=(height, 0))
    ax.set_axis_off()
    return ax


def _draw_bracket(ax, span, y, below, name):
    # A bracket at the height y that opens towards the bar, and a name at its start, on the other side.
    start, end = span
    away = 0.14 if below else -0.14
    ax.plot([start, start, end, end], [y, y + away, y + away, y], color="black", linewidth=1.5)
    look = {"family": "monospace", "fontsize": 14, "va": "top" if below else "bottom"}
    ax.text(start, y + (2 if below else 1.3) * away, name, **look)


def plot_low_rank(inputs, middle, outputs):
    """Draw how an input takes two paths, through a large layer and through two thin ones, to one sum."""
    _, ax = plt.subplots(figsize=(11, 4.6))
    high = 0.62 * inputs
    paths = [(high, {"linear": (inputs, outputs)}, BLUE)]
    paths += [(-high, {"down": (inputs, middle), "up": (middle, outputs)}, GREEN)]
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.5}
    for y, layers, color in paths:
        width = 4 / len(layers)
        for place, (name, (before, after)) in enumerate(layers.items()):
            x = 2 + place * width
            _draw_layer(ax, (x, y), (before, after), width, color)
            inside = {"linear": 0.5, "down": 0.27, "up": 0.73}[name]
            look = {"family": "monospace", "fontsize": 15, "weight": "bold", "color": color}
            up = 90 if name == "linear" else 0
            ax.text(x + inside * width, y + up, name, ha="center", va="center", **look)
        ax.annotate("", (1.9, y), (0.1, 0), arrowprops=arrow)
        ax.annotate("", (7.35, 0.1 * y), (6.1, y), arrowprops=arrow)
    total = inputs * outputs + outputs
    text = {"ha": "center", "va": "center", "fontsize": 14}
    ax.text(4, high - 100, f"{total:,} weights and biases, frozen", **text)
    ax.text(4, -high - 250, f"{middle * (inputs + outputs):,} weights, trained", **text)
    ax.text(4.1, -high + 50, middle, ha="center", va="bottom", fontsize=13)
    ax.text(7.55, 0, "+", ha="center", va="center", fontsize=32)
    ax.annotate("", (8.6, 0), (7.75, 0), arrowprops=arrow)
    for x, count in ((0, inputs), (8.7, outputs)):
        ax.plot([x, x], [-count / 2, count / 2], color="black", linewidth=5, solid_capstyle="butt")
        ax.text(x, count / 2 + 30, count, ha="center", va="bottom", fontsize=13)
    for x, word, count in ((0, "input", inputs), (8.7, "output", outputs)):
        ax.text(x, -count / 2 - 40, word, ha="center", va="top", fontsize=14)
    ax.set(xlim=(-0.6, 9.3), ylim=(-high - inputs / 2 - 40, high + inputs / 2 + 40))
    ax.set_title("One input, two paths, one sum")
    ax.set_axis_off()
    return ax


def _draw_layer(ax, place, counts, width, color):
    # A band from as many numbers as the left side is high to as many as the right side is.
    (x, y), (before, after) = place, counts
    corners = [(x, y - before / 2), (x, y + before / 2)]
    corners += [(x + width, y + after / 2), (x + width, y - after / 2)]
    ax.add_patch(plt.Polygon(corners, facecolor=color, alpha=0.25, edgecolor="none"))
    for side, count in ((x, before), (x + width, after)):
        ends = [y - count / 2, y + count / 2]
        ax.plot([side, side], ends, color=color, linewidth=5, solid_capstyle="butt")


# ---- 08


def plot_kills(text):
    """Draw what 08_kill_while_saving.py prints: a row for each function, a field for each kill."""
    rows = {}
    for name, state in map(str.split, text.splitlines()):
        rows.setdefault(name, []).append(state)
    kills = max(map(len, rows.values()))
    _, ax = plt.subplots(figsize=(11, 2.3))
    for y, states in enumerate(rows.values()):
        for x, state in enumerate(states):
            mark, color = ("✗", RED) if state == "broken" else ("✓", GREEN)
            ax.add_patch(plt.Rectangle((x + 0.54, y + 0.04), 0.92, 0.92, color=color))
            look = {"color": "white", "fontsize": 18, "ha": "center", "va": "center"}
            ax.text(x + 1, y + 0.5, mark, **look)
        whole = states.count("whole")
        count = f"{whole} of {len(states)} {'loads' if whole == 1 else 'load'}"
        ax.text(len(states) + 0.65, y + 0.5, count, fontsize=14, va="center")
    ax.set_yticks([y + 0.5 for y in range(len(rows))], list(rows), fontsize=14)
    limits = {"xlim": (0.5, 1.17 * kills + 0.5), "ylim": (len(rows), 0)}
    ax.set(title=f"The file after each of {kills} kills: ✓ loads, ✗ broken", xticks=[], **limits)
    ax.tick_params(length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax


def plot_atomic():
    """Draw what is found under each name while torch.save, and while save_atomic runs."""
    new, old, part = "#2f6db5", "#6b7280", "#f3c9c9"
    bars = {  # name: (start, end, color, text)
        "torch.save:\nmodel.pth": [
            (0, 2, old, "old"),
            (2, 6, part, "incomplete"),
            (6, 10, new, "new"),
        ],
        "save_atomic:\nmodel.pth": [(0, 8, old, "old"), (8, 10, new, "new")],
        "save_atomic:\nmodel.pth.tmp": [(2, 6, part, "incomplete"), (6, 8, new, "new")],
    }
    moments = {2: "the save\nbegins", 6: "all is\nwritten", 8: "os.replace\nrenames"}
    _, ax = plt.subplots(figsize=(11, 3.8))
    for y, spans in enumerate(bars.values()):
        for start, end, color, text in spans:
            look = {"facecolor": color, "edgecolor": RED if color == part else color}
            look |= {"hatch": "//" if color == part else "", "linewidth": 1.5, "zorder": 2}
            ax.add_patch(plt.Rectangle((start, y + 0.15), end - start, 0.7, **look))
            look = {"ha": "center", "va": "center", "fontsize": 14}
            if color == part:
                look |= {"color": RED, "weight": "bold"}
                look["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 2}
            else:
                look["color"] = "white"
            ax.text((start + end) / 2, y + 0.5, text, **look)
    for moment, text in moments.items():
        ax.vlines(moment, 0, 3.15, color="black", linestyle=":", linewidth=1.5, zorder=1)
        ax.text(moment, -0.02, text, ha="center", va="bottom", fontsize=12)
    ax.text(7, 2.9, "os.fsync", ha="center", va="top", fontsize=12)
    ax.set_yticks([y + 0.5 for y in range(len(bars))], list(bars), fontsize=13)
    ax.set(xlim=(0, 10), ylim=(3.15, -0.1), xticks=[], xlabel="time →")
    ax.set_title("What the files hold while a save is running", pad=36)
    ax.tick_params(length=0)
    ax.spines["left"].set_visible(False)
    return ax


def time_saves(save, save_in_background, obj, path):
    """The moments between which save runs, save_in_background returns, and its thread ends."""
    times = [time.perf_counter()]
    save(obj, path)
    times.append(time.perf_counter())
    job = save_in_background(obj, path)
    times.append(time.perf_counter())
    job.result()
    return [*times, time.perf_counter()]


def plot_background(times):
    """Draw who does what during a save: training and, in the background, the thread that writes.

    times are those of time_saves.
    """
    begin, saved, copied, written = times
    wait, copy, write = saved - begin, copied - saved, written - copied
    end = 1.2 * max(wait, copy + write)
    names = [
        "save_atomic:\ntraining",
        "save_in_background:\ntraining",
        "save_in_background:\nthread",
    ]
    looks = {
        "waits": {"facecolor": "white", "edgecolor": GREY, "hatch": "//"},
        "trains": {"facecolor": BLUE, "edgecolor": BLUE},
        "writes the file": {"facecolor": GREEN, "edgecolor": GREEN},
    }
    spans = [("waits", 0, 0, wait), ("trains", 0, wait, end), ("waits", 1, 0, copy)]
    spans += [("trains", 1, copy, end), ("writes the file", 2, copy, copy + write)]
    _, ax = plt.subplots(figsize=(11, 2.8))
    for what, y, left, right in spans:
        ax.barh(y, right - left, left=left, height=0.6, linewidth=1, **looks[what])
    for y, seconds in enumerate((wait, copy)):
        look = {"color": "white", "fontsize": 13, "va": "center"}
        ax.text(seconds + end / 100, y, f"← {seconds:.2f} s", **look)
    handles = [plt.Rectangle((0, 0), 1, 1, label=what, **look) for what, look in looks.items()]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
    ax.set_yticks(range(3), names, fontsize=12)
    ax.set(xlim=(0, end), ylim=(2.5, -0.5), xticks=[], xlabel="time →")
    ax.set_title("A save of 50 MB: what training waits for")
    ax.tick_params(axis="y", length=0)
    return ax


def plot_lives(lives, stops):
    """Draw the steps and the saves of the processes of one run, a bar each, and how it ended.

    lives is a list of lists of steps, stops the names of the signals, None for the process that reached the end.
    """
    repeated = {"facecolor": "#cfe0f3", "edgecolor": BLUE, "hatch": "//", "linewidth": 1}
    _, ax = plt.subplots(figsize=(11, 3.4))
    done = 0
    for y, (steps, stop) in enumerate(zip(lives, stops)):
        if not steps:  # the process before had done them all
            continue
        first, last = steps[0] - 1, steps[-1]
        ax.barh(y, last - first, left=first, color=BLUE, height=0.5)
        if first < done:
            ax.barh(y, min(last, done) - first, left=first, height=0.5, **repeated)
        saves = [step for step in steps if step % 10 == 0]
        if lives[y + 1 :] and lives[y + 1] and lives[y + 1][0] == last + 1 and last not in saves:
            saves.append(last)  # the next process continues from there
        ax.plot(saves, [y - 0.37] * len(saves), "v", color="black", markersize=8)
        kept = {"SIGTERM": "SIGTERM: saves, then ends", None: "the end ✓"}.get(stop)
        name, color = (kept, GREEN) if kept and last in saves else (f"{stop} ✗", RED)
        look = {"color": color, "weight": "bold", "fontsize": 12, "va": "center"}
        ax.text(last + 1.5, y, name, **look)
        done = max(done, last)
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=BLUE, label="finished steps"),
        plt.Rectangle((0, 0), 1, 1, label="repeated steps", **repeated),
        plt.Line2D([], [], color="black", marker="v", linestyle="", label="a save"),
    ]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3)
    ax.set_yticks(range(len(lives)), [f"process {y + 1}" for y in range(len(lives))], fontsize=12)
    limits = {"xlim": (0, 114), "ylim": (len(lives) - 0.6, -0.6), "xticks": range(0, 101, 10)}
    ax.set(title=f"One run, {len(lives)} processes", xlabel="step", **limits)
    ax.tick_params(axis="y", length=0)
    return ax


# ---- 13


def plot_steps(program):
    """Draw the steps of an exported Network in groups, each beside the line of forward that it comes from."""
    owners = program.graph_signature.inputs_to_parameters  # name of an input: the key of its weight
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    _, ax = plt.subplots(figsize=(11.5, 0.5 * len(nodes) + 0.8))
    look = {"family": "monospace", "fontsize": 13, "va": "center"}
    sources = {}  # line of code: the steps of each group
    for place, node in enumerate(nodes):
        groups = sources.setdefault(node.stack_trace.splitlines()[1].strip(), [])
        if node.target.overloadpacket.__name__ == "linear":
            groups.append([])
        groups[-1].append(place)
    for (line, groups), color in zip(sources.items(), (BLUE, GREEN)):
        middle = (groups[0][0] + groups[-1][-1]) / 2
        indent = "    " if color == BLUE else ""
        ax.text(0, middle, indent + line, color=color, **look)
        for group in groups:
            _draw_group(ax, group, [_step(nodes[place], owners) for place in group], color, look)
            ax.plot([4.75, 5.75], [middle, sum(group) / len(group)], color=color, linewidth=1.5)
        if color == BLUE:
            ax.text(0, middle - 1, "for layer in self.hidden_layers:", color=GREY, **look)
            ax.text(3.75, middle - 1, "(no step)", color=GREY, fontsize=13, va="center")
            plain = {"fontsize": 13, "va": "center", "color": BLUE}
            for number, group in enumerate(groups):
                ax.text(9.3, group[1], f"hidden layer {number}", **plain)
    for place in range(len(nodes) - 1):
        arrow = {"arrowstyle": "-|>", "color": "black", "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", (6.3, place + 0.66), (6.3, place + 0.34), arrowprops=arrow)
    title = {"fontsize": 15, "weight": "bold"}
    ax.text(0, -0.8, "Lines of forward", **title)
    ax.text(5.95, -0.8, "Steps of the program, in their order", **title)
    ax.set(xlim=(0, 10.9), ylim=(len(nodes) - 0.5, -1.2))
    ax.set_axis_off()
    return ax


def _draw_group(ax, places, steps, color, look):
    # A bracket, and a box for each step.
    top, bottom = places[0] - 0.34, places[-1] + 0.34
    ax.plot([5.85, 5.75, 5.75, 5.85], [top, top, bottom, bottom], color=color, linewidth=1.5)
    for place, step in zip(places, steps):
        box = plt.Rectangle((5.95, place - 0.34), 3.2, 0.68, facecolor="white", edgecolor=color)
        ax.add_patch(box)
        ax.text(6.05, place, step, color=color, **look)


def _step(node, owners):
    # The operation, the layer whose weights it uses, and the Python values that are fixed in it.
    words = []
    for value, argument in zip(node.args[1:], node.target._schema.arguments[1:]):
        name = getattr(value, "name", None)
        if name is None:
            words.append(f"{argument.name}={value}")
        elif owners.get(name, "").endswith(".weight"):
            words.append(owners[name].removesuffix(".weight"))
    return f"{node.target.overloadpacket.__name__}  {', '.join(words)}".rstrip()


def plot_rules():
    """Draw what export does with sizes, Python values and numbers in tensors, what you see, and the fix."""
    rows = {
        "at the export": ("known ✓", "known ✓", "unknown ✗"),
        "what export does": (
            "fixes each size\nwithout a name",
            "fixes each value",
            "cannot decide\nan if by them",
        ),
        "what you see": (
            "an error in use:\nGuard failed",
            "no error:\nthe old value stays",
            "an error at the export:\nGuardOnData\nDependentSymNode",
        ),
        "the fix": (
            "dynamic_shapes\nwith a Dim",
            "eval() first,\na buffer for a number",
            "torch.where",
        ),
    }
    faces = {"known ✓": ("#d7eee4", GREEN), "unknown ✗": ("#f9dfd2", RED)}
    _, ax = plt.subplots(figsize=(10.4, 4.9))
    for y, (name, texts) in enumerate(rows.items()):
        for x, text in enumerate(texts):
            fix = ("#d9e8f5", BLUE) if name == "the fix" else ("white", GREY)
            face, edge = faces.get(text, fix)
            box = plt.Rectangle((x + 0.02, y + 0.05), 0.96, 0.9, facecolor=face, edgecolor=edge)
            ax.add_patch(box).set_linewidth(2)
            weight = "bold" if face != "white" else "normal"
            look = {"ha": "center", "va": "center", "fontsize": 13.5, "weight": weight}
            ax.text(x + 0.5, y + 0.5, text, **look)
    ax.set_xticks([0.5, 1.5, 2.5], ["sizes", "Python values", "numbers in tensors"], fontsize=15)
    ax.set_yticks([y + 0.5 for y in range(len(rows))], list(rows), fontsize=14)
    ax.set(xlim=(0, 3), ylim=(len(rows), 0))
    ax.set_title("What export knows, and what follows", pad=14)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax


def plot_bringers():
    """Draw which of three things each kind of file holds, and which ones you must bring to run it."""
    held = "in the file ✓"
    rows = {
        "state_dict": (held, "bring your class", "bring PyTorch"),
        "whole model": (held, "bring your class,\nunder the same name", "bring PyTorch"),
        "exported program": (held, held, "bring PyTorch"),
        "ONNX": (held, held, "bring a runtime"),
    }
    _, ax = plt.subplots(figsize=(10.4, 3.9))
    for y, texts in enumerate(rows.values()):
        for x, text in enumerate(texts):
            face, edge = ("#d7eee4", GREEN) if text == held else ("white", GREY)
            style = "-" if text == held else "--"
            box = plt.Rectangle((x + 0.02, y + 0.05), 0.96, 0.9, facecolor=face, edgecolor=edge)
            box.set(linewidth=2, linestyle=style)
            ax.add_patch(box)
            weight = "bold" if text == held else "normal"
            look = {"ha": "center", "va": "center", "fontsize": 14, "weight": weight}
            ax.text(x + 0.5, y + 0.5, text, **look)
    columns = ["the weights", "the steps", "what runs the steps"]
    ax.set_xticks([0.5, 1.5, 2.5], columns, fontsize=14)
    ax.set_yticks([y + 0.5 for y in range(len(rows))], list(rows), fontsize=14)
    ax.set(xlim=(0, 3), ylim=(len(rows), 0))
    ax.set_title("What the file holds, and what you must bring", pad=14)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax


# ---- 14


def plot_gathering(weights, ranks, card):
    """Draw what training in float32 needs: in one process, on each of ranks, and on a rank 0 that collects everything.

    weights is the number of weights; card is the memory in GB that a dashed line marks.
    """
    one = weights * 4 / 1e9
    parts = {"weights": (1, BLUE), "gradients": (1, YELLOW), "Adam's averages": (2, GREEN)}
    whole = {name: size * one for name, (size, _) in parts.items()}
    bars = [
        ("one process", whole, {}),
        (f"each of {ranks} ranks", {name: size / ranks for name, size in whole.items()}, {}),
        (
            f"rank 0 of {ranks},\nif it collects one file",
            {name: size / ranks for name, size in whole.items()},
            {name: whole[name] for name in ("weights", "Adam's averages")},
        ),
    ]
    _, ax = plt.subplots(figsize=(11, 3.8))
    for y, (_, own, collected) in enumerate(bars):
        left = 0
        for sizes, hatch in ((own, ""), (collected, "//")):
            for name, size in sizes.items():
                look = {"color": parts[name][1], "edgecolor": "white", "hatch": hatch}
                label = {"": name, "//": f"{name}, collected"}[hatch]
                fresh = label not in ax.get_legend_handles_labels()[1]
                ax.barh(y, size, left=left, height=0.62, label=label if fresh else None, **look)
                if size > one / 2:  # a number fits
                    box = {"facecolor": "white", "edgecolor": "none", "boxstyle": "round,pad=0.2"}
                    font = {"ha": "center", "va": "center", "fontsize": 12, "bbox": box}
                    x = left + size / 2
                    x = card + 8 if abs(x - card) < 6 else x  # not on the dashed line
                    ax.text(x, y, f"{size:.0f} GB", **font)
                left += size
        ax.text(left + 1, y, f"{left:.0f} GB", va="center", fontsize=13)
    ax.axvline(card, color=RED, linestyle="--", linewidth=2)
    ax.text(card, -0.55, f"{card} GB card", color=RED, ha="center", va="bottom", fontsize=13)
    ax.set_yticks(range(len(bars)), [name for name, *_ in bars], fontsize=13)
    ax.set(xlabel="GB")
    ax.set_title(f"{weights / 1e9:.0f} billion weights, trained with Adam", pad=26)
    ax.set(ylim=(len(bars) - 0.5, -0.5), xlim=(0, 1.1 * 4 * one))
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.22), ncols=5, columnspacing=1.2)
    return ax


def plot_owners(columns):
    """Draw which ranks hold which rows of one tensor, and from which file these come.

    columns is {title: rows of each rank}. The first entry is that of the two ranks that saved; the file of each
    has a colour of its own.
    """
    saved = next(iter(columns.values()))
    looks = ({"facecolor": BLUE}, {"facecolor": RED, "hatch": "//"})
    _, ax = plt.subplots(figsize=(11, 4.6))
    for x, counts in enumerate(columns.values()):
        top = 0
        for count, look in zip(saved, looks):
            ax.add_patch(plt.Rectangle((x + 0.08, top), 0.84, count, edgecolor="#ffffff60", **look))
            top += count
        first = 0
        for rank, count in enumerate(counts):
            frame = {"fill": False, "edgecolor": "black", "linewidth": 2.5}
            ax.add_patch(plt.Rectangle((x + 0.08, first), 0.84, count, **frame))
            last = first + count - 1
            rows = f"rows {first} to {last}" if count > 1 else f"row {first}"
            box = {"facecolor": "white", "edgecolor": "none", "boxstyle": "round,pad=0.2"}
            font = {"ha": "center", "va": "center", "fontsize": 12, "bbox": box}
            ax.text(x + 0.5, first + count / 2, f"rank {rank}: {rows}", **font)
            first += count
    for file, look in enumerate(looks):
        y = saved[0] / 2 if file == 0 else saved[0] + saved[1] / 2
        font = {"color": look["facecolor"], "va": "center", "fontsize": 13, "weight": "bold"}
        ax.text(len(columns) + 0.02, y, f"in the file\n__{file}_0.distcp", **font)
    ax.set_xticks([x + 0.5 for x in range(len(columns))], list(columns), fontsize=13)
    ax.set_yticks([row + 0.5 for row in range(sum(saved))], range(sum(saved)))
    ax.set(title="output.weight: who holds which rows, and in which file they are", ylabel="row")
    ax.set(xlim=(0, len(columns) + 0.75), ylim=(sum(saved) + 0.05, -0.05))
    ax.tick_params(length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax


def plot_differences(losses, resumed, first):
    """Draw how far the losses of continued runs are from those of the run without a stop, in millionths.

    losses is a list, a loss for each step from first on; resumed is {title: such a list}.
    """
    _, ax = plt.subplots(figsize=(11, 3.6))
    looks = (("s", RED), ("^", GREEN), ("D", BLUE))
    steps = range(first, first + len(losses))
    for (title, values), (marker, color) in zip(resumed.items(), looks):
        differences = [(value - loss) * 1e6 for value, loss in zip(values, losses)]
        look = {"marker": marker, "markersize": 9, "color": color, "markerfacecolor": "white"}
        ax.plot(steps, differences, label=title, linewidth=1.5, markeredgewidth=2, **look)
    ax.set_title("Loss of each continued run, minus the loss of the run that never stopped")
    ax.set(xlabel="step", ylabel="difference\n(millionths)", xticks=steps)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


# ---- 15


def _draw_lanes(ax, boxes):
    for lane, left, width, text, color in boxes:
        look = {"facecolor": color, "edgecolor": GREY, "linewidth": 1.5}
        ax.add_patch(plt.Rectangle((left, lane - 0.3), width, 0.6, **look))
        ink = "black" if color == "white" else "white"
        ax.text(left + width / 2, lane, text, **_CENTRED, color=ink)


def plot_save():
    """Draw who does what in save_step of notebooks/15_training.py, a lane for each of two ranks, from left to right."""
    _, ax = plt.subplots(figsize=(11, 3.2))
    boxes = [
        (0, 0, 3, "writes __0_0.distcp", BLUE),
        (1, 0, 3, "writes __1_0.distcp", BLUE),
        (0, 3.5, 2, "writes .metadata", BLUE),
        (0, 6, 2, "renames the folder", BLUE),
        (1, 3.5, 4.5, "waits for rank 0", "white"),
        (0, 8.5, 2, "trains on", BLUE),
        (1, 8.5, 2, "trains on", BLUE),
    ]
    _draw_lanes(ax, boxes)
    for place, text in ((3.25, "all have written"), (8.25, "the folder has its name")):
        ax.axvline(place, color="black", linestyle="--", linewidth=1.5)
        label = ax.text(place, -0.62, text, ha="center", va="center", fontsize=11.5)
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 2})
    ax.plot(0.25, 1, "X", color=RED, markersize=17, markeredgecolor="white")
    style = {"color": RED, "ha": "left", "va": "center", "fontsize": 11.5}
    ax.text(0.1, 1.48, "in step 40, rank 1 dies here", **style)
    ax.set_yticks([0, 1], ["rank 0", "rank 1"])
    ax.set(title="One save: nobody passes a dashed line before all have reached it", xlabel="time")
    ax.set(xticks=[], xlim=(-0.1, 10.6), ylim=(1.7, -0.85))
    ax.tick_params(length=0)
    ax.spines["left"].set_visible(False)
    return ax


def plot_ages(mixed, ages):
    """Draw to which of {age: state_dict} the rows of each tensor of a state_dict are equal, by colour and hatch."""
    _, ax = plt.subplots(figsize=(11, 3.6))
    looks = [(BLUE, ""), (YELLOW, "//")]
    for column, (key, tensor) in enumerate(mixed.items()):
        found = []  # for each row, the number of the age that has the same
        for i, row in enumerate(tensor):
            found.append([torch.equal(row, age[key][i]) for age in ages.values()].index(True))
        edges = [i for i in range(len(found)) if i == 0 or found[i] != found[i - 1]]
        for top, end in zip(edges, [*edges[1:], len(found)]):
            color, hatch = looks[found[top]]
            place, height = (column + 0.06, top / len(found)), (end - top) / len(found)
            look = {"facecolor": color, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
            ax.add_patch(plt.Rectangle(place, 0.88, height, **look))
    names = [f"{key.replace('hidden_layers', 'hidden')}\n{len(mixed[key])} rows" for key in mixed]
    ax.set_xticks([column + 0.5 for column in range(len(mixed))], names, fontsize=9.5)
    handles = [
        plt.Rectangle((0, 0), 1, 1, facecolor=color, hatch=hatch, edgecolor="white", label=age)
        for age, (color, hatch) in zip(ages, looks)
    ]
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), title="rows of")
    ax.set_yticks([0, 1], ["first row", "last row"])
    ax.set(title="What was loaded: each tensor has rows of two steps")
    ax.set(xlim=(0, len(mixed)), ylim=(1, 0))
    ax.tick_params(length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax


def plot_renames(moments):
    """Draw the folders at each moment of {title: names}: step 30 is saved again, and moves with each rename."""
    _, ax = plt.subplots(figsize=(11, 3.4))
    rows = ["step-000020", "step-000030", "replaced", "unfinished"]
    held = {"step-000020": "step 20", "step-000030": "old step 30", "unfinished": "new step 30"}
    looks = {
        "step 20": {"facecolor": GREY},
        "old step 30": {"facecolor": BLUE},
        "new step 30": {"facecolor": YELLOW, "hatch": "//"},
    }
    for column, names in enumerate(moments.values()):
        renamed = dict(zip(set(held) - set(names), set(names) - set(held)))
        for old, new in renamed.items():
            held[new] = held.pop(old)
            start, end = (column - 0.36, rows.index(old)), (column - 0.02, rows.index(new))
            look = {"arrowstyle": "-|>", "linewidth": 1.5}
            ax.annotate("", xy=end, xytext=start, arrowprops=look)
        for name, content in held.items():
            place, look = (column, rows.index(name) - 0.34), looks[content]
            ax.add_patch(plt.Rectangle(place, 0.62, 0.68, edgecolor="white", **look))
            ax.text(column + 0.31, rows.index(name), content, **_CENTRED, bbox=_LABEL)
        for name in {"step-000030"} - set(held):
            text = "no such folder: after a\ncrash, step 20 is loaded"
            ax.text(column + 0.31, rows.index(name), text, **_CENTRED, color=RED)
    ax.set_xticks([column + 0.31 for column in range(len(moments))], list(moments), fontsize=12)
    ax.set_yticks(range(len(rows)), rows, fontsize=12)
    ax.xaxis.tick_top()
    ax.set(xlim=(-0.1, len(moments) - 0.3), ylim=(3.5, -0.5))
    ax.set_title("What each folder holds while finish replaces step 30", pad=14)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    return ax


def plot_waits(save, copy):
    """Draw the seconds a training waits: `save` for dcp.save, `copy` for async_save, whose thread writes as long."""
    _, ax = plt.subplots(figsize=(11, 3.6))
    end, before = 1.25 * (copy + save), 0.15 * (copy + save)
    for lane, wait in ((0, save), (1, copy)):
        for left, width, color in (
            (-before, before, BLUE),
            (0, wait, RED),
            (wait, end - wait, BLUE),
        ):
            look = {"facecolor": color, "edgecolor": "white", "linewidth": 2}
            ax.add_patch(plt.Rectangle((left, lane - 0.3), width, 0.6, **look))
        ax.text(wait + (end - wait) / 2, lane, "trains on", **_CENTRED, color="white")
        ax.text(-before / 2, lane, "trains", **_CENTRED, color="white")
    ax.text(save / 2, 0, "waits: the rank writes its file", **_CENTRED, color="white")
    ax.text(0, 1.47, "waits for the copy", color=RED, va="center", fontsize=12)
    look = {"facecolor": "white", "edgecolor": GREY, "linewidth": 1.5}
    ax.add_patch(plt.Rectangle((copy, 1.72), save, 0.4, **look))
    ax.text(copy + save / 2, 1.92, "a thread writes the file", **_CENTRED)
    ax.set_yticks([0, 1], ["dcp.save", "dcp.async_save"])
    ax.set_title(f"The training waits {copy:.0f} seconds instead of {save:.0f}")
    ax.set_xlabel("seconds, computed for 70 billion parameters on 8 ranks")
    ax.set(xlim=(-before, end), ylim=(2.25, -0.45))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return ax


def plot_broadcast():
    """Draw what one tensor is on each of two ranks after each step of notebooks/15_broadcast.py."""
    _, ax = plt.subplots(figsize=(11, 4.2))
    halves = [
        ("upper rows", {"facecolor": BLUE}),
        ("lower rows", {"facecolor": YELLOW, "hatch": "//"}),
    ]
    nothing = {"facecolor": "white", "edgecolor": GREY, "linestyle": ":", "linewidth": 1.5}
    empty = {"facecolor": "white", "edgecolor": "black", "linewidth": 1.5}
    for lane in (0, 1):
        top = 1.3 * lane
        ax.add_patch(plt.Rectangle((0, top), 1.2, 1, **nothing))
        ax.text(0.6, top + 0.5, "no numbers", **_CENTRED, color=GREY)
        ax.add_patch(plt.Rectangle((2, top + lane / 2), 1.2, 0.5, **empty))
        ax.text(2.6, top + lane / 2 + 0.25, "empty", **_CENTRED)
        text, look = halves[lane]
        filled = (6, top + lane / 2)
        arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.5}
        for half, (name, color) in enumerate(halves):
            if lane == 0:  # rank 0 reads the file
                ax.add_patch(plt.Rectangle((4, half / 2), 1.2, 0.5, edgecolor="white", **color))
                ax.text(4.6, half / 2 + 0.25, name, **_CENTRED, bbox=_LABEL)
        ax.add_patch(plt.Rectangle(filled, 1.2, 0.5, edgecolor="white", **look))
        ax.text(6.6, filled[1] + 0.25, text, **_CENTRED, bbox=_LABEL)
        ends = {"xy": (5.97, filled[1] + 0.25), "xytext": (5.23, lane / 2 + 0.25)}
        ax.annotate("", **ends, arrowprops=arrow)
    ax.text(4.6, 1.8, "reads nothing", **_CENTRED, color=GREY)
    steps = ["build on meta", "cut, to_empty", "read the file", "fill"]
    ax.set_xticks([0.6, 2.6, 4.6, 6.6], steps, fontsize=13)
    ax.set_yticks([0.5, 1.8], ["rank 0", "rank 1"], fontsize=13)
    ax.set(title="One tensor on two ranks", xlim=(-0.15, 7.35), ylim=(2.4, -0.1))
    ax.tick_params(length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax


_CENTRED = {"ha": "center", "va": "center", "fontsize": 12}
_LABEL = {"facecolor": "white", "edgecolor": "none", "boxstyle": "round,pad=0.2"}


# ---- 16


def plot_traceback(calls, error, helpers=0):
    """Draw the calls of a traceback, yours in blue, all others in grey, the error in red below.

    calls is what traceback.extract_tb returns; the first `helpers` of them are a helper's, and grey, too. Beside the
    rows stands in which order to read them.
    """
    _, ax = plt.subplots(figsize=(12, 1.2 + 0.46 * len(calls)))
    own = [row >= helpers and is_own(call) for row, call in enumerate(calls)]
    lowest = max(row for row, mine in enumerate(own) if mine)
    for row, (call, mine) in enumerate(zip(calls, own)):
        place = "our helper" if row < helpers else Path(call.filename).name
        color, place = (BLUE, "your code") if mine else (GREY, place)
        look = {"facecolor": color, "alpha": 0.15}
        ax.add_patch(plt.Rectangle((0, row + 0.05), 10, 0.9, edgecolor="white", **look))
        style = {"va": "center", "fontsize": 11.5, "weight": "bold" if row == lowest else "normal"}
        ax.text(0.1, row + 0.5, place, color=color, **style)
        ax.text(1.9, row + 0.5, call.name, color=color, **style)
        ink = "black" if mine else GREY
        ax.text(4.3, row + 0.5, _cut(call.line, 58), color=ink, family="monospace", **style)
    last = len(calls)
    ax.add_patch(plt.Rectangle((0, last + 0.05), 10, 0.9, facecolor="#fbe6e7", edgecolor=RED))
    text = _cut(f"{type(error).__name__}: {error}", 100)
    ax.text(0.1, last + 0.5, text, color=RED, weight="bold", va="center", fontsize=11.5)
    _rows_label(ax, last, last + 1, "1  what went wrong")
    _rows_label(ax, lowest + 1, last, "2  the library: skip")
    _rows_label(ax, lowest, lowest + 1, "3  your lowest line")
    _rows_label(ax, 0, helpers, "    our helper: ignore")
    ax.set_title("A traceback: read it from the bottom", loc="left")
    ax.set(xlim=(0, 12.9), ylim=(last + 1.05, 0))
    ax.set_axis_off()
    return ax


def _rows_label(ax, first, after, text):
    """Write a text right of the rows from first up to after, with a bracket if there are several."""
    if after - first > 1:
        ends = [first + 0.1, first + 0.1, after - 0.1, after - 0.1]
        ax.plot([10.08, 10.2, 10.2, 10.08], ends, color="black", linewidth=1.2)
    if after > first:
        style = {"va": "center", "fontsize": 12.5, "weight": "bold"}
        ax.text(10.32, (first + after) / 2, text, **style)


def is_own(call):
    """Whether a call of a traceback is in your own code: not in an installed library."""
    return not {"site-packages", "dist-packages"} & set(Path(call.filename).parts)


def _cut(text, length):
    return text if len(text) <= length else f"{text[: length - 1]}…"


def plot_who_notices(table):
    """Draw {run: {test: whether it passes}}: a green field with a check mark for each test that notices a fault.

    The first run is the one without a fault. The last row counts the faults that a test notices.
    """
    tests = list(next(iter(table.values())))
    _, ax = plt.subplots(figsize=(3.2 + 1.55 * len(tests), 1.7 + 0.5 * len(table)))
    style = {"ha": "center", "va": "center", "fontsize": 12.5, "weight": "bold"}
    for row, passes in enumerate(table.values()):
        for column, test in enumerate(tests):
            look = {"color": GREY, "alpha": 0.12} if passes[test] else {"color": GREEN}
            ax.add_patch(plt.Rectangle((column + 0.03, row + 0.05), 0.94, 0.9, linewidth=0, **look))
            if not passes[test]:
                ax.text(column + 0.5, row + 0.5, "✓ notices", color="white", **style)
    faulty, last = list(table.values())[1:], len(table)
    for column, test in enumerate(tests):
        noticed = sum(not passes[test] for passes in faulty)
        ax.text(column + 0.5, last + 0.5, f"{noticed} of {len(faulty)}", **style)
    ax.hlines([1, last], 0, len(tests), color="black", linewidth=1.2)
    ax.set_xticks([column + 0.5 for column in range(len(tests))], tests, fontsize=12.5)
    ax.set_yticks([row + 0.5 for row in range(last + 1)], [*table, "faults noticed"], fontsize=12.5)
    ax.xaxis.tick_top()
    ax.set(xlim=(0, len(tests)), ylim=(last + 1, 0))
    ax.set_title("Which test notices which fault", pad=12)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    return ax


# ---- 17


def plot_cases(reasons, title):
    """Draw the forty cases of the capstone, five in a row: pale green with a check mark, red with a cross.

    reasons is what capstone.played returns: {(step, row, case): why it fails, or an empty text}.
    """
    steps = list(dict.fromkeys(step for step, _, _ in reasons))
    _, ax = plt.subplots(figsize=(13, 7.6))
    for number, step in enumerate(steps):
        cases = [(key[2], reason) for key, reason in reasons.items() if key[0] == step]
        passed = sum(not reason for _, reason in cases)
        label = f"{step}\n{passed} of {len(cases)}"
        top = 2.2 * number
        ax.text(-0.06, top + 0.95, label, ha="right", va="center", fontsize=15, weight="bold")
        for place, (case, reason) in enumerate(cases):
            mark, face, color = ("✗", RED, "white") if reason else ("✓", "#e6f4ee", "black")
            x, y = place % 5, top + place // 5
            edge = RED if reason else GREEN
            ax.add_patch(plt.Rectangle((x + 0.02, y + 0.05), 0.96, 0.86, fc=face, ec=edge))
            text = textwrap.fill(f"{mark} {case}", 20)
            ax.text(x + 0.5, y + 0.48, text, color=color, fontsize=12.5, ha="center", va="center")
    ax.set(xlim=(-1.1, 5), ylim=(2.2 * len(steps) - 0.2, 0))
    ax.set_title(title, fontsize=18, weight="bold", pad=14)
    ax.set_axis_off()
    return ax
