"""Lesson 01: the answers to its questions, computed."""

import contextlib
import importlib
import sys
import tempfile
from pathlib import Path
from unittest import mock

import torch
from torch import nn

SOURCE = """from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(x)
"""


@contextlib.contextmanager
def folder_of_modules(*names):
    """A folder that Python imports from, until these modules are forgotten again."""
    with tempfile.TemporaryDirectory() as folder:
        with mock.patch.object(sys, "path", [folder, *sys.path]):
            yield folder
        for name in names:
            sys.modules.pop(name, None)


def written_and_imported(folder, name, source):
    """The module of this name, from a file in the folder, as a new program would import it."""
    (Path(folder) / f"{name}.py").write_text(source)
    sys.modules.pop(name, None)
    importlib.invalidate_caches()
    return importlib.import_module(name)


REPORT = [
    "model = nn.Linear(2, 1)",
    "model = model.load_state_dict(torch.load('model.pth'))",
    "model.eval()",
    "print(model(torch.ones(1, 2)))",
]


def a_report_instead_of_the_network():
    stopped = None
    with tempfile.TemporaryDirectory() as folder:
        path, names = Path(folder) / "model.pth", {"nn": nn, "torch": torch}
        torch.save(nn.Linear(2, 1).state_dict(), path)
        for number, line in enumerate(REPORT, start=1):
            try:
                exec(line.replace("'model.pth'", repr(str(path))), names)
            except (RuntimeError, AttributeError, TypeError):
                stopped = number
                break
    return {
        "in line 2": stopped == 2,
        "in line 3": stopped == 3,
        "in line 4": stopped == 4,
        "in no line": stopped is None,
    }


def the_code_of_forward_has_changed():
    x = torch.ones(1, 2)
    with folder_of_modules("nets") as folder:
        path = Path(folder) / "net.pt"
        model = written_and_imported(folder, "nets", SOURCE).Net()
        old = model(x)
        torch.save(model, path)
        edited = SOURCE.replace("return self.layer(x)", "return 2 * self.layer(x)")
        untrained = written_and_imported(folder, "nets", edited).Net()
        answer = None
        with contextlib.suppress(Exception):
            answer = torch.load(path, weights_only=False)(x)
    return {
        "the answer it gave before": answer is not None and torch.equal(answer, old),
        "the answer of a new network": answer is not None and torch.equal(answer, untrained(x)),
        "nothing, as loading fails": answer is None,
        "twice the answer it gave before": answer is not None and torch.equal(answer, 2 * old),
    }


def the_class_has_another_name():
    model, error, main = None, "", sys.modules["__main__"]
    with folder_of_modules("nets") as folder:
        path = Path(folder) / "net.pt"
        torch.save(written_and_imported(folder, "nets", SOURCE).Net(), path)
        renamed = SOURCE.replace("class Net", "class CurveNet")
        net_class = written_and_imported(folder, "nets", renamed).CurveNet
        with mock.patch.object(main, "Net", net_class, create=True):
            try:
                model = torch.load(path, weights_only=False)
            except AttributeError as e:
                error = str(e)
    loaded, missing = model is not None, "attribute 'Net' on <module "
    return {
        "It takes `Net` from line 1, and loads.": loaded and isinstance(model, net_class),
        "It takes `Net` from `net.pt`, and loads.": loaded and not isinstance(model, net_class),
        "It looks for `nets.Net`, and fails.": missing + "'nets'" in error,
        "It looks for `__main__.Net`, and fails.": missing + "'__main__'" in error,
    }


def the_mode_of_two_files():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    model.eval()
    with tempfile.TemporaryDirectory() as folder:
        torch.save(model, Path(folder) / "whole.pt")
        torch.save(model.state_dict(), Path(folder) / "part.pth")
        whole = torch.load(Path(folder) / "whole.pt", weights_only=False)
        filled = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        filled.load_state_dict(torch.load(Path(folder) / "part.pth"))
    printed = f"{whole.training} {filled.training}"
    texts = ["False True", "False False", "True True", "True False"]
    return {f"`{text}`": printed == text for text in texts}


KEYS = [
    a_report_instead_of_the_network,
    the_code_of_forward_has_changed,
    the_class_has_another_name,
    the_mode_of_two_files,
]
