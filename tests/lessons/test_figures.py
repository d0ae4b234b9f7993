"""The drawings of single lessons, in their order: what each picture shows. Those of 07 to 09 are in test_helper.py."""

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
        assert line.get_color() == RED and ax.get_title() == title and ax.get_ylim() == (-0.1, 1.5)
    assert legend(first) == ["data", "prediction"] and first.get_ylabel() == "y"
    assert second.get_legend() is None and second.get_ylabel() == ""
    assert first.get_position().x1 < second.get_position().x0


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
    linear = "torch.nn.modules.linear.Linear"
    keys = ["line.weight     (4, 3)", "line.bias       (4,)"]
    assert inside[0] == ["names of classes:", "__main__.Net", linear, "16 numbers"]
    assert inside[1:3] == [
        ["from curve_net import Net", "torch.load(…)"],
        ["class Net(nn.Module): …"],
    ]
    assert inside[3] == ["names of tensors:", *keys, "16 numbers"]
    assert [to_hex(box.get_edgecolor()) for box in ax.patches] == [BLUE, GREY, GREY, GREEN]
    assert len(arrows(ax)) == 3 and "looks for\n__main__.Net" in words(ax)


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
    assert classes[:4] == ["not in the key", "Sequential", "Linear", "ReLU"]


# ---------------------------------------------------------------- 03


def test_plot_fitting_hatches_the_tensors_whose_shapes_differ():
    networks = {"one": [8, 4, 2, 2], "other": [8, 4, 3, 2]}
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
    assert words(axes[1]) == ["(8,)", "(4, 8)", "(4,)", "(3, 4)", "(3,)", "(2, 3)", "(2,)"]
    assert axes[0].figure.get_suptitle() == "3 of 6 tensors have a different shape"
    names = [label.get_text() for label in axes[1].get_xticklabels(minor=True)]
    assert names == ["input", "hidden_layers.0", "hidden_layers.1", "output"]
    assert legend(axes[0]) == ["same shape", "different shape"]


def test_plot_origins_names_the_source_of_each_tensor():
    one, other = (Network(4, 3, [5]).state_dict() for _ in range(2))
    networks = {"body": Network(4, 2, [5]), "mixed": Network(4, 3, [5])}
    networks["body"].hidden_layers[0].load_state_dict(
        {name: one[f"hidden_layers.0.{name}"] for name in ("weight", "bias")}
    )
    networks["mixed"].load_state_dict({**other, "output.bias": one["output.bias"]})
    axes = figures.plot_origins(networks, {"one": one, "other": other})
    assert [words(ax) for ax in axes] == [
        ["one", "one", "random", "random"],
        ["other", "other", "other", "one"],
    ]
    colors = {"one": BLUE, "other": YELLOW, "random": "#ffffff"}
    for ax, title in zip(axes, networks):
        assert [face(box) for box in ax.patches] == [colors[word] for word in words(ax)]
        assert [text.get_position() for text in ax.texts] == [
            (column + 0.5, row + 0.5) for row in (0, 1) for column in (0, 1)
        ]
        assert ax.get_title() == title and ticks(ax.xaxis) == ["weight", "bias"]
    assert ticks(axes[0].yaxis) == ["hidden_layers.0", "output"] and axes[0].get_ylim() == (2, 0)


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


def test_plot_heads_draws_and_names_a_curve_each_and_the_level_of_guessing():
    curves = {"loaded": [0.25, 0.5, 0.75], "random": [0.5, 0.25, 0.5]}
    ax = figures.plot_heads(curves, chance=0.25)
    *drawn, guessing = ax.lines
    assert [line.get_ydata().tolist() for line in drawn] == list(curves.values())
    assert [line.get_color() for line in drawn] == [BLUE, "black"]
    assert list(guessing.get_ydata()) == [0.25, 0.25]
    ends = {text.get_text(): (text.xy, text.get_color()) for text in ax.texts}
    assert ends == {
        "loaded, 75 %": ((2, 0.75), BLUE),
        "random, 50 %": ((2, 0.5), "black"),
        "guessing": ((2, 0.25), GREY),
    }
    assert ax.get_title() == "The new head is better on the loaded"
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
        "scheduler",
        "optimizer",
        "input_size",
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
    image = torch.rand(1, 1, 28, 28) * 2 - 1
    shares = torch.tensor([0.004, 0.896, 0.1, *[0.0] * 7])

    def network(x):
        assert torch.equal(x, image.view(1, 784))
        return shares.log().view(1, 10)

    left, *panels = figures.plot_turned(
        image, {"sure": network, "opposite": lambda x: network(x).flip(1)}
    )
    np.testing.assert_allclose(left.images[0].get_array(), image[0, 0] / 2 + 0.5, atol=1e-6)
    assert [ax.get_title() for ax in panels] == ["sure", "opposite"]
    for ax, expected in zip(panels, (shares, shares.flip(0))):
        assert [bar.get_width() for bar in ax.patches] == pytest.approx((100 * expected).tolist())
        assert ax.yaxis_inverted() and {face(bar) for bar in ax.patches} == {BLUE}
    assert [text.get_text() for text in panels[0].texts] == ["", "90 %", "10 %", *[""] * 7]
    assert ticks(panels[0].yaxis) == helper.CLASSES["Fashion"] and set(ticks(panels[1].yaxis)) == {
        ""
    }


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
        assert ax.get_xlabel() == "answer of resnet" and ax.get_xlim() == ax.get_ylim()
    assert words(axes[0])[1] == "no difference\nin all 1,000 numbers"
    assert words(axes[1])[1] == "largest difference\nof all 1,000 numbers: 2.5"
    assert [ax.texts[1].get_color() for ax in axes] == [GREEN, RED]
    assert axes[0].get_ylabel() == "answer of second"


def test_plot_memory_draws_shared_memory_once_with_all_its_names():
    tensor = torch.tensor([7.0, 8.0])
    ax = helper.plot_memory({"a": tensor, "b": tensor.numpy(), "c": tensor.numpy().copy()})
    assert words(ax) == ["7.00", "8.00", "a", "b", "7.00", "8.00", "c"]
    boxes = [(box.get_x(), box.get_y(), box.get_linestyle()) for box in ax.patches]
    assert boxes == [(0, -0.3, "-"), (1, -0.3, "-"), (0, 0.7, "--"), (1, 0.7, "--")]
    assert [to_hex(box.get_edgecolor()) for box in ax.patches] == [RED, RED, GREEN, GREEN]
    pointed = {text.get_text(): text.xy[1] for text in ax.texts if text.get_text() in "abc"}
    assert pointed == {"a": 0, "b": 0, "c": 1}


# ---------------------------------------------------------------- 06


def test_label_losses_labels_the_axes_the_last_loss_and_a_level():
    plt.plot([0.9, 0.5])
    ax = figures.label_losses("All points", torch.tensor(0.1), "one answer")
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("All points", "epoch", "loss")
    assert words(ax) == ["one answer: 0.10", "0.50"]
    assert [text.xy[1] for text in ax.texts] == pytest.approx([0.1, 0.5])
    assert list(ax.lines[1].get_ydata()) == pytest.approx([0.1, 0.1])
    assert ax.lines[1].get_linestyle() == "--" and ax.get_ylim()[0] == 0


def test_plot_batch_losses_marks_the_last_batch_of_an_epoch_and_weights_the_mean():
    ax = figures.plot_batch_losses([1.0, 4.0, 2.0, 8.0], sizes=[3, 1, 3, 1], count=2)
    batches, small, means = ax.lines
    assert list(batches.get_ydata()) == [1, 4, 2, 8]
    assert (list(small.get_xdata()), list(small.get_ydata())) == ([1, 3], [4, 8])
    assert (list(means.get_xdata()), list(means.get_ydata())) == ([1, 3], [1.75, 3.5])
    small_batch = "one batch of only 1 points"
    assert legend(ax) == ["one batch", small_batch, "weighted mean of an epoch"]
    assert [line.get_color() for line in ax.lines] == [BLUE, YELLOW, GREEN]
    assert ax.get_yscale() == "log" and ax.get_title().startswith("2 epochs of 2 batches")


def test_plot_pairs_sorts_by_target_and_puts_a_dot_on_each_wanted_pair():
    answers = torch.tensor([[3.0], [1.0]], requires_grad=True)
    ax = figures.plot_pairs(answers, torch.tensor([[2.0], [0.0]]))
    assert ax.images[0].get_array().tolist() == [[1, 1], [9, 1]]
    assert ax.get_title() == "2 wanted pairs (dots) of 4\npoints sorted by target"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("target of point", "answer for point")
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
    assert legend(axes[0]) == ["data", "prediction", "mean of y"]


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
