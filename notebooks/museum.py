"""The museum of lesson 16: its catalogue, and what raises, counts and spoils the exhibits.

Of an error the catalogue has a label, a piece of the message that is the same on every machine, and the room where it
hangs; of a fault that raises nothing, a name. `raised` fills up as the lesson goes from room to room, and at its end
the lesson asserts that nothing of the catalogue is missing.
"""

import contextlib
import copy
import hashlib
import io
import logging
import os
import textwrap
import warnings
import zipfile
from itertools import combinations, zip_longest

import matplotlib.pyplot as plt
import numpy as np
import safetensors.torch
import torch
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException

import fc_model
import helper

# What opening a folder as a file says. Windows speaks of permission.
A_FOLDER = "Permission denied" if os.name == "nt" else "Is a directory"

CATALOGUE = f"""
2 | The file does not open
No such file or directory | 01
{A_FOLDER} | 14
EOFError | 04
Ran out of input | 04
failed finding central directory | 04
invalid header or archive is corrupted | 10
Unsupported operand 60 | 01
Unsupported operand 118 | 01
invalid load key | 01
pop from empty list | 01
Unsupported operand 149 | 01
Invalid magic number | 01
file in archive is not in a subdirectory | 02

3 | The file names code
Weights only load failed | 01
multiarray.scalar was not an allowed global | 09
argparse.Namespace was not an allowed global | 09
with TorchScript archives | 09
Can't get attribute | 05
No module named | 01

4 | The weights do not fit
size mismatch for | 03
Missing key(s) in state_dict | 03
Unexpected key(s) in state_dict | 03
state_dict: "module. | 03
state_dict" | 04
While copying the parameter named | 05
Expected state_dict to be dict-like | 01
KeyError: 'model_state_dict' | 04

5 | Optimizer, scheduler, random state
doesn't match the size of optimizer's group | 04
has a different number of parameter groups | 02
KeyError: 'param_groups' | 02
KeyError: 'momentum' | 04
must match the size of tensor | 05
optimizer got an empty parameter list | 02
param 'initial_lr' is not specified | 04
RNG state must be a torch.ByteTensor | 04

6 | It loads, then using it fails
'_IncompatibleKeys' object is not callable | 01
object has no attribute 'eval' | 01
is missing the required "forward" function | 05
object has no attribute 'scale' | 01
mat1 and mat2 shapes cannot be multiplied | 02
mat1 and mat2 must have the same dtype | 03
must be Tensor, not numpy.ndarray | 05
index out of range in self | 02
Expected more than 1 value per channel | 06
does not require grad and does not have a grad_fn | 05
a leaf Variable that requires grad | 05
Can't call numpy() on Tensor that requires grad | 05
support the deepcopy protocol | 05
as parameter 'weight' | 05
stack expects each tensor to be equal size | 06
is mutually exclusive with | 06

7 | Saving fails
Parent directory | 01
expected 'f' to be string, path | 01
Can't pickle <function <lambda> | 04
local object | 01
TextIOWrapper | 02
is only supported through state_dict() | 02
model must be a Network, got DataParallel | 03
unexpected pos | 04

8 | Devices and memory
Attempting to deserialize object on | 04
don't know how to restore data location | 04
Expected one of cpu, cuda | 04
Cannot copy out of meta tensor | 11
is not on the expected device | 11
mmap can only be used with files saved with | 11
f must be a file path in order to use the mmap | 11
DefaultCPUAllocator | 11

9 | safetensors, exports, shards
Some tensors share memory | 10
You are trying to save a non contiguous tensor | 10
is invalid, expected torch.Tensor | 10
argument 'metadata' | 10
header too large | 10
invalid header length | 10
file not fully covered | 10
File does not contain tensor | 10
state_dict: "1.weight" | 10
Guard failed | 13
Unable to call ExportedProgram directly | 13
Calling eval() is not supported yet | 13
failed locating file data.pkl | 13
Missing key in checkpoint state_dict | 14
Size mismatch between saved | 14
metadata is None | 14

10 | The doctor's visit
File is not a zip file | 04
Bad CRC-32 | 10
does not fit the sizes beside it | 04
holds a number that is not finite | 04
a bare state_dict | 04
hidden_layers is missing | 04
a whole model, which brings code | 09

11 | Silent: other answers
silent: another network was saved | 04
silent: strict=False loaded nothing | 03
silent: half-loaded after an error | 03
silent: a Tanh for the ReLU | 02
silent: one bit is flipped | 10
silent: saved as whole numbers | 03
silent: eval() forgotten | 01

12 | Silent: what the file does not say
silent: layers in a plain list | 02
silent: a buffer that is not persistent | 02
silent: another dropout rate | 04
silent: frozen layers have thawed | 05
silent: tied weights came apart | 11
silent: best weights follow the training | 02
silent: a NumPy array moves the model | 05
silent: a slice saves all | 12
silent: a nan among the weights | 04

13 | Silent: the training goes another way
silent: the optimizer is new | 04
silent: memory on the wrong weights | 05
silent: the optimizer holds old weights | 11
silent: the random state is new | 04
silent: samples come twice in an epoch | 06
silent: every answer against every target | 06
silent: an older file | 04
"""

ROOMS, INDEX = {}, {}  # {room: title}, {exhibit: (room, lesson)}
for _block in CATALOGUE.strip().split("\n\n"):
    _heading, *_lines = _block.splitlines()
    _room, _title = _heading.split(" | ")
    ROOMS[int(_room)] = _title
    INDEX |= {
        exhibit: (int(_room), lesson)
        for exhibit, lesson in (line.rsplit(" | ", 1) for line in _lines)
    }

_NAMES = """
00_start_here 01_save_and_reload 02_state_dict_anatomy 03_size_mismatch 04_checkpoints 05_named_parameters
06_dataloader_batching 07_resume_exactly 08_survive_kills
09_files_from_strangers 10_damage_and_safetensors 11_load_large_models
12_smaller_files 13_without_the_class 14_distributed_checkpoints 15_distributed_production
"""
LESSONS = {name[:2]: f"{name}.ipynb" for name in _NAMES.split()}

raised = {}  # {label: the message that came, or of a silent fault what its test said: broken, mended}


def visit(room, exhibits):
    """Raise the exhibits of a room, print the type and the label of each error, and keep its message in `raised`.

    exhibits is {label: a function without arguments}. Raises AssertionError if a function raises nothing, if the label
    is not in its message, or if the catalogue has it in another room. Warnings and logs that come along are left out.
    """
    logging.disable(logging.ERROR)  # torch.distributed.checkpoint logs what it raises
    try:
        for label, action in exhibits.items():
            assert INDEX[label][0] == room, f"{label!r} hangs in room {INDEX[label][0]}"
            kind, raised[label] = _error(action)
            assert label in raised[label], f"{label!r} is not in: {raised[label]}"
            print(f"{kind:20} … {label.removeprefix(f'{kind}: ')}")
    finally:
        logging.disable(logging.NOTSET)


def types(room):
    """The types, by name, of the errors that were raised in a room: a set of str."""
    return {
        message.partition(":")[0] for label, message in raised.items() if INDEX[label][0] == room
    }


def hush(action, *arguments, **options):
    """Call action with arguments and options, and leave out the warnings that it sends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return action(*arguments, **options)


def _error(action):
    try:
        hush(action)
    except (Exception, CheckpointException) as error:  # the second is a BaseException
        return type(error).__name__, f"{type(error).__name__}: {error}"
    raise AssertionError("no error was raised")


def reveal(name, test, broken, mended):
    """Run a test on a broken thing, where it must fail, and on the mended one, where it must pass; print both results.

    test takes the thing and returns True if all is well. Raises AssertionError otherwise, or if the catalogue has no
    silent fault of that name.
    """
    label, results = f"silent: {name}", (bool(test(broken)), bool(test(mended)))
    assert label in INDEX, f"{name!r} is not in the catalogue"
    print(f"{name:34} broken {results[0]!s:5}  mended {results[1]}")
    assert results == (False, True), f"{name}: the test does not give the fault away"
    raised[label] = results


def look_up(message):
    """The exhibits whose label is in a message (str): a dict {label: (room, lesson)}, empty if there is none."""
    return {exhibit: place for exhibit, place in INDEX.items() if exhibit in message}


def index_table():
    """All exhibits in alphabetical order, two columns of them, as a table in Markdown (str)."""

    def cells(exhibit):
        if exhibit is None:
            return "| | "
        room, lesson = INDEX[exhibit]
        return f"| `{exhibit}` | {room}, [{lesson}]({LESSONS[lesson]}) "

    ordered = sorted(INDEX, key=lambda exhibit: exhibit.strip("'.").lower())
    half = (len(ordered) + 1) // 2
    rows = [
        cells(left) + cells(right) + "|"
        for left, right in zip_longest(ordered[:half], ordered[half:])
    ]
    return "\n".join(["| you see | room, lesson " * 2 + "|", "| --- | --- " * 2 + "|", *rows])


def plot_floor():
    """Draw the floor plan: a box for each room, with its number, its title and how many exhibits hang in it."""
    _, ax = plt.subplots(figsize=(12, 4.6))
    for room, title in ROOMS.items():
        row = 0 if room < 7 else 1 if room < 11 else 2  # five rooms, four and three
        width, first = 5 / (5 - row), (2, 7, 11)[row]
        left = (room - first) * width
        color = (
            helper.GREY
            if title.startswith("Silent")
            else helper.GREEN
            if room == 10
            else helper.RED
        )
        ax.add_patch(
            plt.Rectangle((left + 0.03, row + 0.04), width - 0.06, 0.92, color=color, alpha=0.12)
        )
        ax.add_patch(
            plt.Rectangle(
                (left + 0.03, row + 0.04), width - 0.06, 0.92, fill=False, edgecolor=color, lw=2
            )
        )
        count = sum(place == room for place, _ in INDEX.values())
        ax.text(
            left + 0.1, row + 0.3, room, fontsize=20, color=color, fontweight="bold", va="center"
        )
        ax.text(
            left + width - 0.1,
            row + 0.3,
            f"{count} exhibits",
            fontsize=11,
            color=color,
            ha="right",
            va="center",
        )
        ax.text(
            left + 0.1,
            row + 0.68,
            textwrap.fill(title, int(21 * width**1.2)),
            fontsize=13,
            va="center",
        )
    ax.set(
        title="Floor plan: what raises (red), the doctor (green), what is silent (grey)",
        xlim=(0, 5),
        ylim=(3, 0),
    )
    ax.set_axis_off()
    return ax


# ---------------------------------------------------------------- what spoils


class FullDisk(io.BytesIO):
    """A file in memory on a disk that is full after a thousand bytes."""

    def write(self, data):
        if self.tell() + len(data) > 1000:
            raise OSError("No space left on device")
        return super().write(data)


def of_a_local_class():
    """A module of a class that is defined inside a function."""

    class Local(nn.Module):
        pass

    return Local()


def from_cuda(path):
    """Copy a file of torch.save, as if a machine with ten graphics cards had written it; return the copy's path."""
    target = path.with_suffix(".cuda")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.namelist():  # a pickle stores a text behind its length, 3 or 6
            new.writestr(entry, old.read(entry).replace(b"\x03\0\0\0cpu", b"\x06\0\0\0cuda:9"))
    return target


def in_old_format(path):
    """Save what is in a file as PyTorch before 1.6 did; return the path of the new file."""
    target = path.with_suffix(".old")
    torch.save(torch.load(path), target, _use_new_zipfile_serialization=False)
    return target


def flip(data, tensor):
    """A copy of a file's bytes in which one bit is flipped: the sign of the largest number of a tensor (float32)."""
    tensor = tensor.detach()
    place = (
        data.index(tensor.numpy().tobytes()) + 4 * tensor.abs().argmax().item() + 3
    )  # the lowest byte comes first
    return data[:place] + bytes([data[place] ^ 0x80]) + data[place + 1 :]


def write(files, checkpoint, damage=bytes):
    """Save a checkpoint with torch.save to the first of two files, its state_dict with safetensors to the second.

    Then both are damaged: damage takes the bytes of a file and returns others; by default they stay as they are.
    Returns the SHA-256 (str) of the first file from before the damage, as a careful person would have noted it.
    """
    torch.save(checkpoint, files[0])
    safetensors.torch.save_file(checkpoint["state_dict"], files[1])
    noted = sha256(files[0])
    for path in files:
        path.write_bytes(damage(path.read_bytes()))
    return noted


def sha256(path):
    """The SHA-256 of a file's bytes (str)."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def quiet(tool):
    """Whether a tool, a function without arguments, notices nothing: it raises no error and does not return False."""
    with contextlib.suppress(Exception):
        return tool() is not False
    return False


# ---------------------------------------------------------------- exercises


def _curve(*more):
    return nn.Sequential(nn.Linear(1, 10), nn.ReLU(), nn.Linear(10, 1), *more)


def sick(state_dict):
    """Four things to load into the curve's network, {letter: dict}, made of its state_dict; none of them fits."""
    deep = _curve(nn.ReLU(), nn.Linear(1, 1)).state_dict()
    named = {key.replace("2.", "head."): tensor for key, tensor in state_dict.items()}
    wrapped = nn.DataParallel(_curve()).state_dict()
    return {"A": named, "B": {"model": dict(state_dict), "lr": 0.02}, "C": deep, "D": wrapped}


_CURES = {
    "unwrap": lambda state: (
        _curve(),
        {key.removeprefix("module."): tensor for key, tensor in state.items()},
    ),
    "unpack": lambda state: (_curve(), state["model"]),
    "rename": lambda state: (
        _curve(),
        {key.replace("head.", "2."): tensor for key, tensor in state.items()},
    ),
    "deepen": lambda state: (_curve(nn.ReLU(), nn.Linear(1, 1)), state),
}
HINTS = {
    "A": "A: what do the missing and the unexpected keys have in common, and what not?",
    "B": "B: do the unexpected keys look like those of weights?",
    "C": "C: is anything missing there?",
    "D": "D: what stands before each of the unexpected keys?",
}


def helps(cure, state):
    """Whether one of the cures "unwrap", "unpack", "rename" and "deepen" lets one of the sick load without an error."""
    try:
        model, state_dict = _CURES[cure](state)
        model.load_state_dict(state_dict)
    except (KeyError, RuntimeError):
        return False
    return True


_LOSSES = {
    "numbers": lambda model: model[1].running_mean.add_(1),
    "settings": lambda model: setattr(model[2], "p", 0.2),
    "frozen": lambda model: model[1].bias.requires_grad_(False),
    "mode": lambda model: model[2].eval(),
}
_MORE = [  # the same four words, in other places
    ("numbers", lambda model, other: other[0].weight.data.add_(1)),
    (
        "frozen",
        lambda model, other: (
            model[0].bias.requires_grad_(False),
            other[0].weight.requires_grad_(False),
        ),
    ),
    ("mode", lambda model, other: setattr(other, "training", False)),
    ("mode", lambda model, other: other[3][0].eval()),
    ("settings", lambda model, other: setattr(other[1], "eps", 0.1)),
]


def _parts():
    return nn.Sequential(
        nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.1), nn.Sequential(nn.Dropout(0.1))
    )


def pairs():
    """Yield (words, model, other): other is a copy of the model that has lost what the words (a set of str) name.

    First each set of the words in _LOSSES, then the losses of _MORE, one at a time.
    """
    for count in range(len(_LOSSES) + 1):
        for words in combinations(_LOSSES, count):
            model = _parts()
            other = copy.deepcopy(model)
            for word in words:
                _LOSSES[word](other)
            yield set(words), model, other
    for word, lose in _MORE:
        model = _parts()
        other = copy.deepcopy(model)
        lose(model, other)
        yield {word}, model, other


def write_patient(path):
    """Write a checkpoint with three faults to a path; return eight inputs and the answers that belong to them."""
    network = fc_model.Network(4, 3, [6, 6, 6]).eval()
    inputs = torch.rand(8, 4)
    state = dict(network.state_dict())
    for kind in ("weight", "bias"):
        one, other = f"hidden_layers.1.{kind}", f"hidden_layers.2.{kind}"
        state[one], state[other] = state[other], state[one]
    patient = {
        "input_size": 4,
        "output_size": 3,
        "hidden_layers": [6, 6, 6],
        "loss": np.float64(0.5),
    }
    patient["state_dict"] = {f"module.{key}": tensor for key, tensor in state.items()}
    torch.save(patient, path)
    return inputs, network(inputs).detach()
