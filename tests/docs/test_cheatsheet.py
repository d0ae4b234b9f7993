"""The cheat sheet: every line of code does what it is there for, every error comes and goes, and one page holds it."""

import ast
import inspect
import os
import pickle
import re
import sys
import types
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from checkpoint_tools import make_model, same
from torch.utils.data import DataLoader, TensorDataset

import checkpoints
import fc_model

ROOT = Path(__file__).resolve().parents[2]
SHEET = ROOT / "docs" / "cheatsheet.md"
TEXT = SHEET.read_text(encoding="utf-8")
SIZES = (784, 512, 256, 128, 10)
HEAD = ["output.weight", "output.bias"]
PROJECT = {"checkpoints": checkpoints, "fc_model": fc_model}


# ---------------------------------------------------------------- the code blocks


@dataclass
class Ran:
    """What a block left: the names, each model that it bound, the values of its bare expressions."""

    names: dict
    models: list = field(default_factory=list)
    values: list = field(default_factory=list)

    def __getattr__(self, name):
        try:
            return self.names[name]
        except KeyError:
            raise AttributeError(name) from None


def blocks(text):
    """Return (section, number within it, code) of each Python block, in order."""
    found = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        codes = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        found += [
            (section.partition("\n")[0], number, code) for number, code in enumerate(codes, start=1)
        ]
    return found


def execute(code, names, where="code of the sheet"):
    """Run code statement by statement among names; the model that was there before is the first of the models."""
    ran = Ran(names, [names["model"]] if "model" in names else [])
    for statement in ast.parse(code, where).body:
        if isinstance(statement, ast.Expr):
            ran.values.append(eval(compile(ast.Expression(statement.value), where, "eval"), names))
        else:
            exec(compile(ast.Module([statement], []), where, "exec"), names)
        if "model" in names and names["model"] not in ran.models:
            ran.models.append(names["model"])
    return ran


def pieces(seed):
    """Return the names that the sheet takes for granted: the pieces of a training run, untrained."""
    model = make_model(*SIZES, seed=seed, drop_p=0.2).train()
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    generator = torch.Generator().manual_seed(seed)
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler, "generator": generator}


def train_epoch(names):
    """Train the pieces among names for an epoch that draws on dropout, shuffling and the learning rate."""
    draw = torch.Generator().manual_seed(0)
    data = TensorDataset(
        torch.rand(24, 784, generator=draw), torch.randint(10, (24,), generator=draw)
    )
    for images, labels in DataLoader(data, 8, shuffle=True, generator=names["generator"]):
        names["optimizer"].zero_grad()
        F.nll_loss(names["model"](images), labels).backward()
        names["optimizer"].step()
    if names["scheduler"]:
        names["scheduler"].step()


def trained(names):
    """Return a copy of the weights after two more epochs: the scheduler has changed the learning rate between them."""
    for _ in range(2):
        train_epoch(names)
    return weights(names["model"])


def weights(model):
    return {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}


def in_eval_mode(model):
    return not any(module.training for module in model.modules())


def start(names):
    """A run whose first epoch, number 0, is done."""
    names.update(pieces(seed=1), epoch=0)
    train_epoch(names)


def after_save(ran):
    expected = weights(ran.model)
    assert same(dict(torch.load("model.pth")), expected) and same(dict(ran.best), expected)
    assert same(weights(torch.load("whole.pth", weights_only=False)), expected)
    assert same(dict(checkpoints.load("net.pth")["state_dict"]), expected)
    # The next step of training changes what is alive, and not the copy. The files stand still anyhow.
    alive = ran.model.state_dict()
    train_epoch(ran.names)
    assert not same(dict(alive), expected) and same(dict(ran.best), expected)
    before = Path("net.pth").read_bytes()
    with torch.no_grad():
        ran.model.output.bias[0] = torch.nan
    with pytest.raises(fc_model.CheckpointError):
        fc_model.save_checkpoint(ran.model, "net.pth")
    assert Path("net.pth").read_bytes() == before


def after_load(ran):
    from_state_dict, from_checkpoint, whole = ran.models[1:]
    expected = dict(torch.load("model.pth"))
    assert all(
        same(weights(model), expected) for model in (from_state_dict, from_checkpoint, whole)
    )
    assert in_eval_mode(from_state_dict) and in_eval_mode(from_checkpoint)
    assert from_checkpoint.dropout.p == whole.dropout.p == 0.2
    assert not callable(from_state_dict.load_state_dict(expected))


def after_large(ran):
    assert same(weights(ran.model), dict(torch.load("model.pth"))) and in_eval_mode(ran.model)
    if sys.platform == "linux":
        lines = [
            line.split()
            for line in Path("/proc/self/maps").read_text().splitlines()
            if "model.pth" in line
        ]
        mapped = [tuple(int(end, 16) for end in line[0].split("-")) for line in lines]
        for tensor in ran.state_dict.values():
            assert any(first <= tensor.data_ptr() < last for first, last in mapped), (
                "not read from the mapped file"
            )
    for key, parameter in ran.model.named_parameters():
        assert parameter.requires_grad and parameter.data_ptr() == ran.state_dict[key].data_ptr(), (
            f"{key} is a copy"
        )
    # An optimizer made before would hold the old parameters.
    old = set(ran.model.parameters())
    ran.model.load_state_dict(ran.state_dict, assign=True)
    assert old.isdisjoint(ran.model.parameters())


def before_save_of_run(names):
    start(names)


def after_save_of_run(ran):
    ran.names["expected"] = trained(ran.names)
    # Another process: the pieces as they were made, with other numbers.
    ran.names.update(
        {name: piece for name, piece in pieces(seed=2).items() if ran.names[name] is not None}
    )
    torch.manual_seed(2)


def after_resume(ran):
    assert ran.first_epoch == 1 and ran.model.training
    assert same(trained(ran.names), ran.expected)


def before_save_of_checkpoint(names):
    start(names)
    names.update(
        scheduler=None, generator=None
    )  # the block does without: the global random numbers shuffle


def after_devices(ran):
    assert all(tensor.device == torch.device("cpu") for tensor in ran.state_dict.values())
    assert {parameter.device.type for parameter in ran.model.parameters()} == {ran.device}
    assert all(tensor.is_meta for tensor in ran.look.values())
    assert {key: tensor.shape for key, tensor in ran.look.items()} == {
        key: tensor.shape for key, tensor in ran.state_dict.items()
    }


def after_partial(ran):
    (model,) = ran.models[1:]
    difference = checkpoints.diff(model, ran.old)
    assert (
        list(difference.shapes) == ran.report.missing_keys == HEAD
        and model.output.out_features == 3
    )
    assert same({**weights(model), **{key: ran.old[key] for key in HEAD}}, dict(ran.old))
    assert [key for key, parameter in model.named_parameters() if parameter.requires_grad] == HEAD
    # The load that raises: what fitted has been overwritten.
    half = fc_model.Network(784, 3, [512, 256, 128])
    with pytest.raises(RuntimeError, match="size mismatch"):
        half.load_state_dict(ran.old)
    assert torch.equal(half.hidden_layers[0].weight, ran.old["hidden_layers.0.weight"])
    assert all(key.startswith("module.") for key in ran.wrapped) and same(ran.plain, weights(model))


def after_safe(ran):
    (listed,) = [value for value in ran.values if isinstance(value, list)]
    assert sorted(listed) == sorted(f"{each.__module__}.{each.__name__}" for each in ran.known)
    assert same(weights(ran.model), dict(torch.load("model.pth")))
    assert isinstance(ran.values[-1], fc_model.Network)
    # The list holds only within the with, and needs each name.
    for known in ([], ran.known[1:]):
        with (
            torch.serialization.safe_globals(known),
            pytest.raises(Exception, match="Weights only load failed"),
        ):
            torch.load("whole.pth")
    # One flipped bit in the numbers: torch.load is content, the two checks are not.
    for name in ("model.pth", "net.pth"):
        content = bytearray(Path(name).read_bytes())
        content[content.index(weights(ran.model)["output.bias"].numpy().tobytes())] ^= 1
        Path(f"damaged_{name}").write_bytes(content)
        torch.load(f"damaged_{name}")
    assert zipfile.ZipFile("damaged_model.pth").testzip() is not None
    with pytest.raises(fc_model.CheckpointError, match="damaged"):
        fc_model.load_checkpoint("damaged_net.pth")


BEFORE = {
    ("Save", 1): start,
    ("Resume", 1): before_save_of_run,
    ("Resume", 3): before_save_of_checkpoint,
}
AFTER = {
    ("Save", 1): after_save,
    ("Load", 1): after_load,
    ("Large files", 1): after_large,
    ("Resume", 1): after_save_of_run,
    ("Resume", 2): after_resume,
    ("Resume", 3): after_save_of_run,
    ("Resume", 4): after_resume,
    ("Devices", 1): after_devices,
    ("Partial load", 1): after_partial,
    ("Safe loading", 1): after_safe,
}


def run_sheet(text):
    """Run all blocks in one namespace in the current folder, and look after each what came of it; return the names."""
    found = blocks(text)
    assert [(section, number) for section, number, _ in found] == list(AFTER), (
        "a block without a check, or the reverse"
    )
    assert text.count("```") == 2 * len(found), "a block that is not marked as Python"
    names = {"__name__": "sheet"}
    for section, number, code in found:
        BEFORE.get((section, number), lambda names: None)(names)
        AFTER[section, number](execute(code, names, f"block {number} of {section}"))
    return names


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory, and random numbers that are given back."""
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng(devices=[]):
        yield tmp_path


def test_every_block_runs_and_does_what_it_is_there_for(folder, capsys):
    run_sheet(TEXT)
    printed = capsys.readouterr().out
    assert "output.weight  (3, 128)  (10, 128)" in printed and str(HEAD) in printed


def test_a_scheduler_and_a_generator_go_into_both_calls(folder):
    names = {}
    start(names)
    given = {name: names[name] for name in ("optimizer", "scheduler", "generator")}
    fc_model.save_checkpoint(names["model"], "last.pth", epoch=names["epoch"], **given)
    expected = trained(names)
    names.update(pieces(seed=2))
    run = checkpoints.load("last.pth")
    again = {"state_dict": names["model"]} | {name: names[name] for name in given}
    assert checkpoints.restore(run, again)["epoch"] == 0
    assert same(trained(names), expected)


REPORT = "model.load_state_dict(state_dict)  #"
SPOILED = {
    "a keyword that does not exist": ("assign=True)\nmodel", "asign=True)\nmodel", TypeError),
    "a file that does not exist": (
        'torch.load("model.pth")  #',
        'torch.load("modle.pth")  #',
        FileNotFoundError,
    ),
    "the report for a model": (REPORT, f"model = {REPORT}", AttributeError),
    "no eval mode": ("model.eval()  #", "model  #", AssertionError),
    "no copy": ("copy.deepcopy(model.state_dict())", "model.state_dict()", AssertionError),
    "not assigned": ("state_dict, assign=True", "state_dict", UserWarning),
    "not mapped": (", mmap=True", "", AssertionError),
    "the random state forgotten": ('torch.set_rng_state(run["random"])', "", AssertionError),
    "the shuffling forgotten": ('generator.set_state(run["loader"])', "", AssertionError),
    "the scheduler forgotten": ('scheduler.load_state_dict(run["scheduler"])', "", AssertionError),
    "strict": ("strict=False)", "strict=True)", RuntimeError),
    "another prefix": ('removeprefix("module.")', 'removeprefix("modul.")', RuntimeError),
    "a class not allowed": (
        "ModuleList, Linear, Dropout]",
        "ModuleList, Linear]",
        pickle.UnpicklingError,
    ),
    "a block too many": ("## Load\n", "## Load\n\n```python\nmodel\n```\n", AssertionError),
    "a block that is not Python": (
        "```python\nimport zipfile",
        "```\nimport zipfile",
        AssertionError,
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_block_fails(name, folder):
    sound, spoiled, error = SPOILED[name]
    assert TEXT.count(sound) == 1
    with pytest.raises(error):
        run_sheet(TEXT.replace(sound, spoiled))


def test_code_in_the_text_is_what_there_is():
    """A keyword is one that torch.load or load_state_dict knows, all else has a value."""
    text = re.sub(
        r"^```python\n.*?^```$",
        "",
        TEXT.partition("## Ten errors")[0],
        flags=re.MULTILINE | re.DOTALL,
    )
    known = {
        *inspect.signature(torch.load).parameters,
        *inspect.signature(torch.nn.Module.load_state_dict).parameters,
    }
    found = spans(text)
    assert len(found) > 5
    for code in found:
        keyword = re.fullmatch(r"(\w+)=(True|False)", code)
        assert keyword[1] in known if keyword else eval(code, {"torch": torch, **PROJECT}), code


# ---------------------------------------------------------------- the ten errors


def errors(text):
    """Return the rows of the table of errors: a list of three cells each."""
    rows = [
        re.split(r"\s*\|\s*", line)[1:-1]
        for line in text.partition("## Ten errors")[2].splitlines()
        if line.startswith("|")
    ]
    assert rows[0] == ["what you see", "cause", "way out"] and set(rows[1]) == {"---"}
    assert all(len(row) == 3 for row in rows)
    return rows[2:]


def spans(cell):
    return re.findall(r"`([^`]+)`", cell)


def saved(thing):
    torch.save(thing, "it.pth")
    return {"path": "it.pth"}


def weights_only():
    return saved(make_model(*SIZES))


def old_net():
    """A whole model of a module that bears another name when it is loaded."""
    old, new = types.ModuleType("old_net"), types.ModuleType("new_net")
    for module in (old, new):
        exec("import torch\nclass Net(torch.nn.Linear):\n    pass", vars(module))
    sys.modules["old_net"] = old
    names = saved(old.Net(2, 1))
    del sys.modules["old_net"]
    return {**names, "new_net": new}


def old_net_helped(names, values):
    model = torch.load("it.pth", weights_only=False)
    assert type(model) is names["new_net"].Net
    saved(model.state_dict())
    del sys.modules["old_net"]
    names["new_net"].Net(2, 1).load_state_dict(torch.load("it.pth"))


def model_beside_state_dict():
    return {**saved(make_model(*SIZES).state_dict()), "model": make_model(*SIZES, seed=1)}


def model_helped(names, values):
    assert same(weights(names["model"]), weights(make_model(*SIZES)))
    names["model"](torch.rand(1, 784))


def other_sizes():
    return {**saved(make_model(*SIZES).state_dict()), "model": make_model(784, 512, 64, 128, 10)}


def other_sizes_helped(names, values):
    rows = [line.split("  ") for line in names["printed"]().splitlines()]
    shapes = {row[0]: row[-1].strip() for row in rows}
    assert shapes["hidden_layers.1.weight"] == "(256, 512)"
    make_model(*SIZES, seed=1).load_state_dict(torch.load("it.pth"))


def wrapped():
    wrapper = torch.nn.DataParallel(make_model(*SIZES))
    return {**saved(wrapper.state_dict()), "wrapper": wrapper, "model": make_model(*SIZES, seed=1)}


def wrapped_helped(names, values):
    saved(values[0])
    names["model"].load_state_dict(torch.load("it.pth"))
    model_helped(names, values)


def from_another_device():
    """A file that notes a card which this machine does not have. A pickle stores a text behind its length."""
    torch.save(make_model(*SIZES).state_dict(), "cpu.pth")
    with zipfile.ZipFile("cpu.pth") as old, zipfile.ZipFile("it.pth", "w") as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry).replace(b"\x03\0\0\0cpu", b"\x06\0\0\0cuda:9"))
    return {"path": "it.pth"}


def cut_short():
    names = saved(make_model(*SIZES).state_dict())
    os.truncate("it.pth", os.path.getsize("it.pth") // 2)
    return {**names, "model": make_model(*SIZES)}


def cut_short_helped(names, values):
    assert same(weights(fc_model.load_checkpoint("it.pth")), weights(names["model"]))
    before = os.stat("it.pth").st_ino
    fc_model.save_checkpoint(names["model"], "it.pth")
    assert os.stat("it.pth").st_ino != before, "it is the old file"


def other_parameters():
    run = pieces(seed=0)
    train_epoch(run)
    head_only = torch.optim.Adam(run["model"].output.parameters())
    return {**saved(run["optimizer"].state_dict()), "model": run["model"], "optimizer": head_only}


def other_parameters_helped(names, values):
    names["optimizer"].load_state_dict(torch.load("it.pth"))
    assert same(names["optimizer"].state_dict(), torch.load("it.pth"))


def on_meta():
    with torch.device("meta"):
        model = fc_model.Network(784, 10, [512, 256, 128])
    return {**saved(make_model(*SIZES).state_dict()), "model": model}


def on_meta_helped(names, values):
    names["model"].to("cpu")
    model_helped(names, values)


def value_is_that_model(names, values):
    assert same(weights(values[0]), weights(make_model(*SIZES)))


def value_is_that_state_dict(names, values):
    assert same(dict(values[0]), weights(make_model(*SIZES)))


@dataclass
class Case:
    """How a row's error comes: the names before it, code after that of the cause; and how its way out is judged."""

    prepare: object
    code: str
    helped: object


LOAD = "model.load_state_dict(torch.load(path))"
CASES = {
    "Weights only load failed": Case(weights_only, "torch.load(path)", value_is_that_model),
    "No module named 'old_net'": Case(
        old_net, "torch.load(path, weights_only=False)", old_net_helped
    ),
    "has no attribute 'eval'": Case(model_beside_state_dict, "model.eval()", model_helped),
    "'_IncompatibleKeys' object is not callable": Case(
        model_beside_state_dict, "model(torch.rand(1, 784))", model_helped
    ),
    "size mismatch for": Case(other_sizes, LOAD, other_sizes_helped),
    "Missing key(s)": Case(wrapped, LOAD, wrapped_helped),
    "Attempting to deserialize object on": Case(
        from_another_device, "torch.load(path)", value_is_that_state_dict
    ),
    "failed finding central directory": Case(cut_short, "torch.load(path)", cut_short_helped),
    "doesn't match the size of optimizer's group": Case(
        other_parameters, "optimizer.load_state_dict(torch.load(path))", other_parameters_helped
    ),
    "Cannot copy out of meta tensor": Case(on_meta, "", on_meta_helped),
}


def check_error(row, printed):
    """Raise a row's error with the code of its cause, find its text in the message, and go its way out."""
    seen, cause, way_out = map(spans, row)
    case = CASES[seen[0]]
    with pytest.raises(Exception) as caught:
        execute("\n".join([*cause, case.code]), {**case.prepare(), "torch": torch, **PROJECT})
    missing = [text for text in seen if text not in str(caught.value)]
    assert not missing, f"{missing} is not in: {caught.value}"
    printed()
    names = {**case.prepare(), "torch": torch, **PROJECT, "sys": sys, "printed": printed}
    case.helped(names, execute("\n".join(way_out), names).values)


@pytest.fixture
def printed(capsys):
    """A function that returns what was printed since its last call."""
    yield lambda: capsys.readouterr().out
    sys.modules.pop("old_net", None)


def test_the_table_has_ten_errors_and_each_has_its_case():
    assert [spans(seen)[0] for seen, _, _ in errors(TEXT)] == list(CASES) and len(CASES) == 10


@pytest.mark.parametrize("number", range(len(CASES)))
def test_each_error_comes_and_its_way_out_helps(number, folder, printed):
    check_error(errors(TEXT)[number], printed)


NO_ERROR = pytest.fail.Exception
SPOILED_ROWS = {
    "a text that the message does not hold": (
        "`Unexpected key(s)`",
        "`Surplus key(s)`",
        AssertionError,
    ),
    "a cause that raises nothing": ('`model.to("cpu")`', '`model.to("meta")`', NO_ERROR),
    "a way out that raises": (
        '(path, map_location="cpu")`',
        '(path, map_location="cuda:9")`',
        RuntimeError,
    ),
    "a way out that does not help": (
        "Adam(model.parameters())`",
        "Adam(model.output.parameters())`",
        ValueError,
    ),
    "no code in the way out": (
        '`sys.modules["old_net"] = new_net`',
        "the old name",
        ModuleNotFoundError,
    ),
}


@pytest.mark.parametrize("name", SPOILED_ROWS)
def test_a_spoiled_row_fails(name, folder, printed):
    sound, spoiled, error = SPOILED_ROWS[name]
    assert TEXT.count(sound) == 1
    changed = [
        new for old, new in zip(errors(TEXT), errors(TEXT.replace(sound, spoiled))) if old != new
    ]
    assert len(changed) == 1
    with pytest.raises(error):
        check_error(changed[0], printed)


# ---------------------------------------------------------------- links


def dead_links(text):
    """Return the links of the sheet that lead to no file of the project."""
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 10
    return [link for link in links if not (SHEET.parent / link).is_file()]


def test_every_link_leads_somewhere():
    assert dead_links(TEXT) == []
    assert dead_links(TEXT.replace("03_size_mismatch", "03_sizes")) == [
        "../notebooks/03_sizes.ipynb"
    ]


def test_a_number_leads_to_the_lesson_of_that_number():
    numbered = re.findall(r"\[(\d\d)\]\(\.\./notebooks/(\d\d)_", TEXT)
    assert len(numbered) > 5 and all(number == lesson for number, lesson in numbered)
