"""Every scheduler of torch goes on to the bit, and none takes the state of another."""

import copy
import warnings

import pytest
import torch
from checkpoint_tools import refused, same, state_of
from torch import nn, optim
from torch.optim import lr_scheduler, swa_utils

from checkpoints import load, restore, save


def sequential(optimizer, last=lr_scheduler.ExponentialLR):
    parts = [lr_scheduler.ConstantLR(optimizer), last(optimizer, 0.9)]
    return lr_scheduler.SequentialLR(optimizer, parts, [2])


def chained(optimizer, last=lr_scheduler.ExponentialLR):
    return lr_scheduler.ChainedScheduler([lr_scheduler.ConstantLR(optimizer), last(optimizer, 0.9)])


def polynomial(optimizer, power):
    return lr_scheduler.PolynomialLR(optimizer, power=power)


SCHEDULERS = {
    "StepLR": lambda it: lr_scheduler.StepLR(it, 2),
    "MultiStepLR": lambda it: lr_scheduler.MultiStepLR(it, [2, 4]),
    "ConstantLR": lambda it: lr_scheduler.ConstantLR(it, total_iters=4),
    "LinearLR": lambda it: lr_scheduler.LinearLR(it, total_iters=5),
    "ExponentialLR": lambda it: lr_scheduler.ExponentialLR(it, 0.9),
    "PolynomialLR": lambda it: lr_scheduler.PolynomialLR(it, total_iters=6),
    "CosineAnnealingLR": lambda it: lr_scheduler.CosineAnnealingLR(it, 5),
    "CosineAnnealingWarmRestarts": lambda it: lr_scheduler.CosineAnnealingWarmRestarts(it, 4),
    "CyclicLR": lambda it: lr_scheduler.CyclicLR(it, 0.01, 0.1, step_size_up=2),
    "CyclicLR, exp_range": lambda it: lr_scheduler.CyclicLR(
        it, 0.01, 0.1, 2, mode="exp_range", gamma=0.9
    ),
    "OneCycleLR": lambda it: lr_scheduler.OneCycleLR(it, 0.1, total_steps=9),
    "ReduceLROnPlateau": lambda it: lr_scheduler.ReduceLROnPlateau(it, patience=1),
    "LambdaLR": lambda it: lr_scheduler.LambdaLR(it, lambda epoch: 0.9**epoch),
    "MultiplicativeLR": lambda it: lr_scheduler.MultiplicativeLR(it, lambda epoch: 0.9),
    "SequentialLR": sequential,
    "ChainedScheduler": chained,
    "SWALR": lambda it: swa_utils.SWALR(it, swa_lr=0.01, anneal_epochs=5),
}


def start(name, seed=0):
    torch.manual_seed(seed)
    model = nn.Linear(2, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.05 * (1 + seed), momentum=0.9)
    make = SCHEDULERS[name] if isinstance(name, str) else name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"model": model, "optimizer": optimizer, "scheduler": make(optimizer)}


def step(run):
    run["optimizer"].zero_grad()
    run["model"](torch.ones(1, 2)).sum().backward()
    run["optimizer"].step()
    plateau = isinstance(run["scheduler"], lr_scheduler.ReduceLROnPlateau)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR uses what torch itself deprecates
        run["scheduler"].step(*[1.0][:plateau])
    return run["optimizer"].param_groups[0]["lr"]


def saved_run(name, path, steps=3):
    run = start(name)
    for _ in range(steps):
        step(run)
    save(run, path)
    return run, load(path)


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_goes_on_to_the_bit(name, steps, path):
    run, saved = saved_run(name, path, steps)
    other, kept = start(name, seed=1), copy.deepcopy(saved)
    restore(saved, other)
    assert same(state_of(other), state_of(run))
    rates = [step(run) for _ in range(5)]
    assert [step(other) for _ in range(5)] == rates
    assert same(state_of(other), state_of(run)) and same(saved, kept)
    fresh = start(name)
    assert steps == 0 or [step(fresh) for _ in range(5)] != rates, "the test would see nothing"


@pytest.mark.parametrize("theirs", SCHEDULERS)
def test_the_state_of_another_class_is_refused(theirs, path):
    run, saved = saved_run(theirs, path)
    for ours in SCHEDULERS:
        other = start(ours)
        if type(other["scheduler"]) is not type(run["scheduler"]):
            names = [type(one["scheduler"]).__name__ for one in (run, other)]
            text = (
                rf"^scheduler is a {names[0]}(\(.*\))? in the file, and a {names[1]}(\(.*\))? here$"
            )
            refused(saved, other, text)


@pytest.mark.parametrize("make", [sequential, chained])
def test_other_parts_are_refused(make, path):
    run, saved = saved_run(lambda it: make(it, polynomial), path)
    refused(
        saved,
        start(make),
        r"scheduler is a .*\(ConstantLR, PolynomialLR\) in the file, and a .*Expon",
    )
    restore(saved, run)


def test_parts_of_parts_are_compared(path):
    def nested(optimizer, last=lr_scheduler.ExponentialLR):
        parts = [sequential(optimizer, last), lr_scheduler.ConstantLR(optimizer)]
        return lr_scheduler.ChainedScheduler(parts)

    _, saved = saved_run(lambda it: nested(it, polynomial), path)
    refused(saved, start(nested), r"PolynomialLR\), ConstantLR\) in the file")
    restore(saved, start(lambda it: nested(it, polynomial)))


def foreign(saved):
    return {name: saved[name] for name in ("model", "optimizer", "scheduler")}


PAIRS = [
    ("StepLR", "ExponentialLR"),
    ("LinearLR", "StepLR"),
    ("OneCycleLR", "StepLR"),
    ("StepLR", "CyclicLR"),
]
PAIRS += [
    ("CosineAnnealingLR", "ReduceLROnPlateau"),
    ("SequentialLR", "ConstantLR"),
    ("StepLR", "LambdaLR"),
]


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_without_its_class_a_scheduler_is_told_by_its_settings(theirs, ours, path):
    run, saved = saved_run(theirs, path)
    for each in saved["optimizer"]["param_groups"]:
        for group in start(ours)["optimizer"].param_groups:
            each.clear()
            each.update(group | {"params": [0, 1]})
    refused(foreign(saved), start(ours), f"^scheduler is not of such a {ours}")
    restore(foreign(load(path)), run)


MALFORMED = {
    "a number": lambda saved: saved.update(scheduler=5),
    "None": lambda saved: saved.update(scheduler=None),
    "a list": lambda saved: saved.update(scheduler=[1, 2]),
    "no count of steps": lambda saved: saved["scheduler"].pop("last_epoch"),
    "no rates": lambda saved: saved["scheduler"].pop("base_lrs"),
}


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("how", MALFORMED)
def test_a_malformed_state_is_refused(how, own, path):
    run, saved = saved_run("StepLR", path)
    MALFORMED[how](saved)
    refused(saved if own else foreign(saved), run, "^scheduler")


def test_functions_that_are_objects_are_kept_with_their_settings(path):
    class Power:
        def __init__(self, base):
            self.base = base

        def __call__(self, epoch):
            return self.base**epoch

    run, saved = saved_run(lambda it: lr_scheduler.LambdaLR(it, Power(0.9)), path)
    other = start(lambda it: lr_scheduler.LambdaLR(it, Power(0.1)))
    restore(saved, other)
    assert [step(other) for _ in range(3)] == [step(run) for _ in range(3)]
