"""restore puts every piece back, or none; what does not fit is named before anything changes."""

import copy
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checkpoint_tools import equal_weights, make_model, same, shown
from torch import nn, optim
from torch.optim import lr_scheduler

import checkpoints
from checkpoints import CheckpointError, load, restore, save


def one_step(model, optimizer, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(8, 6, generator=generator)
    labels = torch.randint(3, (8,), generator=generator)
    optimizer.zero_grad()
    F.nll_loss(model.train()(images), labels).backward()
    optimizer.step()


def make_run(seed=0, optimizer=optim.Adam, scheduler=True, generator=True, model=None):
    """The pieces of a run, by their names."""
    model = model or make_model(6, 5, 4, 3, seed=seed)
    optimizer = optimizer(model.parameters(), lr=0.1)
    pieces = {"model": model, "optimizer": optimizer}
    if scheduler:
        pieces["scheduler"] = lr_scheduler.StepLR(optimizer, 2)
    if generator:
        pieces["generator"] = torch.Generator().manual_seed(5)
    return pieces


def train(run, seeds=range(3)):
    for seed in seeds:
        one_step(run["model"], run["optimizer"], seed)
        if "scheduler" in run:
            run["scheduler"].step()
        if "generator" in run:
            torch.randperm(4, generator=run["generator"])


def seed_all(seed):
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def saved_run(path, **arguments):
    """What was loaded of a run after a step."""
    seed_all(5)  # no refusal leaves these states behind
    run = make_run(**arguments)
    one_step(run["model"], run["optimizer"])
    save(run | {"epoch": 2}, path)
    return load(path)


def random_states():
    numpy = np.random.get_state(legacy=False)
    return torch.get_rng_state(), random.getstate(), checkpoints._lists(numpy)


def state_of(run):
    """A copy of all that restore may change."""
    states = {}
    for name, piece in run.items():
        if isinstance(piece, torch.Generator):
            states[name] = piece.get_state()
        elif isinstance(piece, np.random.Generator):
            states[name] = checkpoints._lists(piece.bit_generator.state)
        elif hasattr(piece, "state_dict"):
            states[name] = piece.state_dict()
    return copy.deepcopy([states, random_states()])


def refused(saved, run, match, error=CheckpointError):
    """Demand that restore refuses, and that nothing is changed then."""
    seed_all(77)
    before, kept = state_of(run), copy.deepcopy(saved)
    with pytest.raises(error, match=match) as caught:
        restore(saved, run)
    assert same(state_of(run), before), "the run was changed"
    assert same(saved, kept), "what was loaded was changed"
    assert "During handling" not in shown(caught.value) or error is not CheckpointError
    return str(caught.value)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    "arguments", [{}, {"scheduler": False}, {"generator": False}, {"optimizer": optim.SGD}]
)
def test_every_piece_is_put_back_and_the_values_are_returned(arguments, mmap, path):
    run = make_run(**arguments)
    train(run)
    saved = state_of(run)
    save(run | {"epoch": 7, "loss": [0.5]}, path)

    seed_all(99)
    fresh = make_run(seed=1, **arguments)
    assert not same(state_of(fresh), saved)
    assert same(restore(load(path, mmap=mmap), fresh), {"epoch": 7, "loss": [0.5]})
    assert same(state_of(fresh), saved)
    expected = torch.rand(3), random.random(), np.random.rand()
    torch.set_rng_state(saved[1][0])
    random.setstate(saved[1][1])
    np.random.set_state(saved[1][2])
    assert same((torch.rand(3), random.random(), np.random.rand()), expected)


def test_a_run_that_was_interrupted_ends_equal_to_one_that_was_not(path):
    run = make_run()
    train(run)
    save(run, path)
    train(run, range(3, 6))
    fresh = make_run(seed=1)
    restore(load(path), fresh)
    train(fresh, range(3, 6))
    assert equal_weights(fresh["model"], run["model"])
    other = make_run(seed=1)
    train(other, range(3, 6))
    assert not equal_weights(other["model"], run["model"])


@pytest.mark.parametrize("mmap", [False, True])
def test_what_was_loaded_is_not_changed_by_restore_nor_by_training(mmap, path):
    saved = saved_run(path)
    if mmap:
        saved = load(path, mmap=True)
    run = make_run()
    restore(saved, run)
    train(run)
    assert same(saved, load(path))
    again = make_run(seed=1)
    restore(saved, again)
    restored = make_run()["model"]
    assert not equal_weights(again["model"], restored)
    restored.load_state_dict(saved["model"])
    assert equal_weights(again["model"], restored)


def test_what_is_no_piece_is_ignored(path):
    saved = saved_run(path)
    assert restore(saved, make_run(seed=1) | {"epoch": 0, "loss": None, "other": [1]}) == {
        "epoch": 2
    }


def test_state_is_left_as_it_is(path):
    saved, run = saved_run(path), make_run(seed=1)
    kept = dict(run)
    restore(saved, run)
    assert run == kept


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["model", "optimizer", "scheduler", "generator"])
def test_a_missing_piece_is_named(name, path):
    saved = saved_run(path)
    del saved[name]
    refused(saved, make_run(), f"^{name} is not in the file$")


@pytest.mark.parametrize("name", ["model", "optimizer", "scheduler", "generator"])
def test_a_piece_that_is_left_over_is_named(name, path):
    saved, run = saved_run(path), make_run()
    del run[name]
    text = refused(saved, run, f"^{name} is in the file: ")
    exec(text.rpartition("or ")[2], {"saved": saved})  # the way out that the message names
    assert restore(saved, run) == {"epoch": 2}


def test_a_checkpoint_of_weights_alone_does_not_go_on(model, path):
    save({"model": model}, path)
    refused(load(path), make_run(), "^optimizer is not in the file$")


def test_a_piece_under_the_name_of_a_value_is_refused(path):
    saved = saved_run(path)
    run = make_run() | {"epoch": torch.Generator()}
    refused(saved, run, "^epoch ")
    refused(saved, make_run() | {"epoch": nn.Linear(1, 1)}, "^epoch ")
    refused(saved, make_run() | {"epoch": np.random.default_rng(0)}, "^epoch ")


def test_models_and_optimizers_that_are_swapped_are_refused(path):
    saved, run = saved_run(path), make_run()
    swapped = run | {"model": run["optimizer"], "optimizer": run["model"]}
    refused(saved, swapped, "^(model|optimizer) ")


# ---------------------------------------------------------------- models


def changed(model, how):
    if how == "another shape":
        model.output = nn.Linear(4, 9)
    elif how == "a part more":
        model.more = nn.Linear(2, 2)
    elif how == "a part fewer":
        del model.output
    elif how == "another dtype":
        model.output.double()
    elif how == "wrapped":
        return nn.DataParallel(model)
    elif how == "one number for a scalar":
        model.output.bias = nn.Parameter(torch.tensor(1.0))
    return model


HOW = [
    "another shape",
    "a part more",
    "a part fewer",
    "another dtype",
    "wrapped",
    "one number for a scalar",
]


@pytest.mark.parametrize("how", HOW)
def test_a_model_that_does_not_fit_is_refused_with_a_table(how, path):
    saved = saved_run(path)
    run = make_run(model=changed(make_model(6, 5, 4, 3), how))
    text = refused(saved, run, "^model does not fit\nkey .*model .*state_dict\n")
    assert (
        "module." if how == "wrapped" else "more." if how == "a part more" else "output."
    ) in text


def test_a_model_on_the_meta_device_is_refused_with_the_way_out(model, path):
    save({"model": model}, path)
    with torch.device("meta"):
        other = make_model(6, 5, 4, 3)
    with pytest.raises(CheckpointError, match=r"^model is on the meta device: ") as caught:
        restore(load(path), {"model": other})
    assert {each.device.type for each in other.parameters()} == {"meta"}
    other = eval(str(caught.value).partition(": ")[2], {"model": other})
    restore(load(path), {"model": other})
    assert equal_weights(other, model)


def test_a_state_that_is_no_dict_is_refused(path):
    saved = saved_run(path)
    for value in (5, None, [1], torch.ones(2)):
        refused(saved | {"model": value}, make_run(), "^model ")
        refused(saved | {"generator": value}, make_run(), "^generator ")


def test_a_value_in_place_of_a_tensor_is_refused(path):
    saved = saved_run(path)
    saved["model"]["output.bias"] = [0.0] * 3
    refused(saved, make_run(), r"^model does not fit\n.*\noutput.bias .*Tensor.*list")


# ---------------------------------------------------------------- states that are malformed

BYTES = torch.zeros(7, dtype=torch.uint8)
RANDOM = {
    "torch, floats": ("torch", torch.zeros(3)),
    "torch, short": ("torch", BYTES),
    "torch, no tensor": ("torch", 5),
    "Python, version": ("python", (1, 2)),
    "Python, short": ("python", (3, (1, 2, 3), None)),
    "NumPy, empty": ("numpy", {}),
    "NumPy, another": ("numpy", {"bit_generator": "PCG64", "state": {}}),
}


@pytest.mark.parametrize("name", RANDOM)
def test_a_malformed_random_state_is_refused_and_named(name, path):
    part, value = RANDOM[name]
    saved = saved_run(path)
    saved[checkpoints.FORMAT]["random"][part] = value
    refused(saved, make_run(seed=1), "random")


@pytest.mark.parametrize("part", ["torch", "python", "numpy"])
def test_a_random_state_that_was_taken_out_is_left_alone(part, path):
    saved = saved_run(path)
    states = saved[checkpoints.FORMAT]["random"]
    wanted = [states["torch"], states["python"], states["numpy"]]
    seed_all(77)
    index = ["torch", "python", "numpy"].index(part)
    wanted[index] = random_states()[index]
    del states[part]
    restore(saved, make_run(seed=1))
    assert same(random_states(), tuple(wanted))


@pytest.mark.parametrize("value", [torch.zeros(3), BYTES, 5])
def test_a_malformed_state_of_a_generator_is_refused(value, path):
    saved = saved_run(path)
    saved["generator"] = value
    refused(saved, make_run(seed=1), "^generator ")


@pytest.mark.parametrize("spoil", ["class", "state", "part"])
def test_a_malformed_state_of_a_numpy_generator_is_refused(spoil, path):
    save({"first": torch.Generator().manual_seed(1), "draws": np.random.default_rng(0)}, path)
    saved = load(path)
    if spoil == "class":
        saved["draws"]["bit_generator"] = "MT19937"
    else:
        saved["draws"]["state"] = 5 if spoil == "state" else {}
    run = {"first": torch.Generator().manual_seed(2), "draws": np.random.default_rng(1)}
    refused(saved, run, "^draws ")


def test_another_kind_of_numpy_generator_is_refused(path):
    save({"draws": np.random.default_rng(0)}, path)
    other = {"draws": np.random.Generator(np.random.MT19937(0))}
    refused(load(path), other, "^draws ")


def test_a_scaler_that_is_switched_off_is_no_scaler(path):
    save({"scaler": torch.amp.GradScaler("cpu")}, path)
    saved = load(path)
    refused(saved, {"scaler": torch.amp.GradScaler("cpu", enabled=False)}, "^scaler is not of such")
    del saved["scaler"]["scale"]
    refused(saved, {"scaler": torch.amp.GradScaler("cpu")}, "^scaler is not of such a GradScaler")


# ---------------------------------------------------------------- failures in the middle


class Own:
    """A piece that takes half of its state and raises."""

    def __init__(self, error=None):
        self.values, self.error = {"a": 1, "b": 1}, error

    def state_dict(self):
        return dict(self.values)

    def load_state_dict(self, state):
        self.values["a"] = state["a"]
        error, self.error = self.error, None
        if error:
            raise error
        self.values["b"] = state["b"]


def saved_with_own(path):
    seed_all(5)
    run = make_run() | {"own": Own()}
    train(run)
    run["own"].values = {"a": 2, "b": 2}
    save(run, path)
    return load(path)


@pytest.mark.parametrize("first", [False, True])
def test_a_piece_that_raises_half_way_is_rolled_back_with_all_others(first, path):
    saved, own = saved_with_own(path), {"own": Own(ValueError("no more"))}
    run = own | make_run(seed=1) if first else make_run(seed=1) | own
    train(run, [7])
    refused(saved, run, r"^own cannot take its state \(ValueError: no more\)$")
    restore(saved, run)
    assert run["own"].values == {"a": 2, "b": 2}


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SystemExit])
def test_an_interruption_in_the_middle_rolls_back_and_comes_out(error, path):
    saved = saved_with_own(path)
    run = make_run(seed=1) | {"own": Own(error())}
    train(run, [7])
    refused(saved, run, None, error=error)


def test_a_failure_at_the_random_states_rolls_back(path, monkeypatch):
    saved, run = saved_with_own(path), make_run(seed=1) | {"own": Own()}
    train(run, [7])
    setstate, calls = random.setstate, []

    def fail_once(state):
        calls.append(state)
        if len(calls) == 1:
            raise KeyboardInterrupt
        setstate(state)

    monkeypatch.setattr(random, "setstate", fail_once)
    seed_all(77)
    before = state_of(run)
    with pytest.raises(KeyboardInterrupt):
        restore(saved, run)
    assert same(state_of(run), before)


# ---------------------------------------------------------------- cards


@pytest.fixture
def cards(monkeypatch):
    """A machine of so many cards; what it is set to is noted."""
    states = [torch.full((16,), i, dtype=torch.uint8) for i in range(8)]
    noted = []

    def set_up(count):
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states[:count])
        monkeypatch.setattr(torch.cuda, "set_rng_state_all", noted.append)
        return noted

    return set_up


@pytest.mark.parametrize("count", [1, 2])
def test_the_random_states_of_cards_are_kept(count, cards, path):
    noted = cards(count)
    saved = saved_run(path)
    states = saved[checkpoints.FORMAT]["random"]["cuda"]
    assert [state[0].item() for state in states] == list(range(count))
    assert restore(saved, make_run(seed=1)) == {"epoch": 2}
    assert same(noted, [states])


@pytest.mark.parametrize(("there", "here"), [(2, 1), (1, 2), (2, 0)])
def test_states_of_more_or_fewer_cards_are_refused_first_with_the_way_out(there, here, cards, path):
    noted = cards(there)
    saved = saved_run(path)
    cards(here)
    text = refused(saved, make_run(seed=1), f"^random states of {there} GPUs, .*{here}.*: ")
    assert noted == []
    exec(text.rpartition(", ")[2], {"saved": saved})
    run = make_run(seed=1)
    assert restore(saved, run) == {"epoch": 2} and noted == []
    assert same(run["model"].state_dict(), load(path)["model"])
    assert same(torch.get_rng_state(), load(path)[checkpoints.FORMAT]["random"]["torch"])


def test_a_run_without_cards_goes_on_where_there_are_some(cards, path):
    cards(0)
    saved = saved_run(path)
    assert "cuda" not in saved[checkpoints.FORMAT]["random"]
    noted = cards(2)
    restore(saved, make_run(seed=1))
    assert [state for state in noted if state is None] == []


def test_the_random_state_of_a_mac_is_kept_and_put_back_where_there_is_one(path, monkeypatch):
    state, noted = torch.arange(16, dtype=torch.uint8), []
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: state)
    monkeypatch.setattr(torch.mps, "set_rng_state", noted.append)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    saved = saved_run(path)
    assert same(saved[checkpoints.FORMAT]["random"]["mps"], state)
    restore(saved, make_run(seed=1))
    assert same(noted, [state])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    restore(saved, make_run(seed=1))
    assert len(noted) == 1 and "mps" not in saved_run(path)[checkpoints.FORMAT]["random"]


# ---------------------------------------------------------------- files without the format's key


def general(run):
    """The general checkpoint of PyTorch's tutorials."""
    states = {
        "model_state_dict": run["model"].state_dict(),
        "optimizer_state_dict": run["optimizer"].state_dict(),
    }
    return {"epoch": 5, **states, "loss": 0.4}


def test_a_general_checkpoint_goes_on(path):
    run = make_run(scheduler=False, generator=False)
    train(run)
    torch.save(general(run), path)
    fresh = make_run(seed=1, scheduler=False, generator=False)
    pieces = {"model_state_dict": fresh["model"], "optimizer_state_dict": fresh["optimizer"]}
    before = random_states()
    assert restore(load(path), pieces) == {"epoch": 5, "loss": 0.4}
    assert same(random_states(), before)
    for each in (run, fresh):
        torch.manual_seed(3)  # the file has no random states
        train(each, [3, 4])
    assert equal_weights(fresh["model"], run["model"])
    refused(
        load(path),
        pieces | {"scheduler": lr_scheduler.StepLR(fresh["optimizer"], 1)},
        "^scheduler is not in",
    )
    assert sorted(restore(load(path), {})) == sorted(general(run))


def four_keys(model):
    """The checkpoint of a network with its sizes."""
    return {
        "input_size": model.hidden_layers[0].in_features,
        "output_size": model.output.out_features,
        "hidden_layers": [layer.out_features for layer in model.hidden_layers],
        "state_dict": model.state_dict(),
    }


def test_a_checkpoint_of_four_keys_is_put_back(model, path):
    torch.save(four_keys(model), path)
    other = make_model(6, 5, 4, 3, seed=1)
    rest = restore(load(path), {"state_dict": other})
    assert rest == {"input_size": 6, "output_size": 3, "hidden_layers": [5, 4]}
    assert equal_weights(other, model)
    refused(load(path), {"state_dict": make_model(6, 5, 2, 3)}, "^state_dict does not fit")


def former(run):
    """The checkpoint of a run as fc_model once wrote it."""
    return four_keys(run["model"]) | {
        "drop_p": 0.25,
        "optimizer_state_dict": run["optimizer"].state_dict(),
        "scheduler_state_dict": run["scheduler"].state_dict(),
        "generator_state": run["generator"].get_state(),
        "epoch": 3,
        "torch_random_state": torch.get_rng_state(),
        "python_random_state": random.getstate(),
        "cuda_random_states": [],
    }


def test_a_former_checkpoint_of_a_network_goes_on(path):
    run = make_run()
    train(run)
    torch.save(former(run), path)
    fresh = make_run(seed=1)
    names = {"state_dict": "model", "optimizer_state_dict": "optimizer"}
    names |= {"scheduler_state_dict": "scheduler", "generator_state": "generator"}
    pieces = {name: fresh[ours] for name, ours in names.items()}
    rest = restore(load(path), pieces)
    assert rest["epoch"] == 3 and rest["cuda_random_states"] == []
    torch.set_rng_state(rest["torch_random_state"])
    random.setstate(rest["python_random_state"])
    train(fresh, [3, 4])
    torch.set_rng_state(rest["torch_random_state"])
    train(run, [3, 4])
    assert same(state_of(fresh)[0], state_of(run)[0])
    for name in names:
        fewer = {key: value for key, value in load(path).items() if key != name}
        refused(fewer, pieces, f"^{name} is not in the file$")
    for name, value in {
        "generator_state": BYTES,
        "scheduler_state_dict": 5,
        "optimizer_state_dict": {},
    }.items():
        refused(load(path) | {name: value}, pieces, f"^{name} ")
