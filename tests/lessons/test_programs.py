"""The programs that lessons start: a run that stops goes on as if it had not; a lesson shows what its program does."""

import ast
import importlib
import pickle
import re
import socket
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from notebook_tools import ROOT, read

training_run = importlib.import_module("08_training_run")

# What torch 2.10 says when it saves distributed.
pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")


@pytest.fixture
def train(tmp_path, monkeypatch):
    """train(name, stops) trains 30 steps to a file, is stopped after each number of steps in stops, and returns it."""
    monkeypatch.setattr(training_run, "STEPS", 30)
    monkeypatch.setattr(training_run.time, "sleep", lambda seconds: None)

    def run(name, *stops):
        path = tmp_path / name
        for stop in (*stops, 30):
            torch.manual_seed(
                1 if stop == (*stops, 30)[0] else 2
            )  # a new process has a seed of its own
            monkeypatch.setattr(training_run, "stop_requested", False)
            monkeypatch.setattr(
                training_run, "print", stopping_at(stop, monkeypatch), raising=False
            )
            training_run.train(path)
        return torch.load(path)

    return run


def stopping_at(stop, monkeypatch):
    """A print that requests the stop when a step is printed, as SIGTERM does at any moment."""

    def report(step, **options):
        monkeypatch.setattr(training_run, "stop_requested", step >= stop)

    return report


def same(one, other):
    return one["step"] == other["step"] and all(
        torch.equal(weights, other["model"][key]) for key, weights in one["model"].items()
    )


def test_a_run_that_is_stopped_twice_ends_like_one_that_is_not(train):
    assert same(train("stopped", 7, 19), train("whole"))


def test_a_run_that_forgets_its_random_state_does_not(train, monkeypatch):
    whole = train("whole")
    monkeypatch.setattr(training_run.torch, "set_rng_state", lambda state: None)
    assert not same(train("forgetful", 7), whole)


def test_a_save_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "run.pth"
    training_run.save_atomic({"step": 1}, path)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        training_run.save_atomic({"step": lambda: 2}, path)
    assert torch.load(path) == {"step": 1}


# ---------------------------------------------------------------- 14


def functions(source):
    """{name: what it does} of the functions in a source text, without its comments and layout."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return {node.name: ast.unparse(node) for node in found}


def test_lesson_14_shows_the_functions_of_its_program():
    path = ROOT / "notebooks" / "14_distributed_checkpoints.ipynb"
    shown = {}
    for cell in read(path).cells:
        listed = re.findall(r"^```python\n(.*?)^```", cell.source, re.DOTALL | re.MULTILINE)
        if cell.cell_type == "code":
            listed = [cell.source]
        for source in listed:
            shown |= functions(source)
    program = functions((ROOT / "notebooks" / "14_sharded_run.py").read_text(encoding="utf-8"))
    shared = shown.keys() & program.keys()
    assert shared == {"build", "save", "load", "train"}
    assert {name: shown[name] for name in shared} == {name: program[name] for name in shared}


# ---------------------------------------------------------------- 15

sharded = importlib.import_module("15_training")


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def one_rank(monkeypatch):
    """This process as the only rank of a group."""
    names = [name for _, name in socket.if_nameindex()]
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo" if "lo" in names else names[0])
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def app_at(step, number=0.0):
    """A small run at a step; all its weights are the number."""
    model = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(model.weight, number)
    app = sharded.AppState(model, torch.optim.Adam(model.parameters()))
    app.step = step
    return app


def newest(folder):
    """Step and weight of what load_newest loads."""
    app = app_at(0)
    sharded.load_newest(app, folder)
    return app.step, app.model.weight[0, 0].item()


def die_at(call, module, name, monkeypatch):
    """Let the program end instead of making a call of module.name: the first (1), the second (2), …"""
    calls, real = [], getattr(getattr(sharded, module), name)

    def counted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == call:
            raise Killed
        return real(*arguments, **options)

    # Not in the module itself: DCP uses it, too.
    monkeypatch.setattr(sharded, module, SimpleNamespace(**{name: counted}))


def test_a_step_that_is_saved_again_replaces_the_old_one(one_rank, tmp_path):
    sharded.save_step(app_at(20, 0.25), tmp_path)
    sharded.save_step(app_at(20, 0.5), tmp_path)
    assert newest(tmp_path) == (20, 0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000020"]


# PyTorch says so when a complete folder is called "unfinished".
@pytest.mark.filterwarnings("ignore:Detected an existing checkpoint")
@pytest.mark.parametrize(
    ("module", "name", "call", "loaded", "left"),
    [
        ("os", "rename", 1, (20, 0.25), {"unfinished"}),
        ("os", "rename", 2, (10, 0.125), {"replaced", "unfinished"}),
        ("shutil", "rmtree", 2, (20, 0.5), {"replaced"}),
    ],
)
def test_a_run_that_dies_while_it_replaces_a_step_has_a_step_to_load(
    one_rank, tmp_path, monkeypatch, module, name, call, loaded, left
):
    sharded.save_step(app_at(10, 0.125), tmp_path)
    sharded.save_step(app_at(20, 0.25), tmp_path)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        die_at(call, module, name, patch)
        sharded.save_step(app_at(20, 0.5), tmp_path)
    assert newest(tmp_path) == loaded
    found = {path.name for path in tmp_path.iterdir()}
    assert {name for name in found if not name.startswith("step-")} == left
    assert all((tmp_path / name / ".metadata").exists() for name in found)
    sharded.save_step(app_at(20, 0.75), tmp_path)  # the next start gets by what was left
    assert newest(tmp_path) == (20, 0.75)
    assert {path.name for path in tmp_path.iterdir()} == {"step-000010", "step-000020"}


def test_a_save_in_the_background_holds_the_weights_of_its_step(one_rank, tmp_path, monkeypatch):
    images = torch.randint(256, (64 * 30, 28, 28), dtype=torch.uint8)
    data = images, torch.randint(10, (len(images),))
    monkeypatch.setattr(sharded.helper, "fashion_mnist", lambda *, train: data)
    weights = {}
    for mode in ("", "background"):
        torch.manual_seed(1)
        model = torch.nn.Sequential(torch.nn.Linear(784, 10), torch.nn.LogSoftmax(1))
        app = sharded.AppState(model, torch.optim.Adam(model.parameters()))
        (tmp_path / mode).mkdir(exist_ok=True)
        sharded.train(app, tmp_path / mode, 30, mode)
        for step in (10, 20, 30):
            found = {"app": {"model": app.model.state_dict()}}
            sharded.dcp.load(found, checkpoint_id=tmp_path / mode / f"step-{step:06}")
            weights[mode, step] = app.model[0].weight.detach().clone()
    for step in (10, 20, 30):
        assert torch.equal(weights["", step], weights["background", step])
    assert not torch.equal(weights["", 10], weights["", 20])
