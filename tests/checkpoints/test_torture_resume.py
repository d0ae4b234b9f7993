"""The fault matrix, going on: an interrupted run ends equal to one that never was, to the bit.

This takes a sample of the set-ups. With TORTURE=full, as in `make torture`, it takes all of them.
"""

import itertools
import random
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checkpoint_tools import make_model, same
from test_optimizers import SET_UPS
from test_schedulers import SCHEDULERS
from torch import nn, optim
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset
from torture_tools import FULL, NETWORK, OURS, compare, faults, note, sample

import checkpoints
from checkpoints import FORMAT
from fc_model import load_checkpoint, save_checkpoint

LOADERS = ["shuffled by the global state", "with a generator of its own"]
RANDOM = {"torch": torch.get_rng_state, "python": random.getstate}


def disturb():
    torch.manual_seed(4711)
    random.seed(4711)
    np.random.seed(4711)


def make_optimizer(name, model):
    kind, arguments = SET_UPS[name]
    matrices = [each for each in model.parameters() if each.dim() == 2]
    parameters = matrices if name == "Muon" else model.parameters()
    return kind(parameters, **{"lr": 0.01, **arguments})


class Run:
    """A training run with all that can be lost: dropout, shuffling, Python's random numbers."""

    def __init__(self, model, loader, optimizer, scheduler):
        fixed = torch.Generator().manual_seed(1)
        data = torch.randn(40, 6, generator=fixed), torch.randint(3, (40,), generator=fixed)
        self.generator = torch.Generator().manual_seed(2) if loader == LOADERS[1] else None
        self.loader = DataLoader(
            TensorDataset(*data), batch_size=8, shuffle=True, generator=self.generator
        )
        self.model = model.train()
        self.optimizer = make_optimizer(optimizer, model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SequentialLR uses what torch itself deprecates
            self.scheduler = SCHEDULERS[scheduler](self.optimizer)

    def pieces(self):
        names = ("model", "optimizer", "scheduler", "generator")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def step(self, images, labels):
        noisy = images * (1 + 0.1 * random.random())

        def closure():
            self.optimizer.zero_grad()
            loss = F.nll_loss(self.model(noisy), labels)
            loss.backward()
            return loss

        return self.optimizer.step(closure).item()

    def train(self, epochs):
        losses = []
        for _ in epochs:
            losses += [self.step(*batch) for batch in self.loader]
            plateau = isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.scheduler.step(*[1.0][:plateau])  # a loss that never gets better
            losses.append(float(self.optimizer.param_groups[0]["lr"]))
        return losses


class Everything(Run):
    """Two models with two optimizers, mixed precision, an average, and two more generators."""

    def __init__(self, seed):
        super().__init__(make_model(6, 16, 8, 3, seed=seed), LOADERS[1], "Adam", "StepLR")
        self.critic = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.critic_optimizer = optim.AdamW(self.critic.parameters(), lr=0.01)
        average = get_ema_multi_avg_fn(0.9)
        self.average = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=7)
        self.numpy_generator = np.random.default_rng(3)

    def pieces(self):
        names = ("critic", "critic_optimizer", "average", "scaler", "numpy_generator")
        return super().pieces() | {name: getattr(self, name) for name in names}

    def step(self, images, labels):
        noise = torch.from_numpy(self.numpy_generator.normal(size=(8, 6)).astype("float32"))
        answer = self.model(images + 0.1 * noise + 0.1 * float(np.random.rand()))
        loss = F.nll_loss(answer, labels) + 0.1 * self.critic(answer).mean() * random.random()
        for optimizer in (self.optimizer, self.critic_optimizer):
            optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        for optimizer in (self.optimizer, self.critic_optimizer):
            self.scaler.step(optimizer)
        self.scaler.update()
        self.average.update_parameters(self.model)
        average = sum(each.double().sum().item() for each in self.average.parameters())
        return [loss.item(), average, self.scaler.get_scale()]


def save(run, path, network):
    pieces = run.pieces()
    if network:
        return save_checkpoint(pieces.pop("model"), path, **pieces, epoch=3)
    return checkpoints.save(pieces | {"epoch": 3}, path)


def go_on(path, make, network, without=None):
    """Restore into a fresh run, with one piece as it is at the start, and train to the end."""
    disturb()
    torch.rand(5)
    random.random()
    np.random.rand()
    saved = checkpoints.load(path)
    run = make(load_checkpoint(path) if network else make_model(6, 16, 8, 3, seed=5))
    pieces = run.pieces()
    if network:
        pieces["state_dict"] = pieces.pop("model")
        if without == "model":
            pieces["state_dict"].load_state_dict(make_model(6, 16, 8, 3, seed=5).state_dict())
    if without in RANDOM:
        saved[FORMAT]["random"][without] = RANDOM[without]()
    elif without:
        name = "state_dict" if network and without == "model" else without
        saved[name] = checkpoints._state_of(pieces[name])
    epoch = checkpoints.restore(saved, pieces)["epoch"]
    return run.train(range(epoch, 6)), run


def state_of(run):
    return {name: checkpoints._state_of(piece) for name, piece in run.pieces().items()}


def interrupted(path, make, network):
    """Train, save, and go on; return a function that says whether another run ends equal."""
    disturb()
    run = make(make_model(6, 16, 8, 3))
    run.train(range(3))
    save(run, path, network)
    losses = run.train(range(3, 6))

    def ends_equal(without=None):
        other_losses, other = go_on(path, make, network, without)
        return other_losses == losses, same(state_of(other), state_of(run))

    return ends_equal


WHOLE = itertools.product(
    LOADERS,
    ["SGD with momentum", "Adam", "RMSprop, centered, with momentum"],
    ["StepLR", "CosineAnnealingLR", "ReduceLROnPlateau"],
    [False, True],
)


@pytest.mark.parametrize(("loader", "optimizer", "scheduler", "network"), sample(WHOLE, 6))
def test_a_run_goes_on_equal_and_without_one_piece_it_does_not(
    loader, optimizer, scheduler, network, path, record_property
):
    def make(model):
        return Run(model, loader, optimizer, scheduler)

    ends_equal = interrupted(path, make, network)
    assert ends_equal() == (True, True)
    note(record_property, "an interrupted run", {"the same": 1})
    pieces = ["model", "optimizer", "scheduler", *RANDOM]
    for without in [*pieces, *["generator"][: loader == LOADERS[1]]]:
        assert ends_equal(without) == (False, False), f"{without} makes no difference"
        compare(record_property, "an interrupted run, one piece not restored", {"wrong": 1})


OTHERS = [(name, "StepLR") for name in SET_UPS if name != "SparseAdam"]  # which takes no dense ones
OTHERS += [("SGD with momentum", name) for name in SCHEDULERS]


@pytest.mark.parametrize(("optimizer", "scheduler"), sample(OTHERS, 8))
def test_a_run_with_any_optimizer_and_scheduler_goes_on_equal(
    optimizer, scheduler, path, record_property
):
    ends_equal = interrupted(
        path, lambda model: Run(model, LOADERS[1], optimizer, scheduler), False
    )
    assert ends_equal() == (True, True)
    note(record_property, "an interrupted run, any optimizer and scheduler", {"the same": 1})


def test_a_run_with_two_models_a_scaler_and_an_average_goes_on_equal(path, record_property):
    ends_equal = interrupted(path, lambda model: Everything(seed=0), False)
    assert ends_equal() == (True, True)
    note(record_property, "an interrupted run with two models, scaler and average", {"the same": 1})
    for without in [*Everything(0).pieces(), *RANDOM]:
        assert not all(ends_equal(without)), f"{without} makes no difference"
        compare(record_property, "an interrupted run, one piece not restored", {"wrong": 1})


@pytest.mark.parametrize("functions", [OURS, NETWORK], ids=lambda each: each.name)
def test_a_run_of_the_harness_goes_on_equal(functions, tmp_path, record_property):
    count = 40 if FULL else 2
    outcomes = faults.resume(functions, tmp_path, count, seed=1)
    note(record_property, f"an interrupted run of the harness ({functions.name})", outcomes)
    assert outcomes == {"the same": count}, outcomes.cases
