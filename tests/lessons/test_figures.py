"""The drawings of single lessons, in their order: what each picture shows."""

import copy
import importlib
import sys
import traceback
from collections import namedtuple
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import figures
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import TensorDataset

import helper
from fc_model import Network
from helper import BLUE, GREEN, GREY, RED, YELLOW


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


def words(ax):
    """The texts in a panel, in the order of drawing, without arrows."""
    return [text.get_text() for text in ax.texts if text.get_text()]


def arrows(ax):
    """(start, end) of each arrow without a text."""
    return [(text.xyann, text.xy) for text in ax.texts if not text.get_text()]


def find(ax, word):
    """The one text that says this."""
    (text,) = (text for text in ax.texts if text.get_text() == word)
    return text


def height(ax, word):
    return find(ax, word).get_position()[1]


def face(patch):
    return to_hex(patch.get_facecolor())


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


# ---------------------------------------------------------------- 00


def test_plot_answers_shows_an_image_of_each_class_and_marks_the_answers():
    network = Network(784, 10, [512, 256, 128]).eval()
    network.load_state_dict(torch.load(helper.trained_network()))
    axes = list(figures.plot_answers(network, "Loaded").flat)
    right = [f"{name} ✓" for name in helper.CLASSES["Fashion"]]
    assert [ax.get_title() for ax in axes] == [*right[:5], "Sneaker ✗", *right[6:]]
    assert [ax.title.get_color() for ax in axes] == [*[GREEN] * 5, RED, *[GREEN] * 4]
    assert axes[0].figure.get_suptitle() == "Loaded answers: 9 of 10 right"
    images, labels = helper.fashion_mnist(train=False)
    for label, ax in enumerate(axes):
        shown = (torch.tensor(ax.images[0].get_array()) * 255).round().to(torch.uint8)
        (found,) = (images == shown).all(dim=(1, 2)).nonzero()
        assert labels[found] == label


def test_plot_answers_counts_what_one_answer_for_all_gets_right():
    class Always(nn.Module):
        def forward(self, x):
            return nn.functional.one_hot(torch.full((len(x),), 3), 10).float()

    axes = list(figures.plot_answers(Always(), "Always").flat)
    assert [ax.get_title()[-1] for ax in axes] == list("✗✗✗✓✗✗✗✗✗✗")
    assert {ax.get_title()[:5] for ax in axes} == {"Dress"}
    assert axes[0].figure.get_suptitle() == "Always answers: 1 of 10 right"


def test_plot_ways_leads_right_from_each_question_and_down_to_the_next():
    ax = figures.plot_ways()
    columns = {"left": [], "right": []}
    for text in ax.texts:
        (x, y), said = text.get_position(), text.get_text()
        if said not in ("", "yes", "no"):
            columns["right" if x > 0.5 else "left"].append((y, said.split("\n")[0]))
    questions = ["Will training continue", "Must the model run", "Will strangers", "Otherwise"]
    ways = ["checkpoint", "exported program", "safetensors", "state_dict"]
    assert columns["left"] == list(zip([0, -1, -2, -3], questions))
    assert columns["right"] == list(zip([0, -1, -2, -3], ways))
    assert words(ax).count("yes") == words(ax).count("no") == 3
    across = [start[1] for start, end in arrows(ax) if start[1] == end[1] and start[0] < end[0]]
    down = [start[1] for start, end in arrows(ax) if start[0] == end[0] and start[1] > end[1]]
    assert across == [0, -1, -2, -3] and down == [-0.3, -1.3, -2.3] and len(arrows(ax)) == 7


# ---------------------------------------------------------------- 01


def test_plot_panel_draws_points_and_the_prediction_and_labels_the_first_panel():
    x, y = helper.regression_data(n=5)
    first, second = (
        figures.plot_panel(at, f"{at}", x, y, nn.Identity()(2 * x)) for at in (131, 132)
    )
    for ax, title in ((first, "131"), (second, "132")):
        assert np.array_equal(ax.collections[0].get_offsets(), torch.cat([x, y], dim=1))
        (line,) = ax.lines
        assert np.array_equal(line.get_xydata(), torch.cat([x, 2 * x], dim=1))
        assert line.get_color() == RED and ax.get_title() == title and ax.get_ylim() == (-0.1, 1.35)
    assert legend(first) == ["data", "prediction"] and first.get_ylabel() == "y"
    assert second.get_legend() is None and second.get_ylabel() == ""
    assert first.get_position().x1 < second.get_position().x0


def test_plot_calls_draws_both_calls_so_that_equal_ones_are_both_in_sight():
    x, y = helper.regression_data(n=5)
    ax = figures.plot_calls(121, "calls", x, y, 2 * x, 3 * x)
    assert np.array_equal(ax.collections[0].get_offsets(), torch.cat([x, y], dim=1))
    first, second = ax.lines
    assert np.array_equal(first.get_xydata(), torch.cat([x, 2 * x], dim=1))
    assert np.array_equal(second.get_xydata(), torch.cat([x, 3 * x], dim=1))
    assert first.get_linewidth() > second.get_linewidth()
    assert [first.get_color(), second.get_color()] == [BLUE, RED] and ax.get_title() == "calls"
    assert legend(ax) == ["data", "first call", "second call"]


def test_plot_two_files_writes_into_each_box_what_its_file_holds(tmp_path, monkeypatch):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(3, 4)

    Net.__module__, Net.__qualname__ = "__main__", "Net"
    monkeypatch.setattr(sys.modules["__main__"], "Net", Net, raising=False)
    torch.save(Net(), tmp_path / "whole.pth")
    torch.save(Net().state_dict(), tmp_path / "params.pth")
    ax = figures.plot_two_files(tmp_path / "whole.pth", tmp_path / "params.pth")
    inside = []
    for box in ax.patches:
        (left, bottom), (width, height) = box.get_xy(), (box.get_width(), box.get_height())
        places = [(text.get_text(), *text.get_position()) for text in ax.texts if text.get_text()]
        inside.append(
            [t for t, x, y in places if left < x < left + width and bottom < y < bottom + height]
        )
    assert inside == [
        ["__main__.Net", "1 names of torch.nn", "16 numbers"],
        ["line.weight", "1 more names", "16 numbers"],
        ["from curve_net import Net", "model = torch.load(…)"],
        ["from curve_net import Net", "model = Net()", "model.load_state_dict(…)"],
        ["class Net(nn.Module): …"],
    ]
    assert [to_hex(box.get_edgecolor()) for box in ax.patches] == [BLUE, GREEN, *[GREY] * 3]
    assert find(ax, "whole.pth: whole model").get_color() == BLUE
    assert find(ax, "params.pth: state_dict").get_color() == GREEN
    assert len(arrows(ax)) == 4 and words(ax).count("imports") == 2
    asks, fills = find(ax, "asks for\n__main__.Net"), find(ax, "fills\nthe model")
    assert asks.get_position()[1] > fills.get_position()[1]


# ---------------------------------------------------------------- 02


@pytest.fixture
def tree():
    model = nn.Sequential()
    model.add_module("body", nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
    model.add_module("out", nn.Linear(3, 1))
    return figures.plot_keys(model, "body.0.weight")


def test_plot_keys_writes_each_key_and_its_shape_in_one_row(tree):
    rows = {}
    for text in tree.texts:
        (x, y), last = text.get_position(), 3
        if x > last and y >= 0:
            rows.setdefault(y, []).append(text.get_text())
    assert list(rows.values()) == [
        ["weight", "body.0.weight", "(3, 2)"],
        ["bias", "body.0.bias", "(3,)"],
        ["weight", "out.weight", "(1, 3)"],
        ["bias", "out.bias", "(1,)"],
    ]
    assert height(tree, "no tensor, so no key") == height(tree, "ReLU") - 0.24


def test_plot_keys_makes_the_path_to_one_key_blue_and_nothing_else(tree):
    blue = [text.get_text() for text in tree.texts if text.get_color() == BLUE]
    assert blue == ["body", "0", "weight", "body.0.weight", "(3, 2)"]
    edges = [line.get_xydata().tolist() for line in tree.lines if line.get_color() == BLUE]
    assert [(start[0], end[0]) for start, end in edges] == [(0, 1), (1, 2), (2, 3)]
    assert all(end == start for (_, end), (start, _) in pairwise(edges))
    assert edges[-1][1] == [3, height(tree, "body.0.weight")] and len(tree.lines) == 8
    classes = [text.get_text() for text in tree.texts if text.get_color() == GREY]
    assert classes[:4] == ["not in the key", "Sequential", "Linear 2 → 3", "ReLU"]


def test_plot_registered_puts_each_name_into_the_innermost_box_that_has_it():
    model = nn.Linear(2, 1)
    model.register_buffer("mean", torch.zeros(1))
    model.register_buffer("cache", torch.zeros(1), persistent=False)
    model.plain, model.listed = torch.zeros(1), [nn.Linear(2, 1)]
    ax = figures.plot_registered(model)
    inside = {text.get_text(): int(text.get_position()[0]) for text in ax.texts}
    names = {"weight": 0, "bias": 0, "mean": 1, "cache": 2, "plain": 3, "listed": 3}
    assert names.items() <= inside.items() and len(ax.texts) == 6 + 4
    assert [to_hex(box.get_edgecolor()) for box in ax.patches] == [GREEN, BLUE, YELLOW, GREY]
    for inner, outer in pairwise(box.get_extents() for box in ax.patches):
        assert outer.x0 < inner.x0 and inner.x1 < outer.x1
        assert outer.y0 < inner.y0 and inner.y1 < outer.y1


# ---------------------------------------------------------------- 03


def test_plot_fitting_hatches_the_tensors_whose_shapes_differ():
    networks = {"one": [8, 4, 7, 2], "other": [8, 4, 9, 2]}
    axes = figures.plot_fitting(networks)
    pale = "#f4c7c8"
    for ax, (title, widths) in zip(axes, networks.items()):
        assert [-2 * bar.get_y() for bar in ax.patches] == [
            abs(bar.get_height()) for bar in ax.patches
        ]
        assert [abs(bar.get_height()) for bar in ax.patches] == widths
        assert [face(bar) for bar in ax.patches] == ["#c9ced8", BLUE, pale, BLUE]
        areas = [to_hex(area.get_facecolor()[0]) for area in ax.collections]
        assert areas == [BLUE, pale, pale] and ax.get_ylabel() == title
        assert [bool(area.get_hatch()) for area in ax.collections] == [False, True, True]
    two, three = (rf"$\mathbf{{{width}}}$" for width in (7, 9))
    shapes = ["(4, 8)", "(4,)", f"({three}, 4)", f"({three},)", f"(2, {three})", "(2,)"]
    assert words(axes[1]) == ["8 pixels", *shapes] and f"({two},)" in words(axes[0])
    assert axes[0].figure.get_suptitle() == "3 of 6 tensors have a different shape"
    names = [label.get_text() for label in axes[1].get_xticklabels(minor=True)]
    assert names == ["input", "hidden_layers.0", "hidden_layers.1", "output"]
    assert legend(axes[0]) == ["same shape", "different shape"]


def test_plot_overwritten_names_what_a_failed_load_did_to_each_tensor():
    before = Network(4, 3, [5])
    after = copy.deepcopy(before)
    after.output.load_state_dict(Network(4, 3, [5]).output.state_dict())
    ax = figures.plot_overwritten(before, after)
    assert words(ax) == ["kept", "kept", "overwritten", "overwritten"]
    assert [face(box) for box in ax.patches] == [BLUE, BLUE, YELLOW, YELLOW]
    assert [text.get_position() for text in ax.texts] == [
        (column + 0.5, row + 0.5) for row in (0, 1) for column in (0, 1)
    ]
    assert ticks(ax.yaxis) == ["hidden_layers.0", "output"] and ax.get_ylim() == (2, 0)
    assert ticks(ax.xaxis) == ["weight", "bias"]
    assert ax.get_title() == "The copy after the error: 2 of 4 tensors overwritten"


def clothes(right, wrong):
    """A data set of classes 2, 4 and 6 that are easy to tell apart, the wrong ones last; and of class 0, to ignore."""
    kinds = torch.eye(3).repeat_interleave(784 // 3, dim=1)
    kinds = nn.functional.pad(kinds, (0, 784 - kinds.shape[1]))
    kind = torch.tensor([0, 1, 2] * right + [1, 2, 0] * wrong)
    labels = torch.tensor([0] * 3 + [2, 4, 6] * (right + wrong))
    images = torch.cat([torch.zeros(3, 784), kinds[kind]]).view(-1, 1, 28, 28)
    return TensorDataset(images, labels)


def test_train_head_learns_from_ten_images_of_each_class_and_keeps_the_body(monkeypatch):
    class Loader:
        def __init__(self, dataset):
            self.dataset = dataset

    loaders = Loader(clothes(right=10, wrong=90)), Loader(clothes(right=900, wrong=600))
    monkeypatch.setattr(helper, "fashion_mnist_loaders", lambda: loaders)
    torch.manual_seed(2)
    network = Network(784, 3, [32], drop_p=0)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    images = loaders[1].dataset.tensors[0][3:3003].flatten(1)
    with torch.no_grad():
        right = (network(images).argmax(dim=1) == torch.arange(3).repeat(1000)).float().mean()
    curve = figures.train_head(network)
    assert len(curve) == 61 and [curve[0], curve[-1]] == pytest.approx([right.item(), 0.9])
    assert network(images[:3]).argmax(dim=1).tolist() == [0, 1, 2]
    changed = [key for key in before if not torch.equal(before[key], network.state_dict()[key])]
    assert changed == ["output.weight", "output.bias"]


def test_plot_heads_draws_and_names_the_curves_and_the_level_of_guessing():
    loaded, random = [0.25, 0.5, 0.75], [[0.5, 0.25, 0.5], [0.25, 0.5, 0.25]]
    ax = figures.plot_heads(loaded, random, chance=0.25)
    *drawn, guessing = ax.lines
    assert [line.get_ydata().tolist() for line in drawn] == [loaded, *random]
    assert [line.get_color() for line in drawn] == [BLUE, "black", "black"]
    assert list(guessing.get_ydata()) == [0.25, 0.25]
    ends = {text.get_text(): (text.xy, text.get_color()) for text in ax.texts}
    assert ends == {
        "loaded body, 75 %": ((2, 0.75), BLUE),
        "2 random bodies,\n25 to 50 %": ((2, 0.375), "black"),
        "guessing, 25 %": ((2, 0.25), GREY),
    }
    assert ax.get_title() == "The new head is better on the loaded body"
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 2), (0, 1))
    assert ax.yaxis.get_major_formatter()(0.5, 0) == "50 %"


# ---------------------------------------------------------------- 04


def test_plot_checkpoint_nests_the_boxes_and_names_what_each_adds():
    ax = figures.plot_checkpoint()
    boxes = [box.get_bbox() for box in ax.patches]  # the outermost first
    for outer, inner in pairwise(boxes):
        assert outer.x0 < inner.x0 and outer.x1 == inner.x1
        assert outer.y0 < inner.y0 and outer.y1 > inner.y1
    keys = [text for text in ax.texts if text.get_family() == ["monospace"]]
    assert [text.get_text().split(",")[0] for text in keys] == [
        "+ scheduler",
        "+ optimizer",
        "+ input_size",
        "state_dict",
    ]
    for row, text in enumerate(keys):
        holds = [box.contains(*text.get_position()) for box in boxes]
        assert holds == [number <= row for number in range(4)]
    uses = ["continue as if", "continue training", "rebuild", "fill a network"]
    for use, text in zip(uses, keys):
        (line,) = (t for t in ax.texts if t.get_text().startswith(use))
        assert line.get_position()[1] == text.get_position()[1]


def test_plot_turned_draws_the_image_and_the_probabilities_of_each_network():
    images, labels = torch.rand(4, 1, 28, 28) * 2 - 1, torch.tensor([0, 1, 1, 1])
    shares = torch.tensor([0.004, 0.896, 0.1, *[0.0] * 7])

    def network(x):
        assert torch.equal(x, images.view(4, 784))
        return shares.log().expand(4, 10)

    left, *panels = figures.plot_turned(
        images, labels, {"sure": network, "opposite": lambda x: network(x).flip(1)}
    )
    np.testing.assert_allclose(left.images[0].get_array(), images[3, 0] / 2 + 0.5, atol=1e-6)
    assert left.get_title() == "Trouser, upside down"
    titles = [ax.get_title() for ax in panels]
    assert titles == ["sure\n75% of all images right", "opposite\n0% of all images right"]
    for ax, expected in zip(panels, (shares, shares.flip(0))):
        assert [bar.get_width() for bar in ax.patches] == pytest.approx((100 * expected).tolist())
        assert [face(bar) for bar in ax.patches] == [GREY, GREEN, *[GREY] * 8]
        assert ax.yaxis_inverted()
    assert [text.get_text() for text in panels[0].texts] == ["", "90%", "10%", *[""] * 7]
    assert ticks(panels[0].yaxis)[:3] == ["T-shirt", "✓ Trouser", "Pullover"]
    assert set(ticks(panels[1].yaxis)) == {""}


# ---------------------------------------------------------------- 05


def test_plot_agreement_draws_at_most_500_pairs_and_names_the_largest_difference():
    answers = torch.linspace(-1, 1, 1000).view(10, 100)
    other = answers.clone()
    other[0, 1] += 2.5  # not among those that are drawn
    axes = figures.plot_agreement(answers, {"same": answers.clone(), "other": other})
    for ax, found in zip(axes, (answers, other)):
        pairs = torch.stack([answers.flatten(), found.flatten()], dim=1)[::2]
        assert np.array_equal(ax.collections[0].get_offsets(), pairs) and len(pairs) == 500
        (line,) = ax.lines
        assert (line.get_xy1(), line.get_slope()) == ((0, 0), 1)
        assert "{resnet}" in ax.get_xlabel() and ax.get_xlim() == ax.get_ylim()
    assert words(axes[0])[1] == "no difference"
    assert words(axes[1])[1] == "largest difference: 2.5"
    assert [ax.texts[1].get_color() for ax in axes] == [GREEN, RED]
    assert "{second}" in axes[0].get_ylabel()


def test_plot_changes_colours_the_parts_with_an_entry_that_changed():
    model = nn.Sequential()
    model.add_module("body", nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    model.add_module("tanh", nn.Tanh())  # has no entries, and so no box
    model.add_module("fc", nn.Linear(2, 1))
    steps = {"one": ["body.1.running_var", "fc.bias"], "two": []}
    for ax, title in zip(figures.plot_changes(model, steps), steps):
        assert ax.get_title(loc="left") == title
        assert ticks(ax.xaxis) == ["body", "fc (head)"]
        assert ticks(ax.yaxis) == ["parameters", "buffers"] and ax.yaxis_inverted()
        seen = [(int(box.get_x()), int(box.get_y()), face(box)) for box in ax.patches]
        colors = [GREEN, RED] if title == "one" else ["#ffffff", "#ffffff"]
        assert seen == [(0, 0, "#ffffff"), (1, 0, colors[0]), (0, 1, colors[1])]
        said = ["stays", "changes", "changes"] if title == "one" else ["stays"] * 3
        assert words(ax) == said


def test_plot_memory_draws_shared_memory_once_with_all_its_names():
    tensor = torch.tensor([7.0, 8.0])
    ax = helper.plot_memory({"a": tensor, "b": tensor.numpy(), "c": tensor.numpy().copy()})
    assert words(ax) == ["7", "8", "a", "b", "7", "8", "c"]
    boxes = [(box.get_x(), box.get_y(), box.get_linestyle()) for box in ax.patches]
    assert boxes == [(0, -0.3, "-"), (1, -0.3, "-"), (0, 0.7, "--"), (1, 0.7, "--")]
    assert [to_hex(box.get_edgecolor()) for box in ax.patches] == [RED, RED, GREEN, GREEN]
    pointed = {text.get_text(): text.xy[1] for text in ax.texts if text.get_text() in "abc"}
    assert pointed == pytest.approx({"a": -0.2, "b": 0.2, "c": 1})  # each arrow ends at its row
    assert ax.get_title() == "a and b share memory,\nc has its own"


# ---------------------------------------------------------------- 06


def test_add_batch_losses_finishes_a_figure_of_two_curves_and_marks_the_last_batch_of_an_epoch():
    plt.plot([0.9, 0.5], label="all points")
    ax = figures.add_batch_losses([1.0, 4.0, 2.0, 8.0], count=2)
    whole, batches, small = ax.lines
    assert list(whole.get_ydata()) == [0.9, 0.5]
    assert list(batches.get_xdata()) == [0, 0.5, 1, 1.5]
    assert list(batches.get_ydata()) == [1, 4, 2, 8]
    assert (list(small.get_xdata()), list(small.get_ydata())) == ([0.5, 1.5], [4, 8])
    assert legend(ax) == ["all points", "batches", "batch of only 4 points"]
    assert [line.get_color() for line in ax.lines] == [RED, BLUE, YELLOW]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_ylim()[0]) == ("epoch", "loss", 0)


def test_plot_pairs_sorts_by_target_and_puts_a_dot_on_each_wanted_pair():
    answers = torch.tensor([[3.0], [1.0]], requires_grad=True)
    ax = figures.plot_pairs(answers, torch.tensor([[2.0], [0.0]]))
    assert ax.images[0].get_array().tolist() == [[1, 1], [9, 1]]
    assert ax.get_title() == "mean of all 4 squares: 3.000\nmean of the 2 at the dots: 1.000"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("target of point (sorted)", "answer for point")
    assert ax.images[0].norm.vmin == 0 and ax.images[0].colorbar.ax.get_ylabel()
    assert list(ax.lines[0].get_xdata()) == list(ax.lines[0].get_ydata()) == [0, 1]


def test_plot_fits_and_mean_adds_a_dashed_line_at_the_mean_of_y():
    x = torch.tensor([[0.0], [1.0]])
    axes = figures.plot_fits_and_mean(x, 3 * x, {"one": nn.Linear(1, 1), "same": nn.Identity()})
    assert [ax.get_title() for ax in axes] == ["one", "same"]
    for ax in axes:
        assert list(ax.lines[-1].get_ydata()) == [1.5, 1.5]
        assert ax.lines[-1].get_linestyle() == "--"
    assert axes[1].lines[0].get_ydata().flatten().tolist() == [0, 1]
    assert legend(axes[0]) == ["data", "answers", "mean of y"]


def test_plot_batches_has_a_panel_for_each_loader_and_colours_its_first_batch():
    batches = [(torch.rand(3, 1), torch.rand(3, 1)), (torch.rand(1, 1), torch.rand(1, 1))]
    loaders = {"in order": batches, "shuffled": batches[::-1]}
    axes = figures.plot_batches(loaders)
    assert [ax.get_title() for ax in axes] == ["in order", "shuffled"]
    for ax, loader in zip(axes, loaders.values()):
        drawn = {to_rgb(color): [] for color in (BLUE, "white")}
        for part in ax.collections:
            drawn[tuple(part.get_facecolor()[0][:3])].extend(part.get_offsets().tolist())
        first, rest = (torch.cat(batch, dim=1).tolist() for batch in loader)
        assert list(drawn.values()) == [first, rest]
    assert legend(axes[0]) == ["first batch: 3 points", "other batches"]
    assert axes[0].get_ylabel() == "y"


# ---------------------------------------------------------------- 07


def ladder_of(*values):
    parts = ["weights", "Adam's memory", "learning rate", "random state"]
    return dict(zip(parts, values))


def test_plot_ladder_draws_each_line_from_a_dot_and_puts_0_below_a_break():
    ladder = ladder_of([0.2] * 4, [0.1] * 4, [0.002, 0.003, 0.02, 0.03], [0.0] * 4)
    ax = figures.plot_ladder(ladder, steps_per_epoch=2)
    *lines, divider = ax.lines
    for line, values in zip(lines[:3], list(ladder.values())[:3], strict=True):
        assert line.get_xdata().tolist() == [1, 2, 3, 4] and list(line.get_ydata()) == values
    zero, *others = ax.get_yticks()
    assert list(lines[3].get_ydata()) == [zero] * 4 and others == [0.001, 0.01, 0.1]
    assert ticks(ax.yaxis) == ["0", "0.001", "0.01", "0.1"] and ax.get_yscale() == "log"
    assert ax.get_ylim()[0] < zero < others[0] and ax.get_ylim()[1] == 0.3
    assert zero < find(ax, "//").get_position()[1] < others[0]
    assert {(line.get_marker(), *line.get_markevery()) for line in lines} == {("o", 0)}
    assert len({to_rgb(line.get_color()) for line in [*lines, divider]}) == 5
    assert list(divider.get_xdata()) == [2.5, 2.5]
    assert ax.get_title() == "Only with all parts is the difference 0"
    assert "largest difference of a weight" in ax.get_ylabel()


def test_plot_ladder_names_each_line_at_its_end_and_each_epoch_in_its_middle():
    ladder = ladder_of([0.2] * 4, [0.1] * 4, [0.05] * 4, [0.0] * 4)
    ax = figures.plot_ladder(ladder, steps_per_epoch=2)
    names = ["weights alone", *(f"+ {part}" for part in list(ladder)[1:])]
    for name, line in zip(names, ax.lines):
        assert find(ax, name).xy == (4, line.get_ydata()[-1])
        assert find(ax, name).get_color() == line.get_color()
    for name, middle in {"epoch 2": 1.5, "epoch 3": 3.5}.items():
        assert find(ax, name).get_position()[0] == middle
    assert len(words(ax)) == 7


def test_plot_ladder_has_room_for_a_large_difference():
    ladder = ladder_of([2.0] * 4, [0.1] * 4, [0.05] * 4, [0.0] * 4)
    assert figures.plot_ladder(ladder, steps_per_epoch=2).get_ylim()[1] > 2


def test_plot_scale_draws_stairs_crosses_the_skipped_steps_and_adds_the_new_scaler():
    steps = [(65536.0, True), (16384.0, True), (8192.0, False), (8192.0, False)]
    ax = figures.plot_scale(steps, forgotten=steps[:2])
    for stairs, first, scales in zip(ax.patches, (0, 2), (steps, steps[:2]), strict=True):
        assert list(stairs.get_data().values) == [scale for scale, _ in scales]
        edges = [first + step + 0.5 for step in range(len(scales) + 1)]
        assert list(stairs.get_data().edges) == edges
    assert [stairs.get_linestyle() for stairs in ax.patches] == ["solid", "--"]
    good, skipped, _, new, saved = ax.lines
    assert good.get_xydata().tolist() == [[3, 8192], [4, 8192]]
    assert skipped.get_xydata().tolist() == [[1, 65536], [2, 16384]]
    assert new.get_xydata().tolist() == [[3, 65536], [4, 16384]]
    assert [line.get_color() for line in (good, skipped, new)] == [BLUE, RED, RED]
    assert [line.get_marker() for line in (good, skipped, new)] == ["o", "X", "X"]
    assert legend(ax) == ["good step", "skipped step"]
    assert list(saved.get_xdata()) == [2.5, 2.5]
    assert words(ax) == ["saved here", "new scaler: starts again"]
    assert ax.get_yticks().tolist() == [8192, 16384, 65536] and ax.get_yscale() == "log"
    assert ticks(ax.yaxis) == ["8,192", "16,384", "65,536"]


def test_plot_draws_fills_the_draws_that_are_done_and_points_at_both_random_states():
    place = {"epochs_done": 2, "batches_done": 3, "epoch_start": None}
    ax = figures.plot_draws(place, count=5)
    boxes = sorted(ax.patches, key=lambda box: box.get_x())
    assert [face(box) for box in boxes] == [YELLOW] * 2 + [BLUE] * 3 + ["#ffffff"] * 2
    for name, box in zip(["seed", "order", *"01234"], boxes, strict=True):
        left, right = box.get_x(), box.get_x() + box.get_width()
        assert left < find(ax, name).get_position()[0] < right
    for name, box in zip(["iter", "first next"], boxes):
        middle = box.get_x() + box.get_width() / 2
        assert abs(find(ax, name).get_position()[0] - middle) < 0.01
    start, stop = (end[0] for _, end in arrows(ax))
    assert start <= boxes[0].get_x() and [start, stop] == [begin[0] for begin, _ in arrows(ax)]
    assert boxes[4].get_x() + boxes[4].get_width() < stop < boxes[5].get_x()
    assert all(begin[1] < end[1] < 0 for begin, end in arrows(ax))
    below = ["place: epoch_start", "place: epochs_done = 2, batches_done = 3", "random_state"]
    assert words(ax)[-3:] == below
    assert [find(ax, name).get_position()[0] - 0.2 for name in below] == [start, stop, stop]
    assert {"dropout: 3 batches done", "dropout: 2 batches left"} < set(words(ax))


def test_plot_loader_draws_leaves_out_the_seed_so_that_the_next_order_is_an_earlier_draw():
    ax = figures.plot_loader_draws()
    rows = {}
    for box in ax.patches:
        rows.setdefault(box.get_y(), []).append(box)
    resumed, whole = (sorted(rows[y], key=lambda box: box.get_x()) for y in sorted(rows))
    assert [face(box) for box in whole] == [YELLOW] * 4
    assert [face(box) for box in resumed] == [YELLOW, "#ffffff", RED, YELLOW]
    assert [box.get_linestyle() for box in resumed] == ["solid", "--", "solid", "solid"]
    names = ["order\ndraw 1", "seed\ndraw 2", "order\ndraw 3", "seed\ndraw 4"]
    assert words(ax)[:5] == ["not stopped", *names]
    names = ["order\ndraw 1", "no seed", "another order\ndraw 2", "seed\ndraw 3"]
    assert words(ax)[5:10] == ["resumed", *names]
    assert words(ax)[10:] == ["this epoch", "next epoch"]


# ---------------------------------------------------------------- 08


def test_plot_kills_draws_a_field_for_each_kill_and_counts_them():
    states = {"torch.save": ["broken", "whole", "broken"], "save_atomic": ["whole"] * 3}
    lines = [f"{name} {state}" for name, row in states.items() for state in row]
    ax = figures.plot_kills("\n".join(lines))
    assert ticks(ax.yaxis) == list(states) and not list(ax.get_xticks())
    assert [face(field) for field in ax.patches] == [RED, GREEN, RED, *[GREEN] * 3]
    first = ["✗", "✓", "✗", "1 of 3 loads"]
    assert words(ax) == [*first, "✓", "✓", "✓", "3 of 3 load"]
    top, bottom = ax.get_ylim()[1], ax.get_ylim()[0]
    for number, (field, mark) in enumerate(
        zip(ax.patches, (t for t in ax.texts if len(t.get_text()) == 1))
    ):
        x, y = mark.get_position()
        assert x == number % 3 + 1 and number // 3 < y < number // 3 + 1
        assert field.get_bbox().contains(x, y) and top <= y <= bottom
    assert all(number < ax.get_xlim()[1] for number, _ in (t.get_position() for t in ax.texts))


def test_plot_atomic_keeps_a_complete_file_under_the_name_until_the_replace():
    ax = figures.plot_atomic()
    names = [name.replace("\n", " ") for name in ticks(ax.yaxis)]
    assert names == [
        "torch.save: model.pth",
        "save_atomic: model.pth",
        "save_atomic: model.pth.tmp",
    ]
    rows = {name: [] for name in names}
    inside = {"old", "incomplete", "new"}
    bars = [text for text in ax.texts if text.get_text() in inside]
    for bar, text in zip(ax.patches, bars, strict=True):
        assert bar.get_bbox().contains(*text.get_position())
        assert bool(bar.get_hatch()) == (text.get_text() == "incomplete")
        row = names[int(bar.get_y())]
        rows[row].append((text.get_text(), bar.get_x(), bar.get_x() + bar.get_width()))
    in_place, atomic, temporary = rows.values()
    assert [word for word, _, _ in in_place] == ["old", "incomplete", "new"]
    assert [word for word, _, _ in atomic] == ["old", "new"]
    assert [word for word, _, _ in temporary] == ["incomplete", "new"]
    assert in_place[1][1:] == temporary[0][1:]  # both write as long
    for row in (in_place, atomic, temporary):
        assert all(left[2] == right[1] for left, right in pairwise(row))
    replaced = atomic[1][1]
    assert temporary[-1][2] == replaced > temporary[0][2]
    moments = ["the save\nbegins", "all is\nwritten", "os.replace\nrenames"]
    places = [find(ax, moment).get_position()[0] for moment in moments]
    assert places == [temporary[0][1], temporary[1][1], replaced]
    x, y = find(ax, "os.fsync").get_position()
    assert temporary[1][1] < x < temporary[1][2] and y > 2.8


def test_time_saves_ends_with_the_result_of_the_job():
    calls = []

    class Job:
        def result(self):
            calls.append("result")

    def in_background(obj, path):
        calls.append((obj, path))
        return Job()

    times = figures.time_saves(lambda *given: calls.append(given), in_background, 1, "path")
    assert calls == [(1, "path"), (1, "path"), "result"]
    assert len(times) == 4 and times == sorted(times)


def test_plot_background_draws_the_wait_the_copy_and_the_thread():
    ax = figures.plot_background([3, 3.5, 3.625, 4.125])
    names = ["save_atomic: training", "save_in_background: training", "save_in_background: thread"]
    assert [name.replace("\n", " ") for name in ticks(ax.yaxis)] == names and ax.yaxis_inverted()
    spans = [(face(bar), bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    end = ax.get_xlim()[1]
    first = [("#ffffff", 0, 0.5), (BLUE, 0.5, end)]
    assert spans == [*first, ("#ffffff", 0, 0.125), (BLUE, 0.125, end), (GREEN, 0.125, 0.625)]
    assert [round(bar.get_y() + bar.get_height() / 2) for bar in ax.patches] == [0, 0, 1, 1, 2]
    assert [bool(bar.get_hatch()) for bar in ax.patches] == [True, False, True, False, False]
    assert words(ax) == ["← 0.50 s", "← 0.12 s"]
    places = [text.get_position() for text in ax.texts]
    assert all(left < x < end for left, (x, _) in zip((0.5, 0.125), places, strict=True))
    assert [y for _, y in places] == [0, 1] and end > 0.625
    assert legend(ax) == ["waits", "trains", "writes the file"]


def test_plot_lives_draws_what_each_process_did_saved_and_repeats():
    stops = ["SIGKILL", "SIGTERM", None]
    lives = [list(range(1, 15)), list(range(11, 27)), list(range(27, 101))]
    ax = figures.plot_lives(lives, stops)
    spans = [(face(bar), bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    pale = "#cfe0f3"
    assert spans == [(BLUE, 0, 14), (BLUE, 10, 26), (pale, 10, 14), (BLUE, 26, 100)]
    rows = [round(bar.get_y() + bar.get_height() / 2) for bar in ax.patches]
    assert rows == [0, 1, 1, 2] and ticks(ax.yaxis) == ["process 1", "process 2", "process 3"]
    ends = ["SIGKILL ✗", "SIGTERM: saves, then ends", "the end ✓"]
    assert words(ax) == ends and [find(ax, end).get_color() for end in ends] == [RED, GREEN, GREEN]
    assert [find(ax, end).get_position() for end in ends] == [(15.5, 0), (27.5, 1), (101.5, 2)]
    saves = [list(line.get_xdata()) for line in ax.lines]
    assert saves == [[10], [20, 26], list(range(30, 101, 10))] and ax.yaxis_inverted()
    assert [round(line.get_ydata()[0]) for line in ax.lines] == [0, 1, 2]
    assert legend(ax) == ["finished steps", "repeated steps", "a save"]


def test_plot_lives_shows_a_SIGTERM_that_saved_nothing():
    ax = figures.plot_lives([list(range(1, 15)), list(range(11, 101))], ["SIGTERM", None])
    assert words(ax) == ["SIGTERM ✗", "the end ✓"]


def test_plot_lives_leaves_out_a_process_that_found_nothing_to_do():
    ax = figures.plot_lives([list(range(1, 101)), []], ["SIGKILL", None])
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(0, 100)]


# ---------------------------------------------------------------- 09


class _Calls:
    def __reduce__(self):
        return eval, ("1 + 2",)


def test_plot_instructions_numbers_what_each_file_asks_for_and_marks_the_call(tmp_path):
    for name, epoch in (("honest", 3), ("hostile", _Calls())):
        torch.save({"epoch": epoch}, tmp_path / name)
    ax = figures.plot_instructions(tmp_path / "honest", tmp_path / "hostile")
    start = ["1. make an empty dictionary", "2. take the text 'epoch'"]
    end = ["put the last value into the dictionary", "done: return the dictionary"]
    honest = [*start, "3. take the number 3", f"4. {end[0]}", f"5. {end[1]}"]
    hostile = [*start, "3. find the function eval", "4. take the text '1 + 2'"]
    hostile += ["5. make a tuple of the text", "6. call the function with this tuple"]
    hostile += [f"7. {end[0]}", f"8. {end[1]}"]
    stop, legend = "weights_only=True stops", words(ax)[-4:]
    hostile.insert(3, stop)
    assert words(ax) == ["honest", *honest, "hostile", *hostile, *legend]
    assert height(ax, stop) == height(ax, "3. find the function eval")
    named = {each.partition(":")[0]: find(ax, each).get_color() for each in legend}
    assert named == {"red": RED, "blue": BLUE, "grey": GREY, "not shown": GREY}
    red = [text.get_text() for text in ax.texts if text.get_color() == RED]
    calls = ["3. find the function eval", stop, "6. call the function with this tuple"]
    assert red == [*calls, legend[0]]
    steps = [text for text in ax.texts if text.get_text()[0].isdigit()]
    for text, box in zip(steps, ax.patches, strict=True):
        (x, y), (left, top) = text.get_position(), box.get_xy()
        assert left < x < left + box.get_width() and top < y < top + box.get_height()
        assert to_hex(box.get_edgecolor()) == text.get_color()
    assert ax.yaxis_inverted()


def test_plot_passport_marks_what_the_verdict_says():
    groups = {"numbers": [1, None], "code": [nn.ReLU, nn.ReLU()]}
    ax = figures.plot_passport(groups, lambda thing: "passes" if thing == 1 else "refused")
    code = ["✗ class ReLU", "→ its name, a text", "✗ ReLU", "→ .state_dict()"]
    assert words(ax) == ["✓ int", "✗ None", "→ str(…)", *code]
    assert [to_hex(tile.get_edgecolor()) for tile in ax.patches] == [GREEN, RED, RED, RED]
    assert [tile.get_xy() for tile in ax.patches] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    names = [text for text in ax.texts if text.get_text()[0] in "✓✗"]
    for text, tile in zip(names, ax.patches, strict=True):
        (x, y), (left, top) = text.get_position(), tile.get_xy()
        assert left < x < left + tile.get_width() and top < y < top + tile.get_height()
        assert text.get_color() == to_hex(tile.get_edgecolor())
    assert ticks(ax.yaxis) == ["numbers", "code"] and ax.yaxis_inverted()


def test_plot_passport_says_what_kind_of_class_a_learner_wrote_and_what_to_save_instead():
    @dataclass
    class Config:
        lr: float

    things = [Config(0.1), Enum("Phase", ["TRAIN"]).TRAIN, namedtuple("Score", ["right"])(8)]
    ax = figures.plot_passport({"yours": things}, lambda thing: "refused")
    said = ["✗ Config (dataclass)", "→ asdict(…)", "✗ Phase (Enum)", "→ .name"]
    assert words(ax) == [*said, "✗ Score (named tuple)", "→ ._asdict()"]


def test_plot_passport_says_whose_state_dict_it_is():
    model = nn.Linear(1, 1)
    states = [model.state_dict(), torch.optim.SGD(model.parameters()).state_dict()]
    ax = figures.plot_passport({"state_dicts": states}, lambda thing: "passes")
    assert words(ax) == ["✓ model's", "✓ optimizer's"]


def test_plot_trust_leads_right_with_yes_down_with_no_and_ends_in_red():
    ax = figures.plot_trust()
    wanted = [("Is the list of refused names empty?", BLUE), ("load it, compare shapes", GREEN)]
    wanted += [("Did you write the file, and do you know every name?", BLUE)]
    wanted += [("load it once, convert, save (section 4)", YELLOW)]
    wanted += [("Do you know the sender, and does every name stand for plain data?", BLUE)]
    wanted += [("ask for plain values, or for safetensors", YELLOW), ("leave it alone", RED)]
    inside = [text for text in ax.texts if text.get_text() and text.get_fontsize() == 14]
    found = []
    for text, box in zip(inside, ax.patches, strict=True):
        (x, y), (left, bottom) = text.get_position(), box.get_xy()
        assert left < x < left + box.get_width() and bottom < y < bottom + box.get_height()
        found.append((" ".join(text.get_text().split()), to_hex(box.get_edgecolor())))
    assert found == wanted
    signs = [(text.get_text(), text.get_position()) for text in ax.texts]
    assert [round(y) for sign, (_, y) in signs if sign == "yes"] == [0, -1, -2]
    assert [y for sign, (_, y) in signs if sign == "no"] == [-0.5, -1.5, -2.5]
    across = [start for start, end in arrows(ax) if start[1] == end[1] and start[0] < end[0]]
    down = [start for start, end in arrows(ax) if start[0] == end[0] and start[1] > end[1]]
    assert [y for _, y in across] == [0, -1, -2] and [y for _, y in down] == [-0.32, -1.32, -2.32]
    assert len(arrows(ax)) == 6


# ---------------------------------------------------------------- 10


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_file({"weight": torch.ones(2, 3), "bias": torch.ones(2)}, path)
    return path


def spans(collection):
    """(start, end) of each bar of a broken_barh."""
    boxes = (path.get_extents() for path in collection.get_paths())
    return [(box.x0, box.x1) for box in boxes]


def strokes(ax):
    """{colour: [(byte, foot, top), ...]} of the strokes, without the bars."""
    found = {}
    for lines in ax.collections:
        if isinstance(lines, LineCollection):
            for (x, foot), (_, top) in lines.get_segments():
                found.setdefault(to_hex(lines.get_color()[0]), []).append((x, foot, top))
    return found


def test_plot_damage_draws_each_flip_at_its_byte_in_the_look_of_its_outcome(tiny, tmp_path):
    torch.save({"weight": torch.ones(2, 3)}, tmp_path / "tiny.pth")
    first = [(5, "wrong"), (9, "right"), (20, "wrong"), (31, "error")]
    rows = {"one": first, "other": [(7, "error")] * 4}
    ax = figures.plot_damage({tmp_path / "tiny.pth": rows, tiny: {"third": first}})
    found = strokes(ax)
    assert sorted(x for x, _, _ in found[RED]) == [5, 5, 20, 20]
    assert sorted(x for x, _, _ in found[GREY]) == [9, 9]
    assert sorted(x for x, _, _ in found[GREEN]) == [7, 7, 7, 7, 31, 31]
    tall, middle, short = (
        {round(top - foot, 2) for _, foot, top in found[key]} for key in (RED, GREEN, GREY)
    )
    assert tall == {0.9} and middle == {0.55} and short == {0.3}
    rows_of = {text: y for y, text in zip(ax.get_yticks(), ticks(ax.yaxis))}
    assert sorted(rows_of, key=rows_of.get, reverse=True) == [
        "tiny.pth",
        "one",
        "other",
        "tiny.safetensors",
        "third",
    ]
    feet = {x: foot for x, foot, _ in found[GREEN]}
    assert feet[7] == pytest.approx(rows_of["other"] - 0.4)
    shares = {text.get_position()[1]: text.get_text() for text in ax.texts}
    none = "0 % of those in the blue"
    assert shares[rows_of["one"]] == f"wrong: 50 % of all flips,\n{none}"
    assert shares[rows_of["third"]] == f"wrong: 50 % of all flips,\n{none}"
    assert shares[rows_of["other"]] == f"wrong: 0 % of all flips,\n{none}"
    assert ax.get_title().startswith("4 single flips in each row")


def test_plot_damage_says_which_share_of_the_flips_in_the_numbers_went_wrong(tiny):
    begin = 8 + int.from_bytes(tiny.read_bytes()[:8], "little")
    found = [(begin - 1, "wrong"), (begin, "wrong"), (begin + 31, "error"), (3, "error")]
    ax = figures.plot_damage({tiny: {"check": [*found, (4, "right")]}})
    assert words(ax) == ["wrong: 40 % of all flips,\n50 % of those in the blue"]


def test_the_flips_of_lesson_10_are_found_by_testzip_alone(tmp_path):
    flips = importlib.import_module("10_flips").try_flips(Network(8, 3, [21]), tmp_path, 60)
    pth, safetensors = flips
    assert (pth.name, safetensors.name) == ("small.pth", "small.safetensors")
    rows = {check: found for checks in flips.values() for check, found in checks.items()}
    wrong = {
        check: [byte for byte, got in found if got == "wrong"] for check, found in rows.items()
    }
    assert list(rows) == ["torch.load", "testzip first", "load_file"]
    assert all(len(found) == 60 for found in rows.values())
    assert wrong["torch.load"] and wrong["load_file"] and len(wrong["testzip first"]) <= 1
    begin = safetensors.stat().st_size - 255 * 4
    assert all(got == "wrong" for byte, got in rows["load_file"] if byte >= begin)
    bytes_of = [[byte for byte, _ in rows[check]] for check in ("torch.load", "testzip first")]
    assert bytes_of[0] == bytes_of[1]  # the same flips in both rows


def test_plot_damage_colours_the_parts_of_both_files(tiny, tmp_path):
    path, weight = tmp_path / "tiny.pth", torch.rand(2, 3)
    torch.save({"weight": weight}, path)
    ax = figures.plot_damage({file: {"check": [(1, "error")]} for file in (path, tiny)})
    bars = [bar for bar in ax.collections if not isinstance(bar, LineCollection)]
    whole, about, numbers, _, header, tail = bars
    assert spans(whole) == [(0, path.stat().st_size)] and face_of(whole) == "#ffffff"
    ((start, end),) = spans(numbers)
    assert path.read_bytes()[int(start) : int(end)] == weight.numpy().tobytes()
    ((start, end),) = spans(about)
    assert path.read_bytes()[int(start) : int(end)].startswith(b"\x80\x02")
    begin = 8 + int.from_bytes(tiny.read_bytes()[:8], "little")
    assert spans(header) == [(0, begin)] and spans(tail) == [(begin, tiny.stat().st_size)]
    assert {face_of(about), face_of(header)} == {YELLOW}
    assert {face_of(numbers), face_of(tail)} == {BLUE}
    (said,) = ax.figure.legends
    assert [text.get_text() for text in said.get_texts()] == [
        "names and shapes",
        "numbers",
        "rest of the zip file",
        "wrong weights, no error",
        "an error",
        "right weights",
    ]


def face_of(collection):
    return to_hex(collection.get_facecolor()[0])


def test_plot_tensors_in_writes_bytes_below_and_offsets_above_the_border_they_belong_to(tiny):
    ax = figures.plot_tensors_in(tiny)
    assert [face(box) for box in ax.patches] == [GREY, YELLOW, BLUE, BLUE]
    assert [box.get_x() for box in ax.patches] == [0, 1, 2, 3]
    inside = {}
    for text in ax.texts:
        (x, y), said = text.get_position(), text.get_text()
        if 0 < y < 1:
            inside.setdefault(x, []).append(said)
    assert inside == {
        0.5: ["length", "8 bytes", "120"],
        1.5: ["header", "120 bytes", "{… JSON …}"],
        2.5: ["bias", "8 bytes", "1, 1"],
        3.5: ["weight", "24 bytes", "1, 1, 1, 1, 1, 1"],
    }
    numbers = [(text.get_position(), text.get_text()) for text in ax.texts]
    below = {x: said for (x, y), said in numbers if y < 0 and said.isdigit()}
    above = {x: said for (x, y), said in numbers if y > 1 and said.isdigit()}
    assert below == {0: "0", 1: "8", 2: "128", 3: "136", 4: "160"}
    assert above == {2: "0", 3: "8", 4: "32"}
    assert height(ax, "byte of the file:") < 0 and height(ax, "data_offsets:") > 1
    assert ax.get_title().startswith("tiny.safetensors, not to scale")


def test_plot_signature_shows_the_private_key_at_the_author_alone():
    ax = figures.plot_signature()
    author, sent, you = ax.patches[:3]
    assert author.get_x() < sent.get_x() < you.get_x()

    def inside(box):
        start, end = box.get_x(), box.get_x() + box.get_width()
        foot, top = box.get_y(), box.get_y() + box.get_height()
        placed = [(text.get_position(), text.get_text()) for text in ax.texts if text.get_text()]
        return [said for (x, y), said in placed if start < x < end and foot < y < top]

    keys = ["public key", "private key"]
    assert inside(author) == [*keys, "signature", "files\nmanifest.json", "signs"]
    assert inside(sent) == ["signature", "files\nmanifest.json"]
    checks = ["does the signature\nfit manifest.json?", "does manifest.json\nfit the files?"]
    assert inside(you) == ["public key", *checks]
    assert [to_hex(box.get_edgecolor()) for box in (author, sent, you)] == [BLUE, RED, BLUE]
    assert [box.get_linestyle() for box in (author, sent, you)] == ["-", "--", "-"]
    assert find(ax, "an attacker can change this").get_color() == RED


def test_plot_signature_leads_the_public_key_past_the_attacker():
    ax = figures.plot_signature()
    author, sent, you = ax.patches[:3]
    (start, end), *_ = arrows(ax)
    levels = {text.get_position()[1] for text in ax.texts if text.get_text() == "public key"}
    assert {start[1], end[1]} == levels and min(levels) > sent.get_y() + sent.get_height()
    assert start[0] < author.get_x() + author.get_width() and end[0] > you.get_x()
    note = find(ax, "the attacker can't change this")
    assert note.get_color() == GREEN and note.get_position()[1] > min(levels)
    lines = [text.arrow_patch for text in ax.texts if not text.get_text()]
    assert [to_hex(line.get_edgecolor()) for line in lines[:4]] == [GREEN, RED, RED, RED]


def test_plot_signature_leads_the_files_and_the_signature_through_the_attackers_box_to_the_check():
    ax = figures.plot_signature()
    author, sent, you = ax.patches[:3]
    _, files, signature, received, *_ = arrows(ax)
    for (start, end), name in ((files, "files\nmanifest.json"), (signature, "signature")):
        left, right = [t.get_position() for t in ax.texts if t.get_text() == name]
        assert left[1] == start[1] == end[1] == right[1]
        assert left[0] < start[0] < author.get_width() < end[0] < sent.get_x() < right[0]
    start, end = received
    check = find(ax, "does the signature\nfit manifest.json?").get_position()
    assert sent.get_x() + sent.get_width() < start[0] < you.get_x() < end[0] < check[0]
    assert start[1] == end[1] == check[1]


def test_plot_signature_makes_the_signature_of_the_private_key_and_the_manifest():
    ax = figures.plot_signature()
    key, manifest, *checks = arrows(ax)[4:]
    private = find(ax, "private key").get_position()
    made = next(text for text in ax.texts if text.get_text() == "signature").get_position()
    assert key[0][0] == private[0] < key[1][0] < made[0] and key[1][1] == made[1] < key[0][1]
    assert manifest[0][0] == manifest[1][0] == made[0]
    assert manifest[0][1] > manifest[1][1] > made[1]
    assert len(checks) == 2 and all(
        start[0] == end[0] and start[1] > end[1] for start, end in checks
    )


# ---------------------------------------------------------------- 11


def loading(*moments, read=None, changed=None):
    """A result of the program: a curve of (seconds, own, pages), loaded at its end, read and changed a second later."""
    curve = [dict(zip(("seconds", "own", "pages"), moment)) for moment in moments]
    later = {"read": curve[-1] | {"seconds": moments[-1][0] + 1} | (read or {})}
    later["changed"] = later["read"] | {"seconds": later["read"]["seconds"] + 1} | (changed or {})
    return {"loaded": curve[-1], **later, "curve": curve, "wait": 0.5}


USUAL = loading((1, 100, 0), (2, 200, 0), (3, 100, 0))
MAPPED = loading((1, 0, 0), read={"own": 10, "pages": 90}, changed={"own": 100, "pages": 4})


def test_plot_loading_draws_each_way_in_copies_of_the_weights():
    usual, mapped = axes = figures.plot_loading({"usual": USUAL, "mapped": MAPPED}, 100)
    assert [ax.get_title() for ax in axes] == ["usual", "mapped"]
    assert usual.get_ylabel() == "memory, in copies\nof the weights"
    last = 5.25  # one time for both: the longest and a margin
    for ax in axes:
        assert ax.get_xlabel() == "seconds" and ax.get_xlim() == pytest.approx((-0.05 * last, last))
    curve, *stages = (line.get_xydata().tolist() for line in usual.lines)
    assert curve == [[0, 0], [1, 1], [2, 2], [3, 1], [3, 1], [4, 1], [5, 1], [last, 1]]
    assert stages == [[[3, 1]], [[4, 1]], [[5, 1]]]
    places = [line.get_xydata().tolist() for line in mapped.lines[1:]]
    assert places == [[[1, 0]], [[2, 1]], [[3, 1]]]
    assert [line.get_marker() for line in mapped.lines[1:]] == ["o", "D", "s"]
    (shared,) = usual.figure.legends
    labels = {"own memory", "pages of the file", "loaded", "read", "changed", "the program waits"}
    assert {text.get_text() for text in shared.get_texts()} == labels


def test_plot_loading_tells_both_kinds_of_memory_apart_and_leaves_out_a_few_pages():
    _, ax = figures.plot_loading({"usual": USUAL, "mapped": MAPPED}, 100)
    own, pages = ax.collections
    assert [face_of(area) for area in (own, pages)] == [BLUE, YELLOW]
    assert (own.get_hatch(), pages.get_hatch()) == (None, "//")
    heights = [{y for _, y in area.get_paths()[0].vertices.tolist()} for area in (own, pages)]
    assert heights == [{0, 0.1, 1}, {0, 0.1, 1}]  # the pages stand on its own memory, 1 at most


def test_plot_loading_shades_the_waits_after_the_first_two_stages():
    usual, mapped = figures.plot_loading({"usual": USUAL, "mapped": MAPPED}, 100)
    for ax, starts in ((usual, [3, 4]), (mapped, [1, 2])):
        strips = [(strip.get_x(), strip.get_width()) for strip in ax.patches]
        assert strips == [(start, 0.5) for start in starts]


def test_plot_loading_names_what_changes_the_memory_of_two_copies():
    usual, mapped = figures.plot_loading({"usual": USUAL, "mapped": MAPPED}, 100)
    assert words(usual) == ["build()", "torch.load", "load_state_dict", "state_dict\nis freed"]
    assert words(mapped) == ["each page is copied"]
    assert mapped.texts[0].get_position() == (2.5, 1.13)  # after the last wait
    build, load, copy, freed = (text.get_position() for text in usual.texts)
    assert build[0] < 1 and load[0] < 2 and (build[1], load[1]) == (0.5, 1.5)
    assert [text.get_ha() for text in usual.texts] == ["right", "right", "center", "left"]
    assert copy[0] == 2 < freed[0] and copy[1] > 2 > freed[1]
    for text in usual.texts:
        box = text.get_window_extent().transformed(usual.transData.inverted())
        assert usual.get_xlim()[0] < box.x0 and box.x1 < usual.get_xlim()[1]


def held(ax):
    """{name: the boxes that its arrows lead to} of a drawing of holders; a box is named by its text."""
    boxes = {
        text.get_position()[1]: text.get_text() for text in ax.texts if text.get_ha() == "center"
    }
    names = {
        text.get_position()[1]: text.get_text() for text in ax.texts if text.get_ha() == "right"
    }
    found = {}
    for (_, start), (_, end) in arrows(ax):
        if start in names:
            found.setdefault(names[start], []).append(boxes[end])
    return found


def test_plot_holders_leads_the_network_to_the_tensors_of_the_state_dict():
    copied, assigned, tied = figures.plot_holders()
    old, new = "the old\nparameter", "the state_dict's\ntensor"
    assert held(copied) == {"optimizer": [old], "network": [old], "state_dict": [new]}
    assert held(assigned) == {"optimizer": [old], "network": [new], "state_dict": [new]}
    first, last = "parameter\n0.weight", "parameter\n1.weight"
    assert held(tied) == {"first layer": [first], "optimizer": [first, last], "last layer": [last]}
    assert "copy" in words(copied) and "copy" not in words(assigned)
    assert "one memory" in words(tied) and "one memory" not in words(assigned)


def test_plot_replaced_moves_the_name_and_leaves_the_mapped_weight():
    before, after = figures.plot_replaced()
    old, new = "old file\n1, 1, 1, …", "new file\n0, 0, 0, …"
    assert held(before) == {"weight, mapped": [old], "served.pth": [old], "new.pth": [new]}
    assert held(after) == {"weight, mapped": [old], "served.pth": [new]}
    assert [ax.get_title() for ax in (before, after)] == ["before os.replace", "after os.replace"]


# ---------------------------------------------------------------- 12


def bars(ax):
    """(left, width, middle) of each bar."""
    return [
        (bar.get_x(), bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in ax.patches
    ]


def test_plot_bits_draws_the_bits_that_finfo_names():
    ax = figures.plot_bits()
    names = ["float32", "float16", "bfloat16"]
    assert ticks(ax.yaxis) == names and legend(ax) == ["sign", "exponent", "digits"]
    for row, name in enumerate(names):
        info = torch.finfo(getattr(torch, name))
        digits = round(-np.log2(info.eps))
        assert sum(middle == pytest.approx(row) for *_, middle in bars(ax)) == info.bits
        assert words(ax)[2 * row : 2 * row + 2] == [str(info.bits - 1 - digits), str(digits)]


def test_plot_ranges_hatches_what_float16_loses_and_counts_it():
    small = torch.tensor([0.0, 2.9e-8, 3.1e-8, 1.0])
    axes = figures.plot_ranges({"weights": [torch.ones(3)], "squares": small.split(2)})
    assert [words(ax) for ax in axes] == [["weights: 0 % become 0"], ["squares: 33 % become 0"]]
    assert axes[0].get_xscale() == "log"
    for ax in axes:
        low, few, high = [patch for patch in ax.patches if patch.get_hatch()]
        assert low.get_x() + low.get_width() == pytest.approx(2**-25) == few.get_x()
        assert few.get_x() + few.get_width() == torch.finfo(torch.float16).smallest_normal
        assert high.get_x() == 65_520
        assert len({patch.get_hatch() for patch in (low, few, high)}) == 3
    assert sum(bar.get_height() for bar in axes[1].patches if not bar.get_hatch()) == 3
    (names,) = axes[0].figure.legends
    labels = [text.get_text() for text in names.get_texts()]
    assert labels == ["becomes 0", "loses digits", "becomes inf"]


def test_plot_resumed_draws_each_run_in_its_own_look_and_names_it():
    runs = {torch.float32: [1, 2, 3], torch.bfloat16: [1, 2, 3.00004], torch.float16: [1, 90, 80]}
    ax = figures.plot_resumed(runs)
    assert [list(line.get_ydata()) for line in ax.lines] == list(runs.values())
    assert all(list(line.get_xdata()) == [1, 2, 3] for line in ax.lines)
    assert [line.get_color() for line in ax.lines] == [BLUE, YELLOW, RED]
    assert words(ax) == ["float32", "bfloat16: at most 0.00004 away from float32", "float16"]
    assert [text.xy for text in ax.texts] == [(2, 2), (2, 2), (2, 90)]
    assert ax.get_yscale() == "log" and len({line.get_linestyle() for line in ax.lines}) > 1


def test_plot_stairs_rounds_as_the_types_do():
    ax = figures.plot_stairs()
    lines = dict(zip(legend(ax), ax.lines))
    assert lines.keys() == {"float32", "float16", "bfloat16"}
    for name, line in lines.items():
        exact = torch.as_tensor(line.get_xdata())
        assert torch.equal(
            torch.as_tensor(line.get_ydata()), exact.to(getattr(torch, name)).float()
        )
    marks = ["0.999", "0.9999", "bfloat16: 1.000", "float16: 0.999", "both: 1.000"]
    assert words(ax) == marks
    both = {torch.tensor(0.9999).to(dtype).item() for dtype in (torch.float16, torch.bfloat16)}
    assert both == {1.0}
    assert "1.000" in ticks(ax.xaxis) and "1.000" in ticks(ax.yaxis)
    assert lines["float32"].get_zorder() == max(line.get_zorder() for line in lines.values())
    heights = set(lines["bfloat16"].get_ydata().tolist())
    assert {0.99609375, 1.0} <= heights and not any(0.99609375 < y < 1 for y in heights)
    assert ax.get_title() == "bfloat16 rounds 0.999 and 0.9999 to 1, float16 only 0.9999"


def brackets(ax):
    """The first and the last place that each bracket of plot_storages spans."""
    return [(line.get_xdata()[0], round(line.get_xdata()[-1], 6)) for line in ax.lines]


def test_plot_storages_marks_the_part_of_a_slice_and_draws_to_scale():
    table = torch.rand(100, 250)
    part = table[20:30]
    ax = figures.plot_storages({"slice": part, "clone": part.clone()}, "Two storages")
    whole, blue, _, clone = ax.patches
    assert whole.get_hatch() and not blue.get_hatch() and not clone.get_hatch()
    assert to_hex(blue.get_facecolor()) == to_hex(clone.get_facecolor()) == to_hex(BLUE)
    found = [value for left, width, _ in bars(ax) for value in (left, width)]
    assert found == pytest.approx([0, 1, 0.2, 0.1, 0, 0.1, 0, 0.1])
    assert words(ax) == ["slice", "100 kB", "clone", "10 kB"]
    assert legend(ax) == ["numbers of slice and clone", "the rest of the storage"]
    assert ax.get_title() == "Two storages"


def test_plot_storages_brackets_a_table_and_its_slice_on_one_bar():
    table = torch.rand(100, 250)
    ax = figures.plot_storages({"table": table, "slice": table[:10]}, "")
    whole, blue = ax.patches
    assert whole.get_hatch() and whole.get_width() == 1
    assert not blue.get_hatch() and blue.get_width() == pytest.approx(0.1)
    assert brackets(ax) == [(0, 1), (0, 0.1)]
    assert words(ax) == ["table", "slice", "100 kB"]
    assert legend(ax) == ["numbers of slice", "the rest of the storage"]


def test_plot_storages_brackets_tied_tensors_on_one_bar():
    tied = torch.rand(1000)
    ax = figures.plot_storages({"one": tied, "two": tied, "alone": torch.rand(500)}, "")
    assert len({middle for *_, middle in bars(ax)}) == 2
    assert brackets(ax) == [(0, 1), (0, 1), (0, 0.5)]
    above, below, alone = [line.get_ydata()[1] for line in ax.lines]
    assert above < below < alone  # the axis points down
    assert words(ax) == ["one", "two", "4 kB", "alone", "2 kB"]
    assert ax.get_legend() is None


def test_plot_low_rank_counts_the_numbers_of_the_layers():
    ax = figures.plot_low_rank(100, 4, 50)
    linear, down, up = [patch.get_xy() for patch in ax.patches]
    for shape, before, after in ((linear, 100, 50), (down, 100, 4), (up, 4, 50)):
        left, right = shape[:, 0].min(), shape[:, 0].max()
        for side, count in ((left, before), (right, after)):
            heights = [y for x, y in shape if x == side]
            assert max(heights) - min(heights) == pytest.approx(count)
    assert down[:, 0].max() == pytest.approx(up[:, 0].min())
    assert linear[:, 1].min() > down[:, 1].max()  # one path above the other
    assert find(ax, "5,050 weights and biases, frozen") and find(ax, "+")
    assert find(ax, "600 weights, trained")  # 100 × 4 + 4 × 50
    assert [words(ax).count(count) for count in ("100", "4", "50")] == [1, 1, 1]
    assert [start for start, _ in arrows(ax)].count((0.1, 0)) == 2  # one input, two paths
    assert find(ax, "linear").get_color() == BLUE and find(ax, "up").get_color() == GREEN


def test_plot_storages_draws_one_bar_for_two_slices_of_a_table():
    table = torch.rand(100, 250)
    ax = figures.plot_storages({"top": table[:10], "bottom": table[50:]}, "")
    assert brackets(ax) == [(0, 0.1), (0.5, 1)]
    blue = [patch for patch in ax.patches if not patch.get_hatch()]
    assert [(bar.get_x(), round(bar.get_width(), 6)) for bar in blue] == [(0, 0.1), (0.5, 0.5)]


# ---------------------------------------------------------------- 13


def exported_network(layers, example=2):
    network = Network(6, 3, layers, drop_p=0.25).eval()
    return torch.export.export(network, (torch.zeros(example, 6),))


def boxes(ax):
    """The rectangles of a panel, from top to bottom."""
    return sorted(
        (p for p in ax.patches if isinstance(p, plt.Rectangle)), key=lambda box: box.get_y()
    )


def inside(ax, box):
    """The texts within a box, without those beside it."""
    (left, top), wide, high = box.get_xy(), box.get_width(), box.get_height()
    spots = [(text.get_text(), *text.get_position()) for text in ax.texts]
    return [word for word, x, y in spots if left < x < left + wide and top < y < top + high]


def test_plot_steps_lists_the_steps_in_order_with_their_weights_and_python_values():
    ax = figures.plot_steps(exported_network([5, 4]))
    (steps,) = zip(*(inside(ax, box) for box in boxes(ax)))
    layer = ["relu", "dropout  p=0.25, train=False"]
    hidden = ["linear  hidden_layers.0", *layer, "linear  hidden_layers.1", *layer]
    assert list(steps) == [*hidden, "linear  output", "log_softmax  dim=1"]
    assert [round(start[1]) for start, _ in arrows(ax)] == list(range(7))
    assert all(start[1] < end[1] for start, end in arrows(ax))


def test_plot_steps_joins_each_line_of_forward_with_its_groups_of_steps():
    ax = figures.plot_steps(exported_network([5, 4]))
    loop = "    x = self.dropout(F.relu(layer(x)))"
    last = "return F.log_softmax(self.output(x), dim=1)"
    assert (find(ax, loop).get_color(), find(ax, last).get_color()) == (BLUE, GREEN)
    brackets = [line for line in ax.lines if len(line.get_xdata()) == 4]
    spans = [(round(min(line.get_ydata())), round(max(line.get_ydata()))) for line in brackets]
    assert spans == [(0, 2), (3, 5), (6, 7)]
    joined = {loop: [], last: []}
    for line in (line for line in ax.lines if len(line.get_xdata()) == 2):
        start, end = line.get_ydata()
        (source,) = (word for word in joined if height(ax, word) == pytest.approx(start))
        assert line.get_color() == find(ax, source).get_color()
        joined[source].append(end)
    assert joined == {loop: [1, 4], last: [6.5]}
    assert [to_hex(box.get_edgecolor()) for box in boxes(ax)] == [*[BLUE] * 6, *[GREEN] * 2]
    assert [height(ax, f"hidden layer {number}") for number in (0, 1)] == [1, 4]


def test_plot_steps_shows_that_the_loop_gives_no_step():
    ax = figures.plot_steps(exported_network([5, 4]))
    head = "for layer in self.hidden_layers:"
    assert find(ax, head).get_color() == find(ax, "(no step)").get_color() == GREY
    assert height(ax, head) == height(ax, "(no step)")
    assert height(ax, head) < height(ax, "    x = self.dropout(F.relu(layer(x)))")


def test_plot_steps_shows_the_mode_of_the_export():
    network = Network(6, 3, [5], drop_p=0.25).train()
    ax = figures.plot_steps(torch.export.export(network, (torch.zeros(2, 6),)))
    assert "dropout  p=0.25, train=True" in words(ax)


def test_plot_rules_has_a_column_for_each_kind_and_its_fix_in_the_last_row():
    ax = figures.plot_rules()
    assert ticks(ax.xaxis) == ["sizes", "Python values", "numbers in tensors"]
    rows = ["at the export", "what export does", "what you see", "the fix"]
    assert ticks(ax.yaxis) == rows
    table = {(int(box.get_x()), int(box.get_y())): box for box in boxes(ax)}
    assert len(table) == 12
    assert [inside(ax, table[x, 0]) for x in range(3)] == [["known ✓"], ["known ✓"], ["unknown ✗"]]
    found = [inside(ax, table[x, 3])[0] for x in range(3)]
    assert all(fix in text for fix, text in zip(["Dim", "eval()", "torch.where"], found))
    edges = [to_hex(table[x, y].get_edgecolor()) for x, y in ((0, 0), (2, 0), (0, 3))]
    assert edges == [color.lower() for color in (GREEN, RED, BLUE)]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row is at the top


def test_plot_bringers_marks_what_is_in_the_file_and_names_what_is_not():
    ax = figures.plot_bringers()
    held = "in the file ✓"
    assert ticks(ax.yaxis) == ["state_dict", "whole model", "exported program", "ONNX"]
    assert ticks(ax.xaxis) == ["the weights", "the steps", "what runs the steps"]
    table = {(int(box.get_x()), int(box.get_y())): box for box in boxes(ax)}
    assert len(table) == 12
    rows = [[inside(ax, table[x, y])[0] for x in range(3)] for y in range(4)]
    assert rows == [
        [held, "bring your class", "bring PyTorch"],
        [held, "bring your class,\nunder the same name", "bring PyTorch"],
        [held, held, "bring PyTorch"],
        [held, held, "bring a runtime"],
    ]
    for (x, y), box in table.items():
        solid = rows[y][x] == held
        assert box.get_linestyle() == ("-" if solid else "--")
        assert to_hex(box.get_edgecolor()) == (GREEN if solid else GREY).lower()
    assert ax.get_title() == "What the file holds, and what you must bring"
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row is at the top


# ---------------------------------------------------------------- 14


def stretches(ax):
    """(row, start, end, color, hatch) of each bar in a figure of lying bars, from left to right."""
    found = []
    for bar in ax.patches:
        row, start = round(bar.get_y() + bar.get_height() / 2), bar.get_x()
        found.append((row, start, start + bar.get_width(), face(bar), bar.get_hatch()))
    return sorted(found)


def test_plot_gathering_counts_the_four_numbers_of_a_weight_and_shares_them():
    ax = figures.plot_gathering(weights=3_000_000_000, ranks=4, card=40)
    whole = [(0, 12, BLUE, None), (12, 24, YELLOW, None), (24, 48, GREEN, None)]
    part = [(start / 4, end / 4, color, hatch) for start, end, color, hatch in whole]
    collected = [(12, 24, BLUE, "//"), (24, 48, GREEN, "//")]  # no gradients
    rows = [whole, part, part + collected]
    expected = [(row, *bar) for row, bars_of_row in enumerate(rows) for bar in bars_of_row]
    for bar, (row, start, end, color, hatch) in zip(stretches(ax), expected, strict=True):
        assert bar[:3] == pytest.approx((row, start, end))
        assert bar[3:] == (color.lower(), hatch or "")


def test_plot_gathering_writes_each_sum_at_the_end_of_its_bar_and_marks_the_card():
    ax = figures.plot_gathering(weights=3_000_000_000, ranks=4, card=40)
    for row, total in enumerate((48, 12, 48)):
        x, y = next(
            t.get_position()
            for t in ax.texts
            if t.get_text() == f"{total} GB" and t.get_position()[1] == row
        )
        assert total < x < total + 2 and y == row
    (line,) = ax.lines
    assert list(line.get_xdata()) == [40, 40]
    assert find(ax, "40 GB card").get_position()[0] == 40
    assert [t.get_text() for t in ax.texts if t.get_position()[1] == 0] == [
        "12 GB",
        "12 GB",
        "24 GB",
        "48 GB",
    ]
    assert [name.partition(",")[0] for name in ticks(ax.yaxis)] == [
        "one process",
        "each of 4 ranks",
        "rank 0 of 4",
    ]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row is at the top


def test_plot_owners_colours_by_file_and_frames_the_rows_of_each_rank():
    columns = {"saved by 2 ranks": [3, 2], "loaded by 3 ranks": [2, 2, 1]}
    ax = figures.plot_owners(columns)
    assert ticks(ax.xaxis) == list(columns) and ticks(ax.yaxis) == list("01234")
    filled = [box for box in ax.patches if box.get_fill()]
    found = [(int(box.get_x()), box.get_y(), box.get_height(), face(box)) for box in filled]
    assert found == [(0, 0, 3, BLUE), (0, 3, 2, RED), (1, 0, 3, BLUE), (1, 3, 2, RED)]
    frames = [box for box in ax.patches if not box.get_fill()]
    found = [(int(box.get_x()), box.get_y(), box.get_height()) for box in frames]
    assert found == [(0, 0, 3), (0, 3, 2), (1, 0, 2), (1, 2, 2), (1, 4, 1)]
    assert [inside(ax, box) for box in frames] == [
        ["rank 0: rows 0 to 2"],
        ["rank 1: rows 3 to 4"],
        ["rank 0: rows 0 to 1"],
        ["rank 1: rows 2 to 3"],
        ["rank 2: row 4"],
    ]
    names = "in the file\n__0_0.distcp", "in the file\n__1_0.distcp"
    assert [find(ax, name).get_color() for name in names] == [BLUE, RED]
    assert height(ax, names[0]) < 3 < height(ax, names[1])
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # row 0 is at the top


def test_plot_differences_draws_each_run_minus_the_one_without_a_stop_in_millionths():
    losses = [1.0, 0.5]
    resumed = {"2 ranks": [1.0, 0.5], "3 ranks": [1.000001, 0.5], "4 ranks": [1.0, 0.499998]}
    ax = figures.plot_differences(losses, resumed, first=21)
    assert legend(ax) == list(resumed)
    for line, expected in zip(ax.lines, ([0, 0], [1, 0], [0, -2]), strict=True):
        assert list(line.get_xdata()) == [21, 22]
        assert list(line.get_ydata()) == pytest.approx(expected, abs=1e-6)
    assert len({line.get_marker() for line in ax.lines}) == 3
    assert "millionths" in ax.get_ylabel()


# ---------------------------------------------------------------- 15


def box_of(ax, word):
    """The one rectangle that holds a text."""
    x, y = find(ax, word).get_position()
    (box,) = (p for p in ax.patches if p.get_bbox().contains(x, y))
    return box


def test_plot_save_lets_nobody_pass_a_dashed_line_before_all_have_reached_it():
    ax = figures.plot_save()
    written, named = sorted(line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2)
    before = [box_of(ax, f"writes __{rank}_0.distcp") for rank in (0, 1)]
    assert all(box.get_bbox().x1 < written for box in before)
    for word in ("writes .metadata", "renames the folder", "waits for rank 0"):
        box = box_of(ax, word).get_bbox()
        assert written < box.x0 and box.x1 < named
    assert box_of(ax, "writes .metadata").get_bbox().x1 < box_of(ax, "renames the folder").get_x()
    assert sum(box.get_x() > named for box in ax.patches) == words(ax).count("trains on") == 2
    assert ticks(ax.yaxis) == ["rank 0", "rank 1"] and ax.get_ylim()[0] > ax.get_ylim()[1]


def test_plot_save_marks_the_death_of_rank_1_at_the_start_of_its_file():
    ax = figures.plot_save()
    (cross,) = (line for line in ax.lines if line.get_marker() == "X")
    box = box_of(ax, "writes __1_0.distcp")
    assert cross.get_ydata()[0] == 1 and cross.get_color() == RED
    assert box.get_x() < cross.get_xdata()[0] < box.get_x() + box.get_width() / 4


def test_plot_ages_colours_each_row_by_the_age_that_has_it():
    old = {"a": torch.zeros(4, 2), "b": torch.zeros(4)}
    new = {"a": torch.ones(4, 2), "b": torch.ones(4)}
    mixed = {"a": torch.tensor([[1.0, 1], [0, 0], [0, 0], [1, 1]]), "b": torch.zeros(4)}
    ax = figures.plot_ages(mixed, {"step 1": old, "step 2": new})
    drawn = [
        (int(p.get_x()), p.get_y(), p.get_height(), to_hex(p.get_facecolor()), p.get_hatch())
        for p in ax.patches
    ]
    blue, yellow = (BLUE.lower(), ""), (YELLOW.lower(), "//")
    spots = [(0, 0, 0.25, *yellow), (0, 0.25, 0.5, *blue), (0, 0.75, 0.25, *yellow)]
    assert drawn == [*spots, (1, 0, 1, *blue)]
    assert legend(ax) == ["step 1", "step 2"] and ticks(ax.xaxis) == ["a\n4 rows", "b\n4 rows"]
    assert ax.get_ylim() == (1, 0) and ticks(ax.yaxis) == ["first row", "last row"]


def test_plot_renames_moves_a_step_from_its_old_name_to_its_new_one():
    moments = {
        "before": ["unfinished", "step-000020", "step-000030"],
        "first": ["step-000020", "unfinished", "replaced"],
        "second": ["step-000030", "replaced", "step-000020"],
    }
    ax = figures.plot_renames(moments)
    rows, held = ticks(ax.yaxis), [{}, {}, {}]
    for text in ax.texts:
        if "step 20" in text.get_text() or "step 30" in text.get_text():
            x, y = text.get_position()
            held[int(x)][rows[y]] = text.get_text()
    before = {"step-000020": "step 20", "step-000030": "old step 30", "unfinished": "new step 30"}
    assert held[0] == before
    assert held[1].pop("step-000030").endswith("step 20 is loaded")
    first = [("replaced", "old step 30"), ("step-000020", "step 20"), ("unfinished", "new step 30")]
    second = [*first[:2], ("step-000030", "new step 30")]
    assert sorted(held[1].items()) == first and sorted(held[2].items()) == second
    assert ticks(ax.xaxis) == list(moments) and ax.get_ylim()[0] > ax.get_ylim()[1]
    assert len(ax.patches) == 9


def test_plot_waits_draws_each_wait_as_long_as_it_is():
    ax = figures.plot_waits(300, 20)
    red = [p for p in ax.patches if to_hex(p.get_facecolor()) == RED.lower()]
    assert [(p.get_x(), p.get_width()) for p in red] == [(0, 300), (0, 20)]
    assert [p.get_y() + p.get_height() / 2 for p in red] == pytest.approx([0, 1])
    assert ticks(ax.yaxis) == ["dcp.save", "dcp.async_save"]
    assert ax.get_title() == "The training waits 20 seconds instead of 300"
    assert "computed" in ax.get_xlabel()


def test_plot_waits_lets_the_thread_write_as_long_as_the_save():
    for save, staged in ((300, 20), (200, 150)):
        ax = figures.plot_waits(save, staged)
        (thread,) = (p for p in ax.patches if to_hex(p.get_facecolor()) == "#ffffff")
        assert (thread.get_x(), thread.get_width()) == (staged, save)
        assert thread.get_y() > 1.3 and ax.get_xlim()[1] > staged + save
        assert box_of(ax, "a thread writes the file") is thread
    assert ax.get_title() == "The training waits 150 seconds instead of 200"


def test_plot_broadcast_gives_each_rank_its_own_rows():
    ax = figures.plot_broadcast()
    assert ticks(ax.xaxis) == ["build on meta", "cut, to_empty", "read the file", "fill"]
    blue, yellow = (BLUE.lower(), None), (YELLOW.lower(), "//")
    drawn = {
        (round(p.get_x()), round(p.get_y() / 0.5) if p.get_x() == 4 else round(p.get_y() / 1.8)): (
            to_hex(p.get_facecolor()),
            p.get_hatch(),
        )
        for p in ax.patches
        if p.get_x() >= 4 and p.get_height() == 0.5
    }
    assert drawn == {(4, 0): blue, (4, 1): yellow, (6, 0): blue, (6, 1): yellow}
    assert words(ax).count("no numbers") == words(ax).count("empty") == 2
    assert words(ax).count("reads nothing") == 1 and height(ax, "reads nothing") > 1.3


# ---------------------------------------------------------------- 16


def calls_of(action):
    """The calls in the traceback of the error that an action raises, and the error."""
    try:
        action()
    except RuntimeError as error:
        return traceback.extract_tb(error.__traceback__), error
    raise AssertionError("no error was raised")


def test_plot_traceback_draws_a_row_for_each_call_and_names_your_lowest():
    model = nn.Sequential(nn.Linear(4, 2))
    calls, error = calls_of(lambda: model(torch.ones(1, 4, dtype=torch.float64)))
    ax = figures.plot_traceback(calls, error)
    own = [row for row, call in enumerate(calls) if figures.is_own(call)]
    assert 0 < len(own) < len(calls) and own == list(range(len(own)))
    colors = [to_hex(patch.get_facecolor()) for patch in ax.patches]
    assert colors == [BLUE.lower()] * len(own) + [GREY.lower()] * (len(calls) - len(own)) + [
        "#fbe6e7"
    ]
    assert height(ax, "3  your lowest line") == own[-1] + 0.5
    assert height(ax, "1  what went wrong") == height(ax, f"RuntimeError: {error}")
    assert height(ax, "2  the library: skip") == (own[-1] + 1 + len(calls)) / 2
    assert words(ax).count("your code") == len(own) and "linear.py" in words(ax)


def test_plot_traceback_draws_the_rows_of_a_helper_in_grey():
    model = nn.Sequential(nn.Linear(4, 2))
    calls, error = calls_of(lambda: model(torch.ones(1, 4, dtype=torch.float64)))
    ax = figures.plot_traceback(calls, error, helpers=1)
    first, second = [to_hex(patch.get_facecolor()) for patch in ax.patches][:2]
    assert (first, second) == (GREY.lower(), BLUE.lower())
    assert words(ax).count("our helper") == 1 and height(ax, "    our helper: ignore") == 0.5
    assert height(ax, "3  your lowest line") == 1.5


def test_plot_traceback_skips_nothing_if_your_own_line_raised_the_error():
    def stop():
        raise RuntimeError("x" * 200)

    calls, error = calls_of(stop)
    ax = figures.plot_traceback(calls, error)
    assert not {"2  the library: skip", "    our helper: ignore"} & set(words(ax))
    assert max(map(len, words(ax))) == 100 and all(map(figures.is_own, calls))


def test_plot_who_notices_is_green_where_a_test_fails_and_counts_the_faults():
    table = {
        "no fault": {"keys match": True, "answers kept": True},
        "a bit flipped": {"keys match": True, "answers kept": False},
        "a key lost": {"keys match": False, "answers kept": False},
    }
    ax = figures.plot_who_notices(table)
    colors = [to_hex(patch.get_facecolor()) for patch in ax.patches]
    assert colors == [GREY.lower()] * 3 + [GREEN.lower()] * 3
    assert words(ax) == ["✓ notices"] * 3 + ["1 of 2", "2 of 2"]
    assert ticks(ax.xaxis) == ["keys match", "answers kept"]
    assert ticks(ax.yaxis) == [*table, "faults noticed"] and ax.get_ylim() == (4, 0)


# ---- 17


def test_plot_cases_draws_each_case_with_its_mark_and_counts_them():
    reasons = {("it fits", "sizes", "another size"): "no error", ("it fits", "sizes", "a part"): ""}
    ax = figures.plot_cases(reasons, "One of two")
    assert words(ax) == ["it fits\n1 of 2", "✗ another size", "✓ a part"]
    assert [to_hex(patch.get_edgecolor()) for patch in ax.patches] == [RED, GREEN]
    assert [to_hex(patch.get_facecolor()) for patch in ax.patches] == [RED, "#e6f4ee"]
    assert ax.get_title() == "One of two"
