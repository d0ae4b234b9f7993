"""Every optimizer of torch goes on to the bit, and none takes the state of another."""

import copy
from itertools import pairwise

import pytest
import torch
from checkpoint_tools import refused, same, state_of
from torch import nn, optim

from checkpoints import load, restore, save

SET_UPS = {
    "SGD": (optim.SGD, {}),
    "SGD with momentum": (optim.SGD, {"momentum": 0.9}),
    "SGD of Nesterov": (optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "Adam": (optim.Adam, {}),
    "Adam with amsgrad": (optim.Adam, {"amsgrad": True}),
    "Adam, not foreach": (optim.Adam, {"foreach": False}),
    "Adam, fused": (optim.Adam, {"fused": True}),
    "Adam with a tensor for a rate": (optim.Adam, {"lr": torch.tensor(0.01)}),
    "Adam, maximize": (optim.Adam, {"maximize": True}),
    "AdamW": (optim.AdamW, {}),
    "AdamW with amsgrad": (optim.AdamW, {"amsgrad": True}),
    "Adamax": (optim.Adamax, {}),
    "NAdam": (optim.NAdam, {}),
    "NAdam, decoupled": (optim.NAdam, {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    "RAdam": (optim.RAdam, {}),
    "RMSprop": (optim.RMSprop, {}),
    "RMSprop, centered, with momentum": (optim.RMSprop, {"centered": True, "momentum": 0.9}),
    "Rprop": (optim.Rprop, {}),
    "ASGD": (optim.ASGD, {"t0": 1}),
    "LBFGS": (optim.LBFGS, {"max_iter": 3, "history_size": 4}),
    "LBFGS with a line search": (optim.LBFGS, {"max_iter": 3, "line_search_fn": "strong_wolfe"}),
    "Adafactor": (optim.Adafactor, {}),
    "Adagrad": (optim.Adagrad, {"lr_decay": 0.1}),
    "Adadelta": (optim.Adadelta, {}),
    "SparseAdam": (optim.SparseAdam, {}),
}
if hasattr(optim, "Muon"):
    SET_UPS["Muon"] = (optim.Muon, {})
CLASSES = {kind.__name__: name for name, (kind, _) in reversed(SET_UPS.items())}


class Words(nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.words = nn.Embedding(widths[0], widths[1], sparse=True)

    def forward(self, x):
        return self.words(x.abs().mul(100).long() % self.words.num_embeddings)


def make_model(name, widths, seed):
    torch.manual_seed(seed)
    if name == "SparseAdam":
        return Words(widths)
    bias = name != "Muon"  # which takes matrices alone
    layers = [nn.Linear(a, b, bias=bias) for a, b in pairwise(widths)]
    return nn.Sequential(*layers)


def make_run(name, widths=(4, 5, 2), seed=0, **arguments):
    kind, given = SET_UPS[name]
    model = make_model(name, widths, seed)
    arguments = copy.deepcopy({"lr": 0.01} | given | arguments)
    return {"model": model, "optimizer": kind(model.parameters(), **arguments)}


def step(run, seed):
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))

    def closure():
        run["optimizer"].zero_grad()
        loss = run["model"](x).pow(2).mean()
        loss.backward()
        return loss

    run["optimizer"].step(closure)


def saved_run(name, path, **arguments):
    run = make_run(name, **arguments)
    for seed in range(3):
        step(run, seed)
    save(run, path)
    return run, load(path)


@pytest.mark.parametrize("name", SET_UPS)
def test_an_optimizer_goes_on_to_the_bit(name, path):
    run, saved = saved_run(name, path)
    other = make_run(name, seed=1, lr=0.5)
    assert not same(state_of(other), state_of(run))
    kept = copy.deepcopy(saved)
    restore(saved, other)
    assert same(state_of(other), state_of(run))
    for seed in range(3, 6):
        step(run, seed)
        step(other, seed)
    assert same(state_of(other), state_of(run))
    assert same(saved, kept), "what was loaded follows the training"


@pytest.mark.parametrize("theirs", CLASSES)
def test_the_state_of_another_class_is_refused(theirs, path):
    run, saved = saved_run(CLASSES[theirs], path)
    parameters = list(run["model"].parameters())
    for ours, name in CLASSES.items():
        if ours not in (theirs, "Muon") and "LBFGS" not in (ours, theirs):
            other = SET_UPS[name][0](copy.deepcopy(parameters), lr=0.01)
            text = f"^optimizer is a {theirs} in the file, and a {ours} here$"
            refused(saved, {"model": run["model"], "optimizer": other}, text)
    restore(saved, run)


def test_the_state_of_lbfgs_is_refused_by_others_and_the_other_way_round(path):
    run, saved = saved_run("LBFGS", path)
    adam, saved_adam = saved_run("Adam", path)
    refused(saved, adam, "^optimizer is a LBFGS in the file, and a Adam here$")
    refused(saved_adam, run, "^optimizer is a Adam in the file, and a LBFGS here$")


def without_format(saved):
    return {name: value for name, value in saved.items() if name in ("model", "optimizer")}


PAIRS = [
    ("Adam", "SGD"),
    ("SGD", "Adam"),
    ("RMSprop", "Adam"),
    ("Adagrad", "SGD"),
    ("Adam", "ASGD"),
]
PAIRS += [("NAdam", "Adam"), ("Adamax", "NAdam"), ("Rprop", "SGD"), ("Adadelta", "Adagrad")]


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_without_its_class_an_optimizer_is_told_by_its_settings(theirs, ours, path):
    _, saved = saved_run(theirs, path)
    saved = without_format(saved)
    refused(saved, make_run(ours), f"^optimizer is not of such a {ours}")
    restore(saved, make_run(theirs))


@pytest.mark.parametrize("name", SET_UPS)
def test_parameters_of_other_shapes_are_refused(name, path):
    _, saved = saved_run(name, path)
    other = make_run(name, widths=(4, 6, 2))
    optimizer = {"optimizer": other["optimizer"]}
    del saved["model"]
    saved["_checkpoints"]["classes"].pop("model")
    refused(saved, optimizer, "^optimizer has parameters of other shapes in the file$")


LIKE_PARAMETERS = [name for name in SET_UPS if SET_UPS[name][0] not in (optim.LBFGS, optim.SGD)]


@pytest.mark.parametrize("name", [*LIKE_PARAMETERS, "SGD with momentum"])
def test_a_state_of_another_shape_is_refused(name, path):
    run, saved = saved_run(name, path)
    state = saved["optimizer"]["state"]
    cases = [(index, key) for index in state for key in state[index]]
    cases = [(i, k) for i, k in cases if torch.is_tensor(state[i][k]) and state[i][k].dim()]
    assert cases, "there is nothing to spoil"
    for index, key in cases:
        for shape in ((9,), (*state[index][key].shape, 2)):
            spoiled = copy.deepcopy(saved)
            spoiled["optimizer"]["state"][index][key] = torch.zeros(shape)
            text = f"^optimizer: {key} of parameter {index} has another shape$"
            refused(spoiled, run, text)
            refused(without_format(spoiled), run, text)


def test_parameters_in_another_order_are_refused(path):
    run, saved = saved_run("Adam", path)
    backwards = optim.Adam([*run["model"].parameters()][::-1], lr=0.1)
    refused(
        saved,
        {**run, "optimizer": backwards},
        "^optimizer has parameters of other shapes in the file$",
    )
    text = "^optimizer: exp_avg of parameter 0 has another shape$"
    refused(without_format(saved), {**run, "optimizer": backwards}, text)


def test_more_fewer_or_other_groups_are_refused(path):
    run, saved = saved_run("Adam", path)
    model, text = run["model"], "^optimizer has other parameters, or other groups, in the file$"
    fewer = optim.Adam([*model.parameters()][:-1])
    refused(saved, {**run, "optimizer": fewer}, text)
    groups = [{"params": list(layer.parameters())} for layer in model]
    refused(saved, {**run, "optimizer": optim.Adam(groups)}, text)
    more = optim.Adam([*model.parameters(), nn.Parameter(torch.ones(1))])
    refused(saved, {**run, "optimizer": more}, text)


# ---------------------------------------------------------------- names


def named(model, order=None):
    names = list(model.named_parameters())
    return {"model": model, "optimizer": optim.Adam([names[i] for i in order or range(4)], lr=0.1)}


def square(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(4, 4), nn.Linear(4, 4)
    )  # all shapes fit in any order of the layers


def test_names_in_another_order_are_refused(path):
    run = named(square())
    step(run, 0)
    save(run, path)
    saved = load(path)
    text = "^optimizer has parameters of other names, or in another order$"
    refused(saved, named(run["model"], order=(2, 3, 0, 1)), text)
    restore(saved, named(square(1)))
    # Where one side has no names there is nothing to compare.
    other = square(1)
    restore(saved, {"model": other, "optimizer": optim.Adam(other.parameters(), lr=0.1)})


WRAPPERS = {
    "compiled": torch.compile,
    "DataParallel": nn.DataParallel,
    "both": lambda model: nn.DataParallel(torch.compile(model)),
    "both, the other way round": lambda model: torch.compile(nn.DataParallel(model)),
    "a compiled part": lambda model: nn.Sequential(torch.compile(model[0]), model[1]),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_wrappers_put_before_a_name_does_not_matter(name, path):
    plain = named(square())
    step(plain, 0)
    for ours, wrap, other in ((plain, WRAPPERS[name], 1), (None, lambda model: model, 2)):
        if ours is None:
            ours = {"optimizer": named(WRAPPERS[name](square()))["optimizer"]}
        save({"optimizer": ours["optimizer"]}, path)
        fresh = named(wrap(square(other)))
        restore(load(path), {"optimizer": fresh["optimizer"]})
        state = fresh["optimizer"].state_dict()["state"]
        assert same(state, ours["optimizer"].state_dict()["state"])
    backwards = named(WRAPPERS[name](square()), order=(2, 3, 0, 1))
    save({"optimizer": plain["optimizer"]}, path)
    refused(
        load(path),
        {"optimizer": backwards["optimizer"]},
        "^optimizer has parameters of other names",
    )


# ---------------------------------------------------------------- other versions of PyTorch

NEWER = ["decoupled_weight_decay", "foreach", "fused", "capturable", "maximize", "differentiable"]


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("name", CLASSES.values())
def test_groups_that_an_older_pytorch_wrote_are_accepted(name, foreign, path):
    run, saved = saved_run(name, path)
    groups = saved["optimizer"]["param_groups"]
    newer = (
        ["foreach"] if name == "Adafactor" else NEWER
    )  # it has had the others from its beginning
    dropped = [key for key in newer for group in groups if group.pop(key, 0) != 0]
    other = make_run(name, seed=1)
    restore(without_format(saved) if foreign else saved, other)
    assert dropped or name in ("LBFGS", "Muon", "SparseAdam")
    for seed in range(3, 5):
        step(run, seed)
        step(other, seed)
    assert same(other["model"].state_dict(), run["model"].state_dict())


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("value", [None, False, "a"])
def test_groups_with_a_key_of_a_newer_pytorch_are_accepted(value, foreign, path):
    run, saved = saved_run("Adam", path)
    saved["optimizer"]["param_groups"][0]["newer"] = value
    other = make_run("Adam", seed=1)
    restore(without_format(saved) if foreign else saved, other)
    step(run, 3)
    step(other, 3)
    assert same(other["model"].state_dict(), run["model"].state_dict())


def test_a_number_of_a_newer_pytorch_is_accepted_where_the_class_is_known(path):
    run, saved = saved_run("Adam", path)
    saved["optimizer"]["param_groups"][0]["newer"] = 0.5
    restore(saved, run)


@pytest.mark.parametrize("arguments", [{"foreach": False}, {"foreach": True}, {"fused": True}])
def test_another_way_to_compute_the_same_is_no_other_optimizer(arguments, path):
    _, saved = saved_run("Adam", path)
    other = make_run("Adam", **arguments)
    restore(saved, other)
    step(other, 3)


# ---------------------------------------------------------------- malformed

MALFORMED = {
    "no groups": lambda state: state.pop("param_groups"),
    "no state": lambda state: state.pop("state"),
    "groups are no list": lambda state: state.update(param_groups=5),
    "a group is no dict": lambda state: state.update(param_groups=[5]),
    "a group without params": lambda state: state["param_groups"][0].pop("params"),
    "params is a tensor": lambda state: state["param_groups"][0].update(params=torch.arange(4)),
    "a group without a rate": lambda state: state["param_groups"][0].pop("lr"),
    "state is no dict": lambda state: state.update(state=[1, 2]),
    "state of a parameter is no dict": lambda state: state["state"].update({0: 5}),
    "state of a parameter too many": lambda state: state["state"].update(
        {99: {"step": torch.tensor(1.0)}}
    ),
    "state of a parameter before the first": lambda state: state["state"].update(
        {-1: state["state"].pop(0)}
    ),
    "no step": lambda state: state["state"][0].pop("step"),
    "no average": lambda state: state["state"][0].pop("exp_avg"),
    "state under a name": lambda state: state["state"].update({"weight": state["state"].pop(0)}),
    "names are a number": lambda state: state["param_groups"][0].update(param_names=5),
}


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("how", MALFORMED)
def test_a_malformed_state_is_refused(how, foreign, path):
    run, saved = saved_run("Adam", path)
    MALFORMED[how](saved["optimizer"])
    other = named(run["model"]) if "names" in how else run
    refused(without_format(saved) if foreign else saved, other, "^optimizer")


def test_a_state_that_is_no_dict_is_refused(path):
    run, saved = saved_run("Adam", path)
    for value in (5, None, [1], "a", torch.ones(2)):
        refused(saved | {"optimizer": value}, run, "^optimizer is malformed")
