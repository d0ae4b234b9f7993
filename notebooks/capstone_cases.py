"""Forty cases for save, load and resume of a training run, and a judge of what comes of each.

A case is a function of a module with these three functions and of an empty folder. It returns if
they pass, and raises Fault, or whatever they raise, if they fail. STEPS names the cases.
The damage, the kills and the small disks are those of benchmarks/faults.py.
"""

import contextlib
import importlib.util
import os
import random
import sys
import textwrap
import time
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import faults

NAME = "friday.pt"  # of the file: no error of torch says it by chance
FLIPS, CUTS, KILLS = 100, 20, 10


class Fault(Exception):
    """A case has failed; the text says why."""


def shown(error, folder):
    """An error and its text in one line, without the path of a folder."""
    text = str(error).rpartition("WeightsUnpickler error: ")[2]  # behind torch.load's long advice
    text = f"{type(error).__name__}: {text}"
    for part in (f"{folder}{os.sep}", "\x1b[1m", "\x1b[0m"):  # torch writes a part of it in bold
        text = text.replace(part, "")
    return textwrap.shorten(text, 300, placeholder=" …")


def module_of(path):
    """The module in a file, imported anew."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("save", "load", "resume"):
        if not callable(getattr(module, name, None)):
            raise Fault(f"{Path(path).name} has no function {name}")
    return module


# ---------------------------------------------------------------- runs to save


class Tied(nn.Module):
    """Two layers that share one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)
        self.last.weight = self.first.weight

    def forward(self, x):
        return self.last(self.first(x).relu())


class EarlyStopping:
    """A piece that is no module. It draws a random number when it is loaded, as some loaders do."""

    def __init__(self):
        self.best, self.waited = float("inf"), 0

    def step(self, loss):
        self.waited = 0 if loss < self.best else self.waited + 1
        self.best = min(self.best, loss)

    def state_dict(self):
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state):
        self.best, self.waited = state["best"], state["waited"]
        torch.rand(1)


def network(*sizes):
    """Linear layers with ReLU and dropout between them."""
    layers = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(0.25)]
    return nn.Sequential(*layers[:-2])


def seed_all(seed):
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def new_run(seed, width=16, make=torch.optim.Adam, **options):
    """A run at its start: the pieces have names that nobody guesses."""
    seed_all(seed)
    net = network(8, width, width, 3)
    adam = make(net.parameters(), **{"lr": 0.01} | options)
    plan = torch.optim.lr_scheduler.StepLR(adam, step_size=2, gamma=0.5)
    return {
        "tower": net,
        "mover": adam,
        "rhythm": plan,
        "epoch": 0,
        "classes": [f"class {seed}", "bag"],
    }


def train(state, epochs, noise=lambda: 0.0):
    """Train on 64 samples in batches of 16; return all losses. noise is added to each batch."""
    fixed = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 8, generator=fixed), torch.randint(3, (64,), generator=fixed)
    losses = []
    for _ in range(epochs):
        order = torch.arange(64)
        if "order" in state:
            order = torch.randperm(64, generator=state["order"])
        for batch in order.split(16):
            answers = state["tower"](x[batch] + noise())
            loss = nn.functional.cross_entropy(answers, y[batch])
            state["mover"].zero_grad()
            loss.backward()
            state["mover"].step()
            losses.append(loss.item())
            if "average" in state:
                state["average"].update_parameters(state["tower"])
            if "stopping" in state:
                state["stopping"].step(loss.item())
        state["rhythm"].step()
        state["epoch"] += 1
    return losses


def trained_run(seed, width=16):
    state = new_run(seed, width)
    train(state, 1)
    return state


# ---------------------------------------------------------------- judges


def resumed(my, saved, state):
    """The state after resume, with the plain values that it has given back."""
    rest = my.resume(saved, state)
    if not isinstance(rest, dict):
        raise Fault(f"resume must return the plain values in a dict, and returned {rest!r:.60}")
    return state | rest


def compare(found, expected):
    """Raise Fault at the first part that is not, to the bit, what was saved."""
    for name, value in expected.items():
        if name not in found:
            raise Fault(f"{name} did not come back")
        if not faults.same(faults.content(found[name]), value):
            raise Fault(f"{name} came back as something else")
    if extra := found.keys() - expected.keys():
        raise Fault(f"resume returned what nobody saved: {sorted(extra)}")


def comes_back(my, folder, state, fresh):
    """Save a state, resume it into fresh pieces, and compare."""
    expected = faults.contents(state)
    my.save(state, folder / NAME)
    compare(resumed(my, my.load(folder / NAME), fresh), expected)


def is_refused(my, folder, kept, state, name, kind=Exception):
    """Save what is kept, and resume it into a state that does not fit: an error names the piece."""
    my.save(kept, folder / NAME)
    saved, before, numbers = my.load(folder / NAME), faults.contents(state), random_states()
    try:
        my.resume(saved, state)
    except kind as error:
        if not faults.holds(state, before):
            raise Fault("an error, but some pieces had changed already") from None
        if not faults.same(random_states(), numbers):
            raise Fault("an error, but the random states had changed already") from None
        must_name(name, error, state, folder)
    else:
        raise Fault("no error, although it does not fit")


def must_name(name, error, state, folder):
    """The text of an error has to name one piece, and none of those that fit."""
    text = str(error)
    if name not in text:
        raise Fault(f"the error does not name {name!r}: {shown(error, folder)}") from None
    others = {"tower", "mover", "rhythm"} & state.keys() - {name}
    if wrong := [each for each in sorted(others) if each in text]:
        raise Fault(f"the error names {wrong}, too, which fit: {shown(error, folder)}") from None


def random_states():
    return [torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()]


def is_not_saved(my, folder, value, name):
    """Save a value that torch.load would refuse: an error names it, and the old file is there."""
    old = trained_run(0)
    my.save(old, folder / NAME)
    try:
        my.save(trained_run(1) | {"extra": value}, folder / NAME)
    except Exception as error:
        if name not in str(error):
            raise Fault(f"the error does not name {name!r}: {shown(error, folder)}") from None
    else:
        raise Fault("no error, although it is no plain value")
    must_be(my, folder / NAME, faults.contents(old))


def goes_on(my, folder, make, noise=lambda: 0.0):
    """Train, save, train on; resume into a fresh run, train on: the same losses, and states."""
    state = make(0)
    train(state, 2, noise)
    my.save(state, folder / NAME)
    losses, expected = train(state, 3, noise), faults.contents(state)
    fresh = resumed(my, my.load(folder / NAME), make(1000))
    same_losses(train(fresh, 3, noise), losses)
    compare(fresh, expected)


def same_losses(found, expected):
    pairs = enumerate(zip(found, expected), start=1)
    if wrong := [number for number, (a, b) in pairs if a != b]:
        raise Fault(f"the loss of batch {wrong[0]} is not that of a run without a stop")


def outcome(my, path, *expected, width=16):
    """What comes of loading: "the same", "refused", "late", "half" or "wrong"."""
    fresh, came_to = new_run(1000, width), "refused"
    before = faults.contents(fresh)
    try:
        saved = my.load(path)
        came_to = "late"
        fresh |= resumed(my, saved, fresh)
    except Exception:
        return came_to if faults.holds(fresh, before) else "half"
    return "the same" if any(faults.holds(fresh, each) for each in expected) else "wrong"


SAID = {
    "half": "an error, but some pieces had changed already",
    "wrong": "no error, and something else came back",
    "late": "load raised no error, and only resume did",
    "refused": "neither the old nor the new can be loaded",
    "the same": "no error",
}


def must_be(my, path, *expected, width=16):
    """What is at path must be one of the expected contents."""
    if (came_to := outcome(my, path, *expected, width=width)) != "the same":
        raise Fault(SAID[came_to])


def must_all_hold(outcomes, good):
    """Raise Fault with the first that came to something else."""
    if bad := [came_to for came_to in outcomes if came_to not in good]:
        raise Fault(f"at least once: {SAID[bad[0]]}")


# ---------------------------------------------------------------- step 1: it comes back


def batch_norm(my, folder):
    def make(seed):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        net(torch.randn(8, 4))
        return {"tower": net}

    comes_back(my, folder, make(0), make(1))


def tied_weights(my, folder):
    state, fresh = {"tower": Tied()}, {"tower": Tied()}
    comes_back(my, folder, state, fresh)
    if fresh["tower"].last.weight is not fresh["tower"].first.weight:
        raise Fault("the two layers do not share their weight any more")


def half_precision(my, folder):
    comes_back(my, folder, *({"tower": network(4, 4, 3).bfloat16()} for _ in range(2)))


def on_a_card(my, folder):
    """The file says that its tensors were on a card; here there may be none."""
    state, fresh = {"tower": network(4, 4, 3)}, {"tower": network(4, 4, 3)}
    with mock.patch("torch.serialization.location_tag", return_value="cuda:0"):
        my.save(state, folder / NAME)
    compare(resumed(my, my.load(folder / NAME), fresh), faults.contents(state))


def with_values(**values):
    def case(my, folder):
        comes_back(my, folder, {"tower": network(4, 3)} | values, {"tower": network(4, 3)})

    return case


def with_parts(*names):
    def case(my, folder):
        state, fresh = trained_run(0), new_run(1)
        state["order"], fresh["order"] = torch.Generator().manual_seed(5), torch.Generator()
        comes_back(my, folder, *({name: run[name] for name in names} for run in (state, fresh)))

    return case


# ---------------------------------------------------------------- step 2: it fits


def part_missing(my, folder):
    kept = trained_run(0)
    del kept["rhythm"]
    is_refused(my, folder, kept, new_run(1), "rhythm")


def part_left_over(my, folder):
    state = new_run(1)
    del state["rhythm"]
    is_refused(my, folder, trained_run(0), state, "rhythm")


def interrupted(my, folder):
    """Ctrl-C while the last piece takes its state: it has to come out, and names nothing."""
    kept, state = (run | {"stopping": EarlyStopping()} for run in (trained_run(0), new_run(1)))
    with mock.patch.object(EarlyStopping, "load_state_dict", side_effect=[KeyboardInterrupt, None]):
        is_refused(my, folder, kept, state, "", KeyboardInterrupt)


def other_sizes(my, folder):
    is_refused(my, folder, *({"tower": network(8, 4, last)} for last in (3, 5)), "tower")


def other_layers(my, folder):
    is_refused(my, folder, {"tower": network(8, 4, 4)}, {"tower": network(8, 4, 4, 4)}, "tower")


def other_optimizer(my, folder):
    kept = new_run(0, make=torch.optim.SGD, momentum=0.9)
    train(kept, 1)
    is_refused(my, folder, kept, new_run(1), "mover")


def other_parameters(my, folder):
    state = new_run(1)
    state["mover"] = torch.optim.Adam(state["tower"][0].parameters(), lr=0.01)
    state["rhythm"] = torch.optim.lr_scheduler.StepLR(state["mover"], step_size=2, gamma=0.5)
    is_refused(my, folder, trained_run(0), state, "mover")


def other_scheduler(my, folder):
    state = new_run(1)
    state["rhythm"] = torch.optim.lr_scheduler.ExponentialLR(state["mover"], gamma=0.5)
    is_refused(my, folder, trained_run(0), state, "rhythm")


def numpy_number(my, folder):
    is_not_saved(my, folder, {"loss": [np.float64(0.5)]}, "loss")


def own_class(my, folder):
    is_not_saved(my, folder, {"path": folder}, "path")


# ---------------------------------------------------------------- step 3: it goes on


def torch_numbers(my, folder):
    """Dropout draws them, and so does a piece while it is loaded: they have to come back last."""
    goes_on(my, folder, lambda seed: new_run(seed) | {"stopping": EarlyStopping()})


def python_numbers(my, folder):
    """Every second call of gauss draws two numbers and keeps one: it waits in the state."""

    def make(seed):
        return without_dropout(seed) | {"first": random.gauss(0, 1)}

    goes_on(my, folder, make, lambda: random.gauss(0, 1))


def numpy_numbers(my, folder):
    def make(seed):
        return without_dropout(seed) | {"first": float(np.random.randn())}

    goes_on(my, folder, make, lambda: float(np.random.randn()))


def own_generator(my, folder):
    def make(seed):
        return without_dropout(seed) | {"order": torch.Generator().manual_seed(seed)}

    goes_on(my, folder, make)


def without_dropout(seed):
    state = new_run(seed)
    state["tower"].eval()
    return state


def adam_with_plan(my, folder):
    """The state of a MultiStepLR holds a Counter."""

    def make(seed):
        state = without_dropout(seed)
        plan = torch.optim.lr_scheduler.MultiStepLR(state["mover"], milestones=[1, 3])
        return state | {"rhythm": plan}

    goes_on(my, folder, make)


def sgd_with_groups(my, folder):
    def make(seed):
        state = without_dropout(seed)
        first, *others = state["tower"].children()
        groups = [{"params": first.parameters(), "lr": 0.1}]
        groups += [{"params": nn.ModuleList(others).parameters(), "lr": 0.01}]
        state["mover"] = torch.optim.SGD(groups, momentum=0.9)
        rates = {"max_lr": [0.2, 0.05], "total_steps": 5}
        state["rhythm"] = torch.optim.lr_scheduler.OneCycleLR(state["mover"], **rates)
        return state

    goes_on(my, folder, make)


def average(my, folder):
    def make(seed):
        state = without_dropout(seed)
        return state | {"average": torch.optim.swa_utils.AveragedModel(state["tower"])}

    goes_on(my, folder, make)


def early_stopping(my, folder):
    goes_on(my, folder, lambda seed: without_dropout(seed) | {"stopping": EarlyStopping()})


def saving_disturbs(my, folder):
    """A run that saves after each epoch, beside one that never saves."""
    losses = train(new_run(0), 4, random.random)
    saving, found = new_run(0), []
    for _ in range(4):
        found += train(saving, 1, random.random)
        my.save(saving, folder / NAME)
    same_losses(found, losses)


def resumed_twice(my, folder):
    """Two runs from one call of load: the first must not change what the second gets."""
    my.save(trained_run(0), folder / NAME)
    saved = my.load(folder / NAME)
    first = train(resumed(my, saved, new_run(1)), 3)
    same_losses(train(resumed(my, saved, new_run(2)), 3), first)


# ---------------------------------------------------------------- step 4: it survives


def killed(my, folder):
    """Kill a process that saves two runs of 0.5 MB in turn, again and again at a random moment."""
    states, path, choose = [trained_run(i, 200) for i in range(2)], folder / NAME, random.Random(0)
    functions = faults.Functions("yours", my.save, my.load, my.resume)
    began = time.perf_counter()
    my.save(states[0], path)
    seconds, outcomes = time.perf_counter() - began, []
    for _ in range(KILLS):
        moment = choose.uniform(0, 3 * seconds)
        epoch = faults.save_until_killed(functions, states, path, moment)
        pair = [faults.contents(states[i % 2] | {"epoch": i}) for i in (epoch, epoch + 1)]
        outcomes.append(outcome(my, path, *pair, width=200))
    must_all_hold(outcomes, ["the same"])


def left_by_a_kill(my, folder):
    """Die right before a file gets its name: the old one must be there, and later nothing more."""
    state, path = trained_run(0), folder / NAME
    for _ in range(2):
        my.save(state, path)
    before = set(folder.iterdir())
    if (child := faults.fork()) == 0:
        with mock.patch.multiple(os, replace=die, rename=die):
            my.save(state, path)
        die()
    os.waitpid(child, 0)
    must_be(my, path, faults.contents(state))
    my.save(state, path)
    if left := set(folder.iterdir()) - before:
        raise Fault(f"{sorted(each.name for each in left)} lies there for ever")


def die(*_, **__):
    os._exit(1)


def on_a_full_disk(my, folder):
    """Save a run of 4 MB over one of 20 KB on a disk of less than 1 MB; yields each old state."""
    old, large = trained_run(0), trained_run(1, 600)
    for size in (800_000, 200_000):
        path = folder / str(size) / NAME
        path.parent.mkdir()
        faults.make_small(path.parent, size)
        my.save(old, path)
        before = set(path.parent.iterdir())
        try:
            my.save(large, path)
        except Exception:
            yield path, faults.contents(old), before
        else:
            raise Fault("no error, although the disk is full")


def full_disk(my, folder):
    for path, expected, _ in on_a_full_disk(my, folder):
        must_be(my, path, expected)


def left_by_a_full_disk(my, folder):
    for path, _, before in on_a_full_disk(my, folder):
        if left := set(path.parent.iterdir()) - before:
            raise Fault(f"{sorted(each.name for each in left)} still fills the disk")


def power_cut(my, folder):
    """At the rename, and after the save, only what fsync has forced to the disk is really there."""
    path, on_disk, early = folder / NAME, {}, []

    def keep(file):
        forced = os.fstat(file if isinstance(file, int) else file.fileno())
        for each in folder.rglob("*"):
            if each.is_file() and os.path.samestat(each.stat(), forced):
                on_disk[forced.st_ino] = each.read_bytes()

    def rename(source, target, rename=os.replace, **options):
        early.extend(
            each for each, data in faults.files_of(Path(source)).items() if lost(each, data)
        )
        rename(source, target, **options)

    def lost(file, data):
        return on_disk.get(file.stat().st_ino) != data

    names = {name: keep for name in ("fsync", "fdatasync") if hasattr(os, name)}
    with mock.patch.multiple(os, replace=rename, rename=rename, **names):
        my = module_of(my.__file__)  # it may write `from os import fsync`
        my.save(trained_run(0), path)
        my.save(trained_run(1), path)
    if early or any(lost(file, data) for file, data in faults.files_of(path).items()):
        raise Fault("a file gets its name before an fsync has forced its bytes to the disk")


def damaged(my, folder, spoil, count):
    """What comes of count files, each damaged by spoil(bytes, random)."""
    state, path, choose, outcomes = trained_run(0), folder / NAME, random.Random(0), []
    my.save(state, path)
    expected, files = faults.contents(state), faults.files_of(path)
    must_be(my, path, expected)
    for _ in range(count):
        position = choose.randrange(sum(map(len, files.values())))
        file, offset = faults.place(files, position)
        faults.spoil(files, file, spoil(files[file], offset, choose))
        outcomes.append(outcome(my, path, expected))
    return outcomes


def flipped(my, folder):
    def spoil(data, offset, choose):
        return data[:offset] + bytes([data[offset] ^ 1 << choose.randrange(8)]) + data[offset + 1 :]

    must_all_hold(damaged(my, folder, spoil, FLIPS), ["the same", "refused"])


def cut_short(my, folder):
    outcomes = damaged(my, folder, lambda data, offset, _: data[:offset], CUTS)
    must_all_hold(outcomes, ["refused"])


def names_the_file(my, folder):
    damaged(my, folder, lambda data, offset, _: data[:offset], 1)
    try:
        resumed(my, my.load(folder / NAME), new_run(1))
    except Exception as error:
        if NAME not in str(error):
            raise Fault(f"the error does not name the file: {shown(error, folder)}") from None
    else:
        raise Fault("no error")


def replaced(my, folder, kinds):
    """What comes of each kind of file in the place of the checkpoint, and whether code was run."""
    path, flag, outcomes = folder / NAME, folder / "flag", []
    my.save(trained_run(0), path)
    must_be(my, path, faults.contents(trained_run(0)))
    files = faults.files_of(path)
    for write in kinds.values():
        for file in files:
            faults.spoil(files, file, write(flag))
            outcomes.append(outcome(my, path))
    if flag.exists():
        raise Fault("code from the file was run")
    must_all_hold(outcomes, ["refused", "late"])


def other_kinds(my, folder):
    replaced(my, folder, faults.WRONG_FILES)


def hostile(my, folder):
    """The last one is written by save itself, whose torch.save gets something hostile to write."""
    replaced(my, folder, faults.HOSTILE_FILES)
    flag, real = folder / "flag", torch.save

    def write(value, file, *arguments, **options):
        real(faults.PAYLOADS["eval"](flag), file, *arguments, **options)

    with mock.patch("torch.save", write), contextlib.suppress(Exception):
        my = module_of(my.__file__)
        my.save(trained_run(1), folder / NAME)
        my.load(folder / NAME)
    if flag.exists():
        raise Fault("code from the file was run")


# ---------------------------------------------------------------- the cases


TEXT = {"loss": 0.25, "best": None, "name": "boot", "done": True}
NESTED = {"history": [(1, 0.5), (2, 0.25)], "names": {0: "bag", 1: "boot"}}
TENSORS = {"mean": torch.tensor([0.5, 0.25]), "counts": torch.tensor([3, 4])}
STEPS = {
    "it comes back": {
        "any model": {
            "batch norm": batch_norm,
            "tied weights": tied_weights,
            "bfloat16": half_precision,
            "saved on a graphics card": on_a_card,
        },
        "plain values": {
            "numbers, text and None": with_values(**TEXT),
            "tuples, and keys that are numbers": with_values(**NESTED),
            "tensors": with_values(**TENSORS),
        },
        "kinds of piece": {
            "an optimizer": with_parts("tower", "mover"),
            "a scheduler": with_parts("tower", "mover", "rhythm"),
            "a generator": with_parts("tower", "order"),
        },
    },
    "it fits": {
        "missing pieces": {
            "a piece that the file lacks": part_missing,
            "a piece that only the file has": part_left_over,
        },
        "another network": {
            "another size": other_sizes,
            "one layer more": other_layers,
        },
        "another optimizer": {
            "SGD's state for Adam": other_optimizer,
            "fewer parameters": other_parameters,
            "another scheduler": other_scheduler,
        },
        "an interruption": {"Ctrl-C in the middle": interrupted},
        "what cannot be loaded": {
            "a NumPy number": numpy_number,
            "a Path": own_class,
        },
    },
    "it goes on": {
        "random numbers": {
            "torch's numbers": torch_numbers,
            "Python's numbers": python_numbers,
            "NumPy's numbers": numpy_numbers,
            "a generator's numbers": own_generator,
        },
        "optimizers": {
            "Adam and MultiStepLR": adam_with_plan,
            "SGD with two groups, OneCycleLR": sgd_with_groups,
        },
        "pieces of other kinds": {
            "an average of the weights": average,
            "a class of your own": early_stopping,
        },
        "what must not change": {
            "the run that saves": saving_disturbs,
            "two runs from one load": resumed_twice,
        },
    },
    "it survives": {
        "a kill": {
            f"killed {KILLS} times": killed,
            "what a kill leaves": left_by_a_kill,
        },
        "a full disk": {
            "the old file on a full disk": full_disk,
            "what a full disk leaves": left_by_a_full_disk,
        },
        "a power cut": {"the power fails after a save": power_cut},
        "damage": {
            f"{FLIPS} flipped bits": flipped,
            f"{CUTS} files cut short": cut_short,
            "the error names the file": names_the_file,
        },
        "another file": {
            f"{len(faults.WRONG_FILES)} files of other kinds": other_kinds,
            f"{len(faults.HOSTILE_FILES) + 1} hostile files": hostile,
        },
    },
}
