"""Drawings that a single lesson uses, in the order of the lessons. Those of several lessons are in helper.py."""

import json
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
        ("Must the model run\nwithout your code?", "exported program\nlesson 07"),
        ("Will strangers\nload the file?", "safetensors\nlesson 07"),
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
