"""What people save comes back to the bit: models of every kind, other pieces, plain values."""

import random
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from checkpoint_tools import equal_weights, no_warnings, run_python, same
from torch import nn, optim
from torch.nn.utils import parametrizations, spectral_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import checkpoints
from checkpoints import CheckpointError, load, restore, save


class Tied(nn.Module):
    """A small language model, whose head has the weight of the embedding, or one of its own."""

    def __init__(self, tied=True):
        super().__init__()
        self.embed = nn.Embedding(7, 8)
        self.body = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 7, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, words):
        return self.head(self.body(self.embed(words)))


class Positions(nn.Module):
    """A layer with a buffer that is not saved."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.register_buffer("positions", torch.rand(3), persistent=False)

    def forward(self, x):
        return self.layer(x + self.positions)


class Counting(nn.Module):
    """A layer with extra state: a dict of plain values, or what is given."""

    def __init__(self, extra=None):
        super().__init__()
        self.layer, self.extra = (
            nn.Linear(3, 3),
            extra or {"calls": torch.initial_seed(), "by": ["a"]},
        )

    def get_extra_state(self):
        return self.extra

    def set_extra_state(self, extra):
        self.extra = extra

    def forward(self, x):
        return self.layer(x)


class Holder(nn.Module):
    """One parameter and one buffer of any dtype."""

    def __init__(self, values, buffer=None):
        super().__init__()
        self.values = nn.Parameter(values, requires_grad=values.dtype.is_floating_point)
        self.register_buffer("buffer", values.clone() if buffer is None else buffer)


def trained(model, *shape):
    """A model after a forward pass in training mode: running statistics have moved."""
    with torch.no_grad():
        model.train()(torch.randn(*shape))
    return model


def normed():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 3))


def frozen():
    return nn.Sequential(nn.Linear(3, 3).requires_grad_(False), nn.Linear(3, 3))


def channels_last():
    return nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)


MODELS = {
    "convolution and batch norm": lambda: trained(normed(), 4, 1, 5, 5),
    "transformer with tied weights": Tied,
    "bfloat16": lambda: nn.Linear(3, 3).bfloat16(),
    "half": lambda: nn.Linear(3, 3).half(),
    "double": lambda: nn.Linear(3, 3).double(),
    "buffer that is not saved": Positions,
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(3, 3)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(3, 3)),
    "spectral norm": lambda: trained(parametrizations.spectral_norm(nn.Linear(3, 3)), 2, 3),
    "spectral norm by a hook": lambda: trained(spectral_norm(nn.Linear(3, 3)), 2, 3),
    "initialised lazy layers": lambda: trained(
        nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d()), 4, 3
    ),
    "extra state": Counting,
    "DataParallel": lambda: nn.DataParallel(nn.Linear(3, 3)),
    "compiled": lambda: torch.compile(nn.Linear(3, 3)),
    "compiled part": lambda: nn.Sequential(torch.compile(nn.Linear(3, 3)), nn.Linear(3, 3)),
    "AveragedModel": lambda: AveragedModel(nn.Linear(3, 3)),
    "complex": lambda: Holder(torch.randn(3, dtype=torch.complex64)),
    "float8": lambda: Holder(torch.randn(8).to(torch.float8_e4m3fn)),
    "float8 with inf": lambda: Holder(torch.randn(8).to(torch.float8_e5m2)),
    "int8": lambda: Holder(torch.randint(-128, 128, (8,), dtype=torch.int8)),
    "int64": lambda: Holder(torch.randint(-(2**60), 2**60, (8,))),
    "uint16": lambda: Holder(torch.randint(2**16, (8,)).to(torch.uint16)),
    "bool": lambda: Holder(torch.rand(64) > 0.5),
    "channels last": channels_last,
    "transposed": lambda: Holder(torch.randn(5, 3).t()),
    "frozen": frozen,
    "a part of a larger tensor": lambda: Holder(torch.randn(10)[3:7]),
    "scalar": lambda: Holder(torch.randn(())),
    "inf in a buffer": lambda: Holder(torch.randn(3), torch.full((3, 3), float("-inf")).triu(1)),
}


def build(name, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name]()


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_to_the_bit(name, mmap, path):
    model, other = build(name, 0), build(name, 1)
    assert not equal_weights(model, other), "the test would see nothing"
    before = model.state_dict()
    with no_warnings():
        save({"model": model, "epoch": 3}, path)
        saved = load(path, mmap=mmap)
        assert restore(saved, {"model": other}) == {"epoch": 3}
    assert equal_weights(other, model) and same(dict(model.state_dict()), dict(before))
    assert same(dict(saved["model"]), dict(model.state_dict()))
    flags = [[each.requires_grad for each in one.parameters()] for one in (model, other)]
    assert flags[0] == flags[1]


@pytest.mark.parametrize(
    "name", [name for name in MODELS if build(name, 0)._get_name() != "Holder"]
)
def test_a_model_that_came_back_answers_as_before(name, path):
    model, other = build(name, 0).eval(), build(name, 1).eval()
    if name in ("compiled", "compiled part"):
        pytest.skip("to run it would compile it")
    if name == "buffer that is not saved":
        other.positions.copy_(model.positions)
    shape = {"convolution and batch norm": (2, 1, 5, 5), "channels last": (2, 3, 5, 5)}.get(
        name, (2, 3)
    )
    dtype = {"bfloat16": torch.bfloat16, "half": torch.half, "double": torch.double}.get(name)
    x = torch.randint(7, (2, 4)) if isinstance(model, Tied) else torch.randn(shape, dtype=dtype)
    save({"model": model}, path)
    assert not torch.equal(other(x), model(x))
    restore(load(path), {"model": other})
    assert torch.equal(other(x), model(x))


@pytest.mark.parametrize("name", ["channels last", "transposed"])
def test_the_order_in_memory_is_kept(name, path):
    model = build(name, 0)
    (key, weight), *_ = model.state_dict().items()
    assert not weight.is_contiguous()
    save({"model": model}, path)
    assert load(path)["model"][key].stride() == weight.stride()


def test_a_buffer_that_is_not_saved_is_left_alone(path):
    model, other = build("buffer that is not saved", 0), build("buffer that is not saved", 1)
    before = other.positions.clone()
    save({"model": model}, path)
    saved = load(path)
    assert "positions" not in saved["model"]
    restore(saved, {"model": other})
    assert same(other.positions, before)


class Versioned(nn.Linear):
    """A layer that takes a state_dict of version 2 alone, as some of torch's do."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *others):
        if local_metadata.get("version") != 2:
            raise ValueError("an old version")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)


def test_the_versions_of_layers_are_kept(path):
    model, other = (nn.Sequential(Versioned(3, 3)) for _ in range(2))
    save({"model": model}, path)
    saved = load(path)
    assert saved["model"]._metadata == model.state_dict()._metadata
    restore(saved, {"model": other})
    assert equal_weights(other, model)
    del saved["model"]._metadata
    with pytest.raises(CheckpointError, match=r"^model cannot take its state .*an old version"):
        restore(saved, {"model": other})


def test_a_load_with_assign_leaves_no_mark_in_a_file(path):
    model = nn.Linear(3, 3)
    state_dict = model.state_dict()
    nn.Linear(3, 3).load_state_dict(state_dict, assign=True)
    save({"weights": state_dict, "epoch": 1}, path)
    other = nn.Linear(3, 3)
    weights = load(path)["weights"]
    other.load_state_dict(weights)
    assert other.weight.data_ptr() != weights["weight"].data_ptr() and equal_weights(other, model)


# ---------------------------------------------------------------- ties


def addresses(state_dict):
    return state_dict["embed.weight"].data_ptr(), state_dict["head.weight"].data_ptr()


@pytest.mark.parametrize("mmap", [False, True])
def test_ties_stay_ties(mmap, path):
    model, other = (
        build("transformer with tied weights", 0),
        build("transformer with tied weights", 1),
    )
    save({"model": model}, path)
    first, second = addresses(load(path, mmap=mmap)["model"])
    assert first == second
    restore(load(path, mmap=mmap), {"model": other})
    assert other.head.weight is other.embed.weight and equal_weights(other, model)


def test_the_tied_weight_is_written_once(path):
    model, untied = Tied(), Tied(tied=False)
    save({"model": model}, path)
    size = path.stat().st_size
    save({"model": untied}, path)
    assert path.stat().st_size > size + model.embed.weight.nbytes // 2


def test_a_file_without_the_tie_is_refused_where_its_weights_differ(path):
    model, tied = Tied(tied=False), Tied()
    save({"model": model}, path)
    before = {key: value.clone() for key, value in tied.state_dict().items()}
    with pytest.raises(
        CheckpointError, match=r"^model.head.weight is one tensor with embed.weight here, and not"
    ):
        restore(load(path), {"model": tied})
    assert same(dict(tied.state_dict()), before)
    with torch.no_grad():
        model.head.weight.copy_(model.embed.weight)
    save({"model": model}, path)
    restore(load(path), {"model": tied})
    assert equal_weights(tied, model) and tied.head.weight is tied.embed.weight


def test_a_file_with_a_tie_is_refused_by_a_model_without_it(path):
    save({"model": Tied()}, path)
    with pytest.raises(
        CheckpointError,
        match=r"^model.head.weight is one tensor with embed.weight in the file, and not",
    ):
        restore(load(path), {"model": Tied(tied=False)})


def test_a_tie_between_two_models_stays_one(path):
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    save({"first": first, "second": second}, path)
    saved = load(path)
    assert saved["first"]["weight"].data_ptr() == saved["second"]["weight"].data_ptr()
    assert saved["first"]["bias"].data_ptr() != saved["second"]["bias"].data_ptr()


# ---------------------------------------------------------------- pieces


def scaler(growth):
    piece = torch.amp.GradScaler("cpu", init_scale=2.0**growth, growth_interval=1)
    weight = nn.Parameter(torch.ones(1))
    piece.scale(weight.sum()).backward()
    piece.step(optim.SGD([weight], lr=0.1))
    piece.update()
    return piece


class Progress:
    """A class of one's own with the two methods, as a stateful loader has them."""

    def __init__(self, step=0):
        self.step, self.seen = step, [step]

    def state_dict(self):
        return {"step": self.step, "seen": self.seen}

    def load_state_dict(self, state):
        self.step, self.seen = state["step"], state["seen"]


class StatefulLoader:
    """Shuffled numbers, which go on in the middle of a pass: the protocol of torchdata's loader."""

    def __init__(self, seed, count=10):
        self.seed, self.count, self.position = seed, count, 0

    def __next__(self):
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed))
        self.position += 1
        return order[self.position - 1].item()

    def state_dict(self):
        return {"seed": self.seed, "position": self.position}

    def load_state_dict(self, state):
        vars(self).update(state)


def bit_generator(kind):
    def make(seed):
        generator = np.random.Generator(getattr(np.random, kind)(seed))
        generator.integers(10, size=3, dtype=np.uint32)  # some keep the half of a number
        return generator

    return make


def draw_torch(generator):
    return torch.rand(3, generator=generator)


def draw_numpy(generator):
    numbers = (
        generator.random(3).tolist(),
        generator.integers(2**31, size=3, dtype=np.uint32).tolist(),
    )
    return numbers, generator.normal(size=2).tolist()


KINDS = ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]
PIECES = {
    "GradScaler": (scaler, lambda piece: piece.state_dict()),
    "torch.Generator": (lambda seed: torch.Generator().manual_seed(seed), draw_torch),
    "own class": (Progress, lambda piece: piece.state_dict()),
    "stateful loader": (StatefulLoader, lambda piece: [next(piece) for _ in range(4)]),
} | {kind: (bit_generator(kind), draw_numpy) for kind in KINDS}


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_goes_on_where_it_was(name, path):
    make, use = PIECES[name]
    piece, other, third = make(1), make(2), make(3)
    use(piece)
    save({"piece": piece}, path)
    restore(load(path), {"piece": other})
    wanted = use(piece)
    assert same(use(other), wanted) and not same(use(third), wanted)


def test_an_average_of_the_weights_stays_in_step(path):
    def make(seed):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
        return {"model": model, "average": average, "optimizer": optim.Adam(model.parameters())}

    def train(run, steps):
        for _ in range(steps):
            run["optimizer"].zero_grad()
            run["model"](torch.randn(5, 3)).pow(2).sum().backward()
            run["optimizer"].step()
            run["average"].update_parameters(run["model"])

    ours, other = make(0), make(1)
    train(ours, 3)
    save(ours, path)
    train(ours, 3)
    restore(load(path), other)
    train(other, 3)
    assert other["average"].n_averaged == 6 and equal_weights(other["average"], ours["average"])
    assert not equal_weights(ours["average"].module, ours["model"])


def test_two_models_with_two_optimizers_are_one_file(path):
    def make(seed):
        torch.manual_seed(seed)
        models = {"generator": nn.Linear(2, 3), "critic": nn.Linear(3, 1)}
        for name in tuple(models):
            models[f"{name}_optimizer"] = optim.Adam(models[name].parameters(), lr=0.1 * (1 + seed))
        return models

    def step(run):
        for name in ("generator", "critic"):
            run[f"{name}_optimizer"].zero_grad()
            run["critic"](run["generator"](torch.ones(4, 2))).sum().backward()
            run[f"{name}_optimizer"].step()

    ours, other = make(0), make(1)
    step(ours)
    save(ours | {"epoch": 1}, path)
    assert restore(load(path), other) == {"epoch": 1}
    for run in (ours, other):
        step(run)
    assert all(same(other[name].state_dict(), ours[name].state_dict()) for name in ours)
    swapped = ours | {"generator": ours["critic"], "critic": ours["generator"]}
    with pytest.raises(CheckpointError, match=r"^generator does not fit"):
        restore(load(path), swapped)


def draws():
    cached = np.random.normal()  # NumPy keeps the second of a pair
    return cached, np.random.rand(), random.random(), random.gauss(0, 1), torch.rand(2).tolist()


def test_the_global_random_states_go_on_where_an_optimizer_is_saved(path):
    model = nn.Linear(2, 2)
    run = {"model": model, "optimizer": optim.SGD(model.parameters(), lr=0.1)}
    draws()
    save(run, path)
    wanted = draws()
    restore(load(path), run)
    assert draws() == wanted


def test_the_global_random_states_are_left_alone_without_an_optimizer(path):
    run = {"model": nn.Linear(2, 2)}
    save(run, path)
    assert load(path)[checkpoints.FORMAT]["random"] == {}
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    restore(load(path), run)
    assert same(
        (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()), before
    )


# ---------------------------------------------------------------- plain values

PLAIN = {
    "None": None,
    "bool": True,
    "int": -3,
    "large int": 2**200,
    "float": 0.1,
    "negative zero": -0.0,
    "nan": float("nan"),
    "inf": float("inf"),
    "complex": 1 - 2j,
    "str": "naïve ✅",
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"\x00\xff"),
    "list": [1, "a", [None]],
    "tuple": (1, (2.0,), ()),
    "set": {1, "a", (2, 3)},
    "dict": {"b": 1, 2: [3], (4, 5): {"c": None}, None: True},
    "OrderedDict": OrderedDict(b=1, a=2, c=OrderedDict(z=3, y=4)),
    "Counter": Counter("abracadabra"),
    "tensor": torch.arange(6).reshape(2, 3),
    "tensor of nan": torch.tensor([float("nan"), float("inf")]),
    "complex tensor": torch.randn(2, dtype=torch.complex128),
    "conjugated tensor": torch.randn(2, dtype=torch.complex64).conj(),
    "empty tensor": torch.empty(0, 3),
    "Size": torch.Size([1, 2]),
    "dtype": torch.bfloat16,
    "device": torch.device("cpu", 0),
    "state of torch": torch.get_rng_state(),
    "state of Python": random.getstate(),
    "state of NumPy": np.random.default_rng(0).bit_generator.state,
    "empty containers": [[], (), {}, set(), "", bytearray()],
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_value_is_given_back_in_its_type(name, path):
    save({"value": PLAIN[name]}, path)
    rest = restore(load(path), {})
    assert list(rest) == ["value"] and same(rest["value"], PLAIN[name])
    assert not same(rest["value"], "another")
    save({"metrics": {"best": [PLAIN[name]]}}, path)
    assert same(load(path)["metrics"]["best"][0], PLAIN[name])


def test_a_parameter_among_values_is_given_back_as_a_tensor(path):
    save({"value": nn.Parameter(torch.arange(3.0))}, path)
    value = load(path)["value"]
    assert type(value) is torch.Tensor and not value.requires_grad and value.tolist() == [0, 1, 2]


def test_the_order_of_an_ordered_dict_is_kept(path):
    value = OrderedDict.fromkeys("abc", 0)
    value.move_to_end("a")
    save({"value": value, "a": 1}, path)
    saved = load(path)
    assert list(saved["value"]) == ["b", "c", "a"] and list(saved) == [
        "value",
        "a",
        checkpoints.FORMAT,
    ]


def test_one_value_in_two_places_stays_one(path):
    shared = [torch.ones(2)]
    save({"a": shared, "b": {"c": shared}}, path)
    saved = load(path)
    assert saved["a"] is saved["b"]["c"] and saved["a"] is not shared


def test_an_empty_state_is_a_checkpoint(path):
    save({}, path)
    assert restore(load(path), {}) == {}


def test_epoch_0_and_any_loss_are_kept(path):
    for loss in (0.5, 3, -1.0, float("nan"), float("inf"), torch.tensor(0.5), [0.5], "0.5"):
        save({"epoch": 0, "loss": loss}, path)
        assert same(restore(load(path), {}), {"epoch": 0, "loss": loss})


READ_WITHOUT = """
import importlib.util, sys, torch
assert not any(map(importlib.util.find_spec, ["checkpoints", "fc_model"]))
saved = torch.load(sys.argv[1])
model = torch.nn.Linear(3, 3)
model.load_state_dict(saved["model"])
torch.optim.Adam(model.parameters()).load_state_dict(saved["optimizer"])
print(model.weight.double().sum().item(), saved["epoch"])
"""


def test_a_bare_torch_load_reads_the_file_where_this_project_is_not(path, tmp_path):
    model = nn.Linear(3, 3)
    save({"model": model, "optimizer": optim.Adam(model.parameters()), "epoch": 3}, path)
    program = run_python(READ_WITHOUT, path, path=tmp_path)
    assert program.returncode == 0, program.stderr
    assert program.stdout.split() == [str(model.weight.double().sum().item()), "3"]
