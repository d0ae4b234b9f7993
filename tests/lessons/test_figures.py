"""The drawings of single lessons, in their order: what each picture shows. Those of 07 to 09 are in test_helper.py."""

import copy
import sys
from itertools import pairwise

import figures
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
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
