"""fc_model's pair: a Network comes back from its file alone, and what is no Network is refused."""

import copy
import os
import random
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from checkpoint_tools import (
    assert_clear,
    equal_weights,
    flip,
    is_that_network,
    make_model,
    no_warnings,
    position_of,
    same,
)
from torch import nn, optim
from torch.nn.utils import prune
from torch.optim import lr_scheduler

import checkpoints
from checkpoints import CheckpointError
from fc_model import Network, load_checkpoint, save_checkpoint

SIZES = ["input_size", "output_size", "hidden_layers", "drop_p", "state_dict"]


def four_keys(model):
    """The checkpoint of the documents that the series grew out of."""
    return {
        "input_size": model.hidden_layers[0].in_features,
        "output_size": model.output.out_features,
        "hidden_layers": [layer.out_features for layer in model.hidden_layers],
        "state_dict": model.state_dict(),
    }


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("sizes", [(6, 5, 3), (784, 512, 256, 128, 10), (1, 1, 1)])
def test_a_network_comes_back_equal_in_eval_mode_with_its_sizes_and_drop_p(sizes, kind, mmap, path):
    model = make_model(*sizes, drop_p=0.1).train()
    with no_warnings():
        save_checkpoint(model, kind(path))
        loaded = load_checkpoint(kind(path), mmap=mmap)
    assert type(loaded) is Network and is_that_network(loaded, checkpoints.load(path))
    assert equal_weights(loaded, model) and loaded.dropout.p == 0.1
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in loaded.parameters())
    assert model.training and os.listdir(path.parent) == [path.name]
    image = torch.randn(3, sizes[0])
    assert torch.equal(loaded(image), model.eval()(image))


@pytest.mark.parametrize("drop_p", [0, 1, 0.0, 0.1, 0.5, 1.0])
def test_drop_p_is_kept_as_it_was(drop_p, path):
    save_checkpoint(make_model(6, 5, 3, drop_p=drop_p), path)
    assert same(load_checkpoint(path).dropout.p, drop_p)


def test_a_plain_torch_load_reads_the_documented_fields(model, path):
    save_checkpoint(model, path)
    file = torch.load(path)
    assert list(file) == [*SIZES, checkpoints.FORMAT] and same(file, checkpoints.load(path))
    assert type(file) is dict and same(dict(file["state_dict"]), dict(model.state_dict()))
    assert (file["input_size"], file["hidden_layers"], file["output_size"]) == (6, [5, 4], 3)
    documented = re.findall(r"\b[a-z]+_[a-z]+\b", save_checkpoint.__doc__.partition("and what")[0])
    assert set(documented) == set(SIZES)


def make_run(model):
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    scheduler, generator = lr_scheduler.StepLR(optimizer, 2), torch.Generator().manual_seed(3)
    return {"optimizer": optimizer, "scheduler": scheduler, "generator": generator}


def step(model, run):
    run["optimizer"].zero_grad()
    labels = torch.randint(3, (8,), generator=run["generator"])
    F.nll_loss(model.train()(torch.ones(8, 6)), labels).backward()
    run["optimizer"].step()
    run["scheduler"].step()


def test_fields_and_pieces_of_ones_own_are_kept_and_given_back(model, path):
    run, own = make_run(model), {"epoch": 4, "loss": 0.25, "classes": ["a", "b", "c"], "note": None}
    step(model, run)
    save_checkpoint(model, path, **run, **own)
    saved, other = checkpoints.load(path), load_checkpoint(path)
    fresh = make_run(other)
    rest = checkpoints.restore(saved, {"state_dict": other} | fresh)
    sizes = {"input_size": 6, "output_size": 3, "hidden_layers": [5, 4], "drop_p": 0.25}
    assert same(rest, sizes | own)
    for each in ((model, run), (other, fresh)):
        torch.manual_seed(0)
        step(*each)
    assert equal_weights(other, model)


@pytest.mark.parametrize("name", SIZES)
def test_the_names_that_it_gives_itself_are_taken(name, model, path):
    with pytest.raises(
        CheckpointError, match=f"save_checkpoint gives the name {name} itself: take another"
    ):
        save_checkpoint(model, path, **{name: 1})
    with pytest.raises(CheckpointError, match="names in state"):
        save_checkpoint(model, path, **{checkpoints.FORMAT: 1})
    assert os.listdir(path.parent) == []


VALUES = [
    0,
    1.0,
    "1",
    True,
    None,
    -1.0,
    float("nan"),
    float("inf"),
    torch.tensor(0.5),
    [0.5],
    {"a": 1},
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_epoch_and_loss_are_plain_values_of_any_type(value, model, path):
    save_checkpoint(model, path, epoch=value, loss=value)
    saved = checkpoints.load(path)
    assert same(saved["epoch"], value) and same(saved["loss"], value)
    assert equal_weights(load_checkpoint(path), model)


def test_a_value_that_is_not_plain_is_refused_by_its_name(model, path):
    for name in ("epoch", "loss"):
        with pytest.raises(
            CheckpointError, match=rf"{re.escape(str(path))}: not saved: {name} is a pathlib\."
        ):
            save_checkpoint(model, path, **{name: Path("a")})
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("mmap", [False, True])
def test_a_dict_of_four_keys_loads_with_drop_p_a_half(mmap, path):
    model = make_model(784, 512, 256, 128, 10)
    torch.save(four_keys(model), path)
    loaded = load_checkpoint(path, mmap=mmap)
    assert equal_weights(loaded, model) and loaded.dropout.p == 0.5 and not loaded.training


def test_parameters_in_place_of_tensors_load_without_a_warning(model, path):
    torch.save(four_keys(model) | {"state_dict": dict(model.named_parameters())}, path)
    with no_warnings():
        loaded = load_checkpoint(path)
    assert equal_weights(loaded, model)


def test_global_random_states_stay_as_they_are(model, path):
    before = torch.get_rng_state(), random.getstate()
    save_checkpoint(model, path, optimizer=optim.Adam(model.parameters()), epoch=0)
    load_checkpoint(path)
    load_checkpoint(path, mmap=True)
    assert same((torch.get_rng_state(), random.getstate()), before)


def test_the_network_does_not_depend_on_its_file(model, path):
    save_checkpoint(model, path)
    loaded = load_checkpoint(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert equal_weights(loaded, model)
    path.unlink()
    assert equal_weights(loaded, model)


def test_the_weights_are_held_once(model, path, monkeypatch):
    save_checkpoint(model, path)
    saved = checkpoints.load(path)
    monkeypatch.setattr(checkpoints, "load", lambda path, **more: saved)
    for key, tensor in load_checkpoint(path).state_dict().items():
        assert tensor.data_ptr() == saved["state_dict"][key].data_ptr()


@pytest.mark.parametrize("mmap", [False, True])
def test_map_location_says_where_the_network_is(mmap, model, path):
    save_checkpoint(model, path)
    loaded = load_checkpoint(path, map_location="meta", mmap=mmap)
    assert {parameter.device.type for parameter in loaded.parameters()} == {"meta"}


def test_a_loaded_network_trains(model, path):
    save_checkpoint(model, path)
    loaded = load_checkpoint(path).train()
    F.nll_loss(loaded(torch.randn(8, 6)), torch.randint(3, (8,))).backward()
    optim.SGD(loaded.parameters(), lr=0.1).step()
    assert not equal_weights(loaded, model) and equal_weights(load_checkpoint(path), model)


def test_weights_in_another_order_of_memory_come_back_in_rows(path):
    model = make_model(6, 5, 3)
    model.output.weight.data = torch.randn(5, 3).t()
    assert not model.output.weight.is_contiguous()
    save_checkpoint(model, path)
    assert not model.output.weight.is_contiguous()
    for write in (lambda: None, lambda: torch.save(four_keys(model), path)):
        write()
        loaded = load_checkpoint(path)
        assert loaded.output.weight.is_contiguous()
        assert torch.equal(loaded.output.weight, model.output.weight)


def test_frozen_weights_come_back_unfrozen(model, path):
    model.requires_grad_(False)
    save_checkpoint(model, path)
    assert all(parameter.requires_grad for parameter in load_checkpoint(path).parameters())


# ---------------------------------------------------------------- what is no Network


@pytest.mark.parametrize(
    ("wrap", "way_out"), [(nn.DataParallel, "model.module"), (torch.compile, "model._orig_mod")]
)
def test_a_wrapped_network_is_refused_with_the_way_out(wrap, way_out, model, path):
    wrapped = wrap(model)
    kind = type(wrapped).__name__
    with pytest.raises(
        CheckpointError, match=f"model must be a Network, got {kind}: try .*{way_out}"
    ):
        save_checkpoint(wrapped, path)
    assert os.listdir(path.parent) == []
    save_checkpoint(eval(way_out, {"model": wrapped}), path)
    assert equal_weights(load_checkpoint(path), model)
    with pytest.raises(CheckpointError, match="got OrderedDict"):
        save_checkpoint(model.state_dict(), path)


class Squared(Network):
    def forward(self, x):
        return super().forward(x) ** 2


def test_a_subclass_is_refused(path):
    with pytest.raises(CheckpointError, match="model must be a Network, got Squared"):
        save_checkpoint(Squared(6, 3, [5]), path)
    assert os.listdir(path.parent) == []


PARTS = {
    "AlphaDropout": lambda model: setattr(model, "dropout", nn.AlphaDropout(0.5)),
    "Identity": lambda model: setattr(model, "dropout", nn.Identity()),
    "Sequential": lambda model: setattr(model, "output", nn.Sequential(model.output)),
    "LazyLinear": lambda model: setattr(model, "output", nn.LazyLinear(3)),
    "Conv1d": lambda model: model.hidden_layers.insert(1, nn.Conv1d(5, 5, 1)),
}


@pytest.mark.parametrize("kind", PARTS)
def test_a_part_that_network_does_not_make_is_refused_with_the_way_out(kind, model, path):
    PARTS[kind](model)
    with pytest.raises(
        CheckpointError, match=f"is a {kind}, which Network does not make: use checkpoints.save"
    ):
        save_checkpoint(model, path)
    assert os.listdir(path.parent) == []
    if kind != "LazyLinear":
        checkpoints.save({"model": model}, path)


def spoil(model, how):
    with torch.no_grad():
        if how in ("nan", "inf", "-inf"):
            model.output.bias[1] = float(how)
        elif how in ("double", "half", "bfloat16"):
            getattr(model, how)()
        elif how == "another layer":
            model.output = nn.Linear(7, 3)
        elif how == "no bias":
            model.output = nn.Linear(4, 3, bias=False)
        elif how == "one more part":
            model.more = nn.Linear(2, 2)
        elif how == "int8":
            model.output.weight = nn.Parameter(
                torch.ones(3, 4, dtype=torch.int8), requires_grad=False
            )
        elif how == "pruned":
            prune.random_unstructured(model.output, "weight", 0.5)
        elif how == "meta":
            model.to("meta")


HOW = [
    "nan",
    "inf",
    "-inf",
    "double",
    "half",
    "bfloat16",
    "another layer",
    "no bias",
    "one more part",
]
HOW += ["int8", "pruned", "meta"]


@pytest.mark.parametrize("how", HOW)
def test_a_network_that_could_not_be_loaded_is_not_saved(how, model, path):
    old = copy.deepcopy(model)
    save_checkpoint(old, path)
    spoil(model, how)
    with pytest.raises(CheckpointError, match=r"state_dict") as caught:
        save_checkpoint(model, path)
    which = r"hidden_layers\.0" if how == "meta" else r"output\.|more\."
    assert re.search(which, str(caught.value)), "it does not say which weight"
    assert os.listdir(path.parent) == [path.name] and equal_weights(load_checkpoint(path), old)


def test_what_does_not_fit_is_said_with_the_path_as_every_error_of_save_is(model, path):
    for how in ("nan", "one more part"):
        spoil(model, how)
        with pytest.raises(
            CheckpointError, match=rf"^{re.escape(str(path))}: not saved: .*state_dict"
        ):
            save_checkpoint(model, path)
        model = make_model(6, 5, 4, 3)


def test_sizes_that_are_no_longer_true_are_refused(model, path):
    model.output.out_features = 9
    with pytest.raises(CheckpointError, match="state_dict does not fit the sizes"):
        save_checkpoint(model, path)
    assert os.listdir(path.parent) == []


# ---------------------------------------------------------------- files that are no network


def refused(path, match, **arguments):
    with pytest.raises(CheckpointError, match=match) as caught:
        load_checkpoint(path, **arguments)
    assert_clear(caught.value, path)


FIELDS = {
    "no input_size": (
        {"input_size": None},
        "no network has these sizes and drop_p: input_size must be an int",
    ),
    "another input_size": ({"input_size": 7}, "state_dict does not fit the sizes"),
    "no output_size": ({"output_size": None}, "output_size must be an int"),
    "no hidden_layers": ({"hidden_layers": None}, "hidden_layers is missing or no list"),
    "empty hidden_layers": ({"hidden_layers": []}, "hidden_layers is empty"),
    "a tuple of layers": ({"hidden_layers": (5, 4)}, "hidden_layers is missing or no list"),
    "a float": ({"hidden_layers": [5, 4.0]}, "hidden_layers.1. must be an int"),
    "too large": ({"input_size": 10**30}, "no network has these sizes"),
    "negative": ({"output_size": -1}, "output_size must be at least 1"),
    "a bool": ({"output_size": True}, "output_size must be an int"),
    "many layers": (
        {"hidden_layers": [1] * 10**6},
        "names more layers than state_dict has tensors",
    ),
    "no state_dict": ({"state_dict": None}, "state_dict is missing or no dict"),
    "drop_p is a text": ({"drop_p": "a half"}, "drop_p must be a number"),
    "drop_p is 2": ({"drop_p": 2}, "drop_p must lie between 0 and 1"),
    "drop_p is nan": ({"drop_p": float("nan")}, "drop_p must lie between 0 and 1"),
    "drop_p is None": ({"drop_p": None}, "drop_p must be a number"),
}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("name", FIELDS)
def test_a_malformed_field_is_refused_by_its_name(name, mmap, model, path):
    wrong, text = FIELDS[name]
    torch.save(four_keys(model) | wrong, path)
    refused(path, text, mmap=mmap)
    if None in wrong.values() and "drop_p" not in wrong:
        fields = {key: value for key, value in four_keys(model).items() if key not in wrong}
        torch.save(fields, path)
        refused(path, text, mmap=mmap)


def test_an_own_checkpoint_without_a_network_is_refused_with_the_way_out(model, path):
    checkpoints.save({"model": model}, path)
    refused(path, "state_dict is missing or no dict: use checkpoints.load")
    torch.save({"input_size": 6}, path)
    refused(path, "state_dict is missing or no dict: use checkpoints.load")
    torch.save(model.state_dict(), path)
    refused(path, r"a bare state_dict: model.load_state_dict\(torch.load\(path\)\)")


WEIGHTS = {
    "a key fewer": lambda weights: weights.pop("output.bias"),
    "a key more": lambda weights: weights.update(more=torch.ones(1)),
    "no tensor": lambda weights: weights.update({"output.bias": [0.0] * 3}),
    "another shape": lambda weights: weights.update({"output.bias": torch.zeros(1)}),
    "double": lambda weights: weights.update({"output.bias": torch.zeros(3).double()}),
    "half": lambda weights: weights.update({"output.bias": torch.zeros(3).half()}),
    "int": lambda weights: weights.update({"output.bias": torch.zeros(3, dtype=torch.int32)}),
    "complex": lambda weights: weights.update(
        {"output.bias": torch.zeros(3, dtype=torch.complex64)}
    ),
    "one number for all": lambda weights: weights.update({"output.bias": torch.zeros(1).expand(3)}),
    "empty": lambda weights: weights.clear(),
}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_do_not_fit_are_refused(name, mmap, model, path):
    weights = dict(model.state_dict())
    WEIGHTS[name](weights)
    torch.save(four_keys(model) | {"state_dict": weights}, path)
    refused(path, "state_dict|more layers than", mmap=mmap)


@pytest.mark.parametrize("mmap", [False, True])
def test_tensors_without_numbers_are_refused(mmap, model, path):
    torch.save(
        four_keys(model) | {"state_dict": make_model(6, 5, 4, 3).to("meta").state_dict()}, path
    )
    refused(path, "state_dict.hidden_layers.0.weight", mmap=mmap)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_numbers_that_are_not_finite_are_refused_unless_mapped(number, model, path):
    weights = {key: value * float(number) for key, value in model.state_dict().items()}
    torch.save(four_keys(model) | {"state_dict": weights}, path)
    refused(path, r"state_dict\.hidden_layers\.0\.weight holds a number that is not finite")
    assert not load_checkpoint(path, mmap=True).output.weight.isfinite().any()


def test_mmap_does_not_check_numbers_and_checks_the_structure(model, path):
    save_checkpoint(model, path)
    content = path.read_bytes()
    flip(path, position_of(model.output.weight, path))
    refused(path, "CRC")
    loaded = load_checkpoint(path, mmap=True)
    assert not torch.equal(loaded.output.weight, model.output.weight)
    assert torch.equal(loaded.output.bias, model.output.bias)
    del loaded  # Windows does not overwrite a file that is mapped
    for length in (0, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refused(path, "damaged|empty", mmap=True)
    path.write_bytes(content)
    flip(path, content.index(b"input_size"))
    refused(path, "CRC", mmap=True)


@pytest.mark.skipif(os.name != "posix", reason="Windows does not replace a file that is mapped")
def test_a_mapped_network_stays_as_it_is_when_another_is_saved_to_its_path(model, path):
    save_checkpoint(model, path)
    content = path.read_bytes()
    mapped, new = load_checkpoint(path, mmap=True), make_model(6, 5, 4, 3, seed=1)
    with torch.no_grad():
        load_checkpoint(path, mmap=True).output.weight.zero_()
    assert path.read_bytes() == content
    save_checkpoint(new, path)
    assert equal_weights(mapped, model) and equal_weights(load_checkpoint(path), new)
    mapped = load_checkpoint(path, mmap=True)
    flip(path, position_of(new.output.weight, path))
    assert not equal_weights(mapped, new), "it is not mapped"
