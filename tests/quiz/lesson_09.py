"""Lesson 09: the answers to its questions, computed."""

import contextlib
import io
import os
import pickle
import tempfile
import warnings
from unittest import mock

import torch


def where_a_call_in_the_file_runs():
    class Visitor:
        def __reduce__(self):
            return print, ("hello",)

    saving, loading, raised = io.StringIO(), io.StringIO(), True
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(saving):
            torch.save(Visitor(), f"{folder}/a.pth")
        del Visitor
        with contextlib.suppress(Exception), contextlib.redirect_stdout(loading):
            torch.load(f"{folder}/a.pth", weights_only=False)
            raised = False
    at_save, at_load = "hello" in saving.getvalue(), "hello" in loading.getvalue()
    return {
        "In `torch.save`, and nowhere else": at_save and not at_load,
        "In `torch.save` and in `torch.load`": at_save and at_load,
        "In `torch.load`, and nowhere else": at_load and not at_save,
        "Nowhere: `torch.load` raises an error": raised and not at_save and not at_load,
    }


class Visitor:
    def __reduce__(self):
        return set, ([1, 2],)


def a_small_file_with_a_large_tensor():
    failed = None
    with tempfile.TemporaryDirectory() as folder:
        path, line = f"{folder}/a.pth", "line 1"
        try:
            torch.save({"bias": torch.zeros(1).expand(10**15)}, path)
            line = "line 2"
            bias = torch.load(path, weights_only=True)["bias"]
            line = "line 3"
            repr(bias.shape)
            line = "line 4"
            bias.clone()
        except RuntimeError as error:
            failed = line if "memory" in str(error) else None
    return {
        "Line 1, where the tensor is saved": failed == "line 1",
        "Line 2, where the file is loaded": failed == "line 2",
        "Line 3, where the shape is printed": failed == "line 3",
        "Line 4, where the tensor is copied": failed == "line 4",
    }


def a_version_in_the_file():
    saved, printed = False, None
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(pickle.UnpicklingError):
        torch.save({"version": torch.__version__}, f"{folder}/notes.pth")
        saved = True
        notes = torch.load(f"{folder}/notes.pth")
        printed = str(notes["version"])
    return {
        "The load raises an error": saved and printed is None,
        "They print the version": printed == str(torch.__version__),
        "They print a class name": "TorchVersion" in (printed or ""),
        "The save raises an error": not saved,
    }


class Hostile:
    def __reduce__(self):
        return print, ("hello",)


def a_variable_that_is_set():
    runs = []
    variable = mock.patch.dict(os.environ, {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"})
    with tempfile.TemporaryDirectory() as folder, variable, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.load warns of the variable
        torch.save(Hostile(), f"{folder}/hostile.pth")
        for options in ({}, {"weights_only": True}):
            printed, refused = io.StringIO(), contextlib.suppress(pickle.UnpicklingError)
            with contextlib.redirect_stdout(printed), refused:
                torch.load(f"{folder}/hostile.pth", **options)
            runs.append("hello" in printed.getvalue())
    return {
        "Line 1 only": runs == [True, False],
        "Line 2 only": runs == [False, True],
        "Both lines": runs == [True, True],
        "Neither line": runs == [False, False],
    }


KEYS = [
    where_a_call_in_the_file_runs,
    a_small_file_with_a_large_tensor,
    a_version_in_the_file,
    a_variable_that_is_set,
]
