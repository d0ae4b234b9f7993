"""Lesson 05: the answers to its questions, computed."""

import io
import sys
import tempfile
import types
from pathlib import Path

import torch
import torch._dynamo  # an optimizer imports it at its first use, which takes two seconds
from torch import nn

CLASS = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, {outputs})

    def forward(self, x):
        return {sign}self.fc(x)
"""


def two_layers_that_change_files():
    a, b = nn.Linear(2, 1), nn.Linear(2, 1)
    a.requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(a.state_dict(), Path(folder) / "a.pth")
        torch.save(b.state_dict(), Path(folder) / "b.pth")
        a.load_state_dict(torch.load(Path(folder) / "b.pth"))
        b.load_state_dict(torch.load(Path(folder) / "a.pth"))
    frozen_a = not a.weight.requires_grad
    frozen_b = not b.weight.requires_grad
    return {
        "neither of them": not frozen_a and not frozen_b,
        "only `a`": frozen_a and not frozen_b,
        "only `b`": frozen_b and not frozen_a,
        "both of them": frozen_a and frozen_b,
    }


def a_class_that_was_changed():
    module = types.ModuleType("quiz_models")
    sys.modules["quiz_models"] = module
    exec(CLASS.format(outputs=1, sign=""), module.__dict__)
    file = io.BytesIO()
    torch.save(module.Net(), file)
    exec(CLASS.format(outputs=3, sign="-"), module.__dict__)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    del sys.modules["quiz_models"]
    outputs = loaded.fc.weight.shape[0]
    x = torch.ones(1, 4)
    old = torch.equal(loaded(x), loaded.fc(x))
    new = torch.equal(loaded(x), -loaded.fc(x))
    return {
        "the new layer with the new `forward`": outputs == 3 and new,
        "the new layer with the old `forward`": outputs == 3 and old,
        "the old layer with the new `forward`": outputs == 1 and new,
        "the old layer with the old `forward`": outputs == 1 and old,
    }


def arrays_that_follow_the_model():
    model, raised = nn.Linear(2, 1), False
    before = model.weight.detach().clone()
    arrays = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    model(torch.ones(3, 2)).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    after = model.weight.detach().clone()
    back = {key: torch.from_numpy(array) for key, array in arrays.items()}
    try:
        model.load_state_dict(back)
    except RuntimeError:
        raised = True
    is_before, is_after = model.weight.equal(before), model.weight.equal(after)
    return {
        "those from before the training": is_before,
        "none, as the last line fails": raised,
        "random ones, of a new model": not is_before and not is_after,
        "those from after the training": is_after and not raised,
    }


def a_frozen_batch_norm_without_gradients():
    layer = nn.BatchNorm1d(4)
    layer.train()
    before = {key: tensor.clone() for key, tensor in layer.state_dict().items()}
    layer.requires_grad_(False)
    with torch.no_grad():
        layer(torch.rand(8, 4))
    changed = {key for key, tensor in layer.state_dict().items() if not tensor.equal(before[key])}
    changed -= {"num_batches_tracked"}
    return {
        "the mean and the variance": changed == {"running_mean", "running_var"},
        "the weight and the bias": changed == {"weight", "bias"},
        "none of the four": changed == set(),
        "all of the four": changed == {"weight", "bias", "running_mean", "running_var"},
    }


KEYS = [
    two_layers_that_change_files,
    a_class_that_was_changed,
    arrays_that_follow_the_model,
    a_frozen_batch_norm_without_gradients,
]
