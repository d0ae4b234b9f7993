"""What lesson 16 examines: a run to resume with faults, and below it the four messages and the file of its exercises.

The exercises first, please: the end of this page shows the faults of their file.
"""

import copy
from collections import namedtuple

import numpy as np
import torch
from torch import nn

import helper

Run = namedtuple("Run", "weights model optimizer")


def show(error, folder):
    """Print the errors of one traceback, the first on top, with Python's sentence between them; folder becomes `…`."""
    if error.__cause__:
        show(error.__cause__, folder)
        print("\nThe above exception was the direct cause of the following exception:\n")
    elif error.__context__:
        show(error.__context__, folder)
        print("\nDuring handling of the above exception, another exception occurred:\n")
    print(f"{type(error).__name__}: {error}".replace(str(folder), "…"))


def build(activation=nn.ReLU, rate=0.2):
    """Return a new network of two linear layers, with an activation and dropout between them."""
    return nn.Sequential(nn.Linear(4, 16), activation(), nn.Dropout(rate), nn.Linear(16, 2))


def train_step(model, optimizer, samples, labels):
    """Take one step of a training, with the same dropout at each call, and leave the model in eval mode."""
    torch.manual_seed(0)
    loss = nn.functional.cross_entropy(model.train()(samples), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval()


def resume(path, weights=None, activation=nn.ReLU, rate=0.2, strict=True, memory=True, train=False):
    """Resume the run in a file: build, load the weights, make Adam and load its state. The options are faults."""
    saved = torch.load(path)
    weights = weights or saved["model"]
    model = build(activation, rate).train(train)
    model.load_state_dict(weights, strict=strict)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    if memory:
        optimizer.load_state_dict(saved["optimizer"])
    return Run(weights, model, optimizer)


def who_notices(runs, model, goes_on, samples, labels):
    """Return {name of a run: {test: whether it passes}} for five tests.

    model is the network before the save; goes_on is the same one a step later.
    """
    table = {}
    for name, run in runs.items():
        stepped, its_optimizer = copy.deepcopy((run.model, run.optimizer))
        train_step(stepped, its_optimizer, samples, labels)
        table[name] = {
            "keys match": run.weights.keys() == model.state_dict().keys(),
            "print(model)": str(run.model) == str(model),
            "asked twice": torch.equal(run.model(samples), run.model(samples)),
            "answers kept": torch.allclose(run.model(samples), model(samples), atol=1e-5),
            "training goes on": torch.allclose(stepped(samples), goes_on(samples), atol=1e-5),
        }
    return table


MESSAGES = {
    "A": """
Traceback (most recent call last):
  File "evaluate.py", line 17, in load
    weights = torch.load("runs/last.pht")
  File "torch/serialization.py", line 759, in _open_file_like
    return _open_file(name_or_buffer, mode)
FileNotFoundError: [Errno 2] No such file or directory: 'runs/last.pht'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "evaluate.py", line 31, in <module>
    network = load()
  File "evaluate.py", line 20, in load
    network.load_state_dict(torch.load("runs/first.pth"))
RuntimeError: Error(s) in loading state_dict for Network:
    size mismatch for output.weight: copying a param with shape torch.Size([100, 128]) from
    checkpoint, the shape in current model is torch.Size([10, 128]).
""",
    "B": """
[rank1]: Traceback (most recent call last):
[rank1]:   File "train.py", line 40, in <module>
[rank1]:     start = torch.load("start.pth", map_location="cpu")
[rank1]:   File "torch/serialization.py", line 776, in __init__
[rank1]:     super().__init__(torch._C.PyTorchFileReader(name_or_buffer))
[rank1]: RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
==================================================
train.py FAILED
--------------------------------------------------
Root Cause (first observed failure):
  rank      : 1 (local_rank: 1)
  exitcode  : 1 (pid: 4711)
  error_file: <N/A>
""",
    "C": """
_pickle.UnpicklingError: Weights only load failed. This file can still be loaded, to do so you
have two options, do those steps only if you trust the source of the checkpoint.
    (1) In PyTorch 2.6, we changed the default value of the `weights_only` argument in `torch.load`
    from `False` to `True`. Re-running `torch.load` with `weights_only` set to `False` will likely
    succeed, but it can result in arbitrary code execution. Do it only if you got the file from a
    trusted source.
    (2) Alternatively, to load with `weights_only=True` please check the recommended steps in the
    following error message.
    WeightsUnpickler error: Unsupported global: GLOBAL numpy._core.multiarray.scalar was not an
    allowed global by default.
""",
    "D": """
Traceback (most recent call last):
  File "train.py", line 52, in <module>
    for images, labels in loader:
  File "torch/utils/data/dataloader.py", line 741, in __next__
    data = self._next_data()
RuntimeError: Caught RuntimeError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "torch/utils/data/_utils/fetch.py", line 54, in fetch
    data = [self.dataset[idx] for idx in possibly_batched_index]
  File "clothes.py", line 14, in __getitem__
    return self.network(self.images[i]), self.labels[i]
  File "torch/nn/modules/linear.py", line 134, in forward
    return F.linear(input, self.weight, self.bias)
RuntimeError: mat1 and mat2 must have the same dtype, but got Double and Float
""",
}


def write_patient(path):
    """Write a checkpoint of the trained network with three faults to a path."""
    state_dict = torch.load(helper.trained_network(), map_location="cpu")
    state_dict["hidden_layers.1.weight"] = state_dict["hidden_layers.1.weight"].t().contiguous()
    wrapped = {f"module.{key}": tensor for key, tensor in state_dict.items()}
    torch.save({"epoch": 3, "loss": np.float64(0.25), "state_dict": wrapped}, path)
