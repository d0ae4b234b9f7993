"""A fully connected classifier, the two functions that train and measure it, and its checkpoints.

`Network` is the model of the whole series; `validation` measures it, `train` fits it. `WordAVGModel` is a small model
for sentences. `save_checkpoint`, `load_checkpoint`, `read_checkpoint` and `resume` keep a `Network` and its training
run in a file. `diff_state_dict` shows why a state_dict does not fit. Everything here is plain PyTorch: no registry, no
configuration, no trainer class.
"""

import contextlib
import copy
import os
import pickle
import random
import sys
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from reprlib import repr as short  # a value in a few characters, however large it is

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm


class Network(nn.Module):
    """Fully connected network: ReLU and dropout after each hidden layer, log-softmax at the end.

    Args:
        input_size (int): features of one sample, 784 for a 28 x 28 image.
        output_size (int): number of classes.
        hidden_layers (list of int): the width of each hidden layer, at least one.
        drop_p (float): probability, in [0, 1], that dropout sets a hidden value to zero in training mode.

    Shape:
        input: (batch, input_size), float32. Output: (batch, output_size), float32, log-probabilities, so
        the fitting criterion is `nn.NLLLoss` and `output.exp()` sums to 1 over dim 1.

    Raises:
        TypeError: a size is not an int, hidden_layers is not a list or tuple, drop_p is not a number.
        ValueError: a size is below 1, hidden_layers is empty, drop_p lies outside [0, 1].

    >>> model = Network(784, 10, [512, 256, 128])
    >>> sum(p.numel() for p in model.parameters())
    567434
    """

    def __init__(self, input_size, output_size, hidden_layers, drop_p=0.5):
        super().__init__()
        if not isinstance(hidden_layers, (list, tuple)):
            raise TypeError(f"hidden_layers must be a list of sizes such as [512, 256], got {short(hidden_layers)}")
        if not hidden_layers:
            raise ValueError("hidden_layers is empty: give at least one size, such as [512]")
        _check_size("input_size", input_size)
        _check_size("output_size", output_size)
        for i, size in enumerate(hidden_layers):
            _check_size(f"hidden_layers[{i}]", size)
        if isinstance(drop_p, bool) or not isinstance(drop_p, (int, float)):
            raise TypeError(f"drop_p must be a number from 0 to 1, got {short(drop_p)}")
        if not 0 <= drop_p <= 1:
            raise ValueError(f"drop_p must lie between 0 and 1, got {short(drop_p)}")

        widths = [input_size, *hidden_layers]
        self.hidden_layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.output = nn.Linear(widths[-1], output_size)
        self.dropout = nn.Dropout(p=drop_p)

    def forward(self, x):
        """Log-probabilities of each class, (batch, output_size), for x of shape (batch, input_size)."""
        for layer in self.hidden_layers:
            x = self.dropout(F.relu(layer(x)))
        return F.log_softmax(self.output(x), dim=1)


class WordAVGModel(nn.Module):
    """Judge a sentence by the average of its words: an embedding, the average over the words, a linear layer.

    Args:
        vocab_size, embedding_size, output_size (int): words known, numbers a word's vector has, numbers answered.
        pad_idx (int): the word that fills up short sentences; it does not count in the average.

    Shape:
        text: (batch, words), int64, at least one word a row that is not pad_idx. Output: (batch, output_size), float32.
    """

    def __init__(self, vocab_size, embedding_size, output_size, pad_idx):
        super().__init__()
        self.pad_idx = pad_idx
        self.embed = nn.Embedding(vocab_size, embedding_size, padding_idx=pad_idx)
        self.linear = nn.Linear(embedding_size, output_size)

    def forward(self, text):
        """The answer for each sentence of text."""
        counts = (text != self.pad_idx).sum(dim=1, keepdim=True)
        return self.linear(self.embed(text).sum(dim=1) / counts)


def _check_size(name, size):
    # bool is a subclass of int: True would silently build a layer of width 1.
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{name} must be an int, got {short(size)}")
    if size < 1:
        raise ValueError(f"{name} must be at least 1, got {short(size)}")


def validation(model, testloader, criterion):
    """Mean loss and accuracy of a model over a whole test set.

    Both are means over samples, so a smaller last batch counts for what it holds. Runs in eval mode and without
    gradients. Each module gets back the mode it was found in, also when the loop raises.

    Args:
        model (nn.Module): gives log-probabilities or logits, (batch, classes), for (batch, features).
        testloader: yields (images, labels): float32 of (batch, ...), flattened here; int64 of (batch,).
        criterion: a loss that averages over the batch (`reduction="mean"`, the default), without class weights.

    Returns:
        (float, float): the loss a sample in the criterion's unit, the share of right answers in [0, 1]. Raises
        ValueError if the criterion does not average, or testloader yields nothing.
    """
    if getattr(criterion, "reduction", "mean") != "mean":
        raise ValueError(f"criterion must average over the batch: reduction='mean', not {criterion.reduction!r}")
    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    model.eval()
    total_loss, correct, count = 0.0, 0, 0
    try:
        with torch.no_grad():
            for images, labels in testloader:
                images, labels = images.to(device).flatten(1), labels.to(device)
                output = model(images)
                total_loss += criterion(output, labels).item() * len(labels)
                correct += (output.argmax(dim=1) == labels).sum().item()
                count += len(labels)
    finally:
        for module, mode in modes.items():
            module.training = mode
    if count == 0:
        raise ValueError("testloader is empty: there is nothing to measure")
    return total_loss / count, correct / count


def train(model, trainloader, testloader, criterion, optimizer, epochs=5, print_every=40):
    """Fit a model, and every `print_every` steps measure it on the test set and print one line.

    The line is `Epoch: 1/2..  Training Loss: 1.703..  Test Loss: 0.997..  Test Accuracy: 0.659`. Its training
    loss is the mean over the last `print_every` batches. Steps are counted across epochs: 2 epochs of 938 batches
    print 46 lines. Below the lines a bar of all steps fills up. Runs on the device that the model is on, and leaves
    the model in training mode.

    Args:
        model, testloader, criterion: as in `validation`.
        trainloader: yields (images, labels) like testloader, and has a length; one pass over it is an epoch.
        optimizer (torch.optim.Optimizer): holds this model's parameters.
        epochs (int): passes over trainloader.
        print_every (int): steps between two lines.

    Returns:
        list of (int, float, float, float): for each line the step (from 1), training loss, test loss and test
        accuracy, ready to plot: `steps, training, test, accuracy = zip(*history)`. Raises TypeError if epochs or
        print_every is not an int, ValueError if one of them is below 1.
    """
    _check_size("epochs", epochs)
    _check_size("print_every", print_every)
    device = next(model.parameters()).device
    history, step, running_loss = [], 0, 0.0
    # On stdout and without times: the line that stays in a notebook is then the same after each run.
    bar = "Steps: {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt}"
    with tqdm(total=epochs * len(trainloader), file=sys.stdout, bar_format=bar, ncols=80) as progress:
        for epoch in range(epochs):
            model.train()
            for images, labels in trainloader:
                images, labels = images.to(device).flatten(1), labels.to(device)
                optimizer.zero_grad()
                loss = criterion(model(images), labels)
                loss.backward()
                optimizer.step()

                step += 1
                running_loss += loss.item()
                if step % print_every == 0:
                    test_loss, accuracy = validation(model, testloader, criterion)
                    history.append((step, running_loss / print_every, test_loss, accuracy))
                    progress.write(
                        f"Epoch: {epoch + 1}/{epochs}..  "
                        f"Training Loss: {history[-1][1]:.3f}..  "
                        f"Test Loss: {test_loss:.3f}..  "
                        f"Test Accuracy: {accuracy:.3f}"
                    )
                    running_loss = 0.0
                progress.update()
    return history


# ---------------------------------------------------------------- checkpoints


class CheckpointError(RuntimeError):
    """A checkpoint is damaged, is something else, or does not fit."""


# The fields of a checkpoint. The first four must be there.
_FIELDS = {"input_size": int, "output_size": int, "hidden_layers": list, "state_dict": dict}
_FIELDS |= {"drop_p": (int, float), "epoch": int, "loss": (int, float), "optimizer_state_dict": dict}
_FIELDS |= {"scheduler_state_dict": dict, "generator_state": torch.Tensor, "torch_random_state": torch.Tensor}
_FIELDS |= {"python_random_state": tuple, "cuda_random_states": list}


def save_checkpoint(model, path, *, optimizer=None, scheduler=None, epoch=None, loss=None, generator=None):
    """Write a model, and what its training needs to go on, to one file. Until that is whole, the old file stays.

    The file is a dict that a plain `torch.load` reads: input_size, output_size, hidden_layers, drop_p, state_dict; if
    given, epoch, loss, optimizer_state_dict, scheduler_state_dict, generator_state; with an optimizer also the random
    states of torch, Python and CUDA, not NumPy. It is written to `<path>.tmp`, forced to the disk and renamed. A kill
    may leave the .tmp, which the next save overwrites. Only one process at a time may save to a path.

    Args:
        model (Network): its weights finite float32. What is frozen is not noted.
        path (str or Path): its folder must exist. A symbolic link is followed.
        optimizer, scheduler: torch.optim's, of the training run. generator (torch.Generator): the one, on the CPU,
            that shuffles the training loader.
        epoch (int): the last one done, from 0. loss (int or float): any figure that you want to find again.

    Raises:
        TypeError: model is no Network. CheckpointError: a weight is not finite, a value of a wrong type. OSError,
        RuntimeError: writing failed. Whatever is raised, path is as it was, and no .tmp is left.
    """
    if not isinstance(model, Network):
        raise TypeError(f"model must be a Network, got {type(model).__name__}: try model.module or model._orig_mod")
    pieces = {"epoch": epoch, "loss": loss, "generator_state": generator and generator.get_state()}
    pieces["optimizer_state_dict"] = optimizer and optimizer.state_dict()
    pieces["scheduler_state_dict"] = scheduler and scheduler.state_dict()
    if optimizer is not None:
        pieces |= {"torch_random_state": torch.get_rng_state(), "python_random_state": random.getstate()}
        pieces["cuda_random_states"] = torch.cuda.get_rng_state_all()  # an empty list where there is no CUDA
    checkpoint = {
        "input_size": model.hidden_layers[0].in_features,
        "output_size": model.output.out_features,
        "hidden_layers": [layer.out_features for layer in model.hidden_layers],
        "drop_p": model.dropout.p,
        "state_dict": {key: tensor.contiguous() for key, tensor in model.state_dict().items()},
    } | {name: piece for name, piece in pieces.items() if piece is not None}

    path = os.path.realpath(path)
    temporary = f"{path}.tmp"  # in the same folder: a file can be renamed only within its file system
    try:
        checkpoint = _check(checkpoint)
        with open(temporary, "wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())  # else, after a power cut, the new name might stand for an empty file
        if refused := torch.serialization.get_unsafe_globals_in_checkpoint(temporary):
            raise CheckpointError(f"torch.load would refuse {', '.join(refused)}: convert it to a plain value")
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if isinstance(error, CheckpointError):
            raise CheckpointError(f"{path}: not saved: {error}") from None
        raise
    with contextlib.suppress(OSError):  # the new name is safe when the folder is; Windows opens no folders
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_checkpoint(path, *, mmap=False):
    """Read a checkpoint, check all of it, and return it. Nothing that is in the file is run.

    Checked are the CRC-32 of each entry of the zip file (`torch.load` does not), the fields and their types, and the
    keys, shapes, dtypes and finiteness of the weights. That finds accidents. It does not tell who wrote the file.

    Args:
        path (str or Path): a file of `save_checkpoint`, or of `torch.save` with a dict of the four required fields,
            input_size, output_size, hidden_layers and state_dict. mmap (bool): as in `load_checkpoint`.

    Returns:
        dict: the fields that `save_checkpoint` lists, tensors on the CPU. Raises CheckpointError, `<path>: <reason>`,
        for whatever is wrong with the content, and OSError, such as FileNotFoundError, if the file cannot be opened.
    """
    with open(path, "rb") as file, open(path, "rb") as again, ThreadPoolExecutor(1) as second_thread:
        if not os.path.sameopenfile(file.fileno(), again.fileno()):
            return read_checkpoint(path, mmap=mmap)  # between the two a new file was put in place
        try:
            _check_archive(file, contents=False)
            # The numbers' CRC-32 takes as long as reading them does, so both are done at the same time.
            numbers_checked = second_thread.submit(_check_archive, again, contents=not mmap)
            file.seek(0)
            checkpoint = torch.load(path if mmap else file, map_location="cpu", weights_only=True, mmap=mmap)
            numbers_checked.result()
            return _check(checkpoint, contents=not mmap)
        except CheckpointError as error:
            reason = str(error)
        except zipfile.BadZipFile as error:
            reason = f"damaged, cut short, or not a file of torch.save ({error})"
        except pickle.UnpicklingError:  # its text advises weights_only=False, which runs what the file says
            reason = "not loaded, because it holds more than tensors and plain values, and that could run code"
        except Exception as error:
            reason = f"damaged, or not a file of torch.save ({type(error).__name__})"
    raise CheckpointError(f"{path}: {reason}")


def load_checkpoint(path, *, map_location="cpu", mmap=False):
    """Build the network that a checkpoint describes, with its weights, in eval mode and with nothing frozen.

    Holds the weights once, and draws no random numbers. Without drop_p in the file it is 0.5. Raises what
    `read_checkpoint` raises. To train on, call `resume` and `model.train()`.

    Args:
        path (str or Path): as in `read_checkpoint`.
        map_location (str or torch.device): where the network shall be.
        mmap (bool): True maps the file into memory: a file of any size opens at once, and its numbers are read when
            they are first used. Its structure is checked, its numbers are not: damage or a NaN there goes unnoticed.
            Don't touch the file while the network lives: changed in place it changes the weights, shortened it kills
            the process. `save_checkpoint` to the same path is safe, since it makes a new file.
    """
    checkpoint = read_checkpoint(path, mmap=mmap)
    model = _build(checkpoint)
    model.load_state_dict(checkpoint["state_dict"], assign=True)
    return model.to(map_location).eval()


def resume(checkpoint, optimizer, scheduler=None, generator=None):
    """Put the pieces of a training run, and last the global random states, back to where they were saved.

    Make the pieces as in the interrupted run, over the loaded network, and call this right before the loop. On the
    same machine and number of threads the run then goes on equal, to the bit, to one that was never interrupted.

    Args:
        checkpoint (dict): what `read_checkpoint` returned; it is not changed.
        optimizer, scheduler, generator: the pieces that `save_checkpoint` was given, no more and no fewer.

    Returns:
        int: the next epoch, from 0. Raises CheckpointError if a piece is missing, left over or of another kind;
        nothing has been changed then.
    """
    pieces = {"optimizer_state_dict": optimizer, "scheduler_state_dict": scheduler, "generator_state": generator}
    for name, piece in {**pieces, "epoch": 0, "torch_random_state": 0, "python_random_state": 0}.items():
        if piece is not None and name not in checkpoint:
            raise CheckpointError(f"{name} is not in the checkpoint: save_checkpoint was not given it")
        if piece is None and name in checkpoint:
            raise CheckpointError(f"{name} is in the checkpoint: pass what it belongs to, or delete it")
    for name in checkpoint.keys() & {"generator_state", "torch_random_state", "python_random_state"}:
        scratch = random.Random().setstate if name == "python_random_state" else torch.Generator().set_state
        try:
            scratch(checkpoint[name])
        except Exception:
            raise CheckpointError(f"{name} is no state of such a generator") from None
    if scheduler is not None and checkpoint["scheduler_state_dict"].keys() != scheduler.state_dict().keys():
        raise CheckpointError(f"scheduler_state_dict is not of a {type(scheduler).__name__}")
    before = optimizer.state, optimizer.param_groups
    try:
        _check_optimizer(checkpoint["optimizer_state_dict"], optimizer)
        # A copy: load_state_dict keeps what it is given, and training would change the checkpoint.
        optimizer.load_state_dict(copy.deepcopy(checkpoint["optimizer_state_dict"]))
    except CheckpointError:
        raise
    except Exception as error:
        optimizer.state, optimizer.param_groups = before
        raise CheckpointError(f"optimizer_state_dict is malformed ({type(error).__name__})") from None
    if scheduler is not None:
        scheduler.load_state_dict(copy.deepcopy(checkpoint["scheduler_state_dict"]))
    if generator is not None:
        generator.set_state(checkpoint["generator_state"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(checkpoint["cuda_random_states"])
    random.setstate(checkpoint["python_random_state"])
    torch.set_rng_state(checkpoint["torch_random_state"])
    return checkpoint["epoch"] + 1


@dataclass(repr=False)
class StateDictDiff:
    """Where a state_dict differs from a model's: False if nowhere, and a table when printed."""

    missing: list  # keys that only the model has
    unexpected: list  # keys that only the state_dict has
    shapes: dict  # {key: (the model's, the state_dict's)} where they differ
    dtypes: dict  # likewise
    prefix: str  # what stands before the keys of one side only, such as "module.", or ""

    def __bool__(self):
        return bool(self.missing or self.unexpected or self.shapes or self.dtypes)

    def __repr__(self):
        rows = [("key", "model", "state_dict")]
        rows += [(key, "yes", "-") for key in self.missing] + [(str(key), "-", "yes") for key in self.unexpected]
        rows += [(key, *map(str, pair)) for part in (self.shapes, self.dtypes) for key, pair in part.items()]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        lines += [f"likely prefix on one side: {self.prefix}"] if self.prefix else []
        return "\n".join(lines) if self else "no difference"


def diff_state_dict(model, state_dict):
    """Compare the keys, shapes and dtypes of a state_dict with those of a model (nn.Module). Nothing is loaded.

    Returns:
        StateDictDiff: missing, unexpected, shapes, dtypes, prefix. What is no tensor has its type for a dtype. Under a
        prefix shapes are not compared: take it off and compare again. A dtype counts, though loading would convert it.
    """
    own = model.state_dict()
    missing, unexpected = [key for key in own if key not in state_dict], [key for key in state_dict if key not in own]
    shapes, dtypes = {}, {}
    for key in (key for key in own if key in state_dict):
        ours, theirs = own[key], state_dict[key]
        tensors = isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor)
        kinds = (ours.dtype, theirs.dtype) if tensors else (type(ours), type(theirs))
        if kinds[0] != kinds[1]:
            dtypes[key] = kinds
        if tensors and ours.shape != theirs.shape:
            shapes[key] = tuple(ours.shape), tuple(theirs.shape)
    pairs = [sorted((key, other), key=len) for key in missing for other in map(str, unexpected)]
    prefixes = Counter(long.removesuffix(key) for key, long in pairs if long.endswith("." + key))
    prefix, count = max(prefixes.items(), key=lambda item: item[1], default=("", 0))
    return StateDictDiff(missing, unexpected, shapes, dtypes, prefix if count > len(own) - len(missing) else "")


def _check_archive(file, contents):
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        # Something before the archive, or entries that lie over each other, which together take more than the file.
        if entries[0].header_offset or sum(entry.file_size for entry in entries) > os.fstat(file.fileno()).st_size:
            raise CheckpointError("damaged, or not a file of torch.save (its entries overlap or begin too late)")
        for entry in entries:
            # torch.save neither compresses nor marks folders; torch.load takes an entry so marked for an empty one.
            if entry.compress_type != zipfile.ZIP_STORED or entry.external_attr & 0x10:
                raise CheckpointError(f"damaged, or not a file of torch.save (entry {short(entry.filename)})")
            if contents or "/data/" not in entry.filename:
                with archive.open(entry) as part:
                    while part.read(1 << 20):  # at an entry's end zipfile compares the CRC-32
                        pass


def _check(checkpoint, contents=True):
    """Raise CheckpointError unless all is well; return the same as plain dicts and plain tensors."""
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"it holds a {type(checkpoint).__name__}, not a dict")
    # A file can give a dict or a tensor attributes that hide its methods; dict.items and Tensor.detach see through it.
    checkpoint = dict(dict.items(checkpoint))
    for name in [*list(_FIELDS)[:4], *checkpoint]:
        if name not in checkpoint:
            hint = "; it looks like a state_dict alone, so use torch.load" if "output.weight" in checkpoint else ""
            raise CheckpointError(f"{name} is missing{hint}")
        if name not in _FIELDS:
            raise CheckpointError(f"{short(name)} is no field of a checkpoint")
        if not isinstance(checkpoint[name], _FIELDS[name]) or isinstance(checkpoint[name], bool):
            raise CheckpointError(f"{name} cannot be a {type(checkpoint[name]).__name__}")
    state_dict = {}
    for key, value in dict.items(checkpoint["state_dict"]):
        tensor = torch.Tensor.detach(value) if isinstance(key, str) and isinstance(value, torch.Tensor) else None
        if tensor is None or tensor.is_meta or tensor.layout != torch.strided or not tensor.is_contiguous():
            raise CheckpointError(f"state_dict[{short(key)}] is no tensor with all its numbers in a row")
        state_dict[key] = tensor
    checkpoint["state_dict"] = state_dict
    if len(checkpoint["hidden_layers"]) > len(state_dict):  # a million layers would take minutes to build
        raise CheckpointError("hidden_layers names more layers than state_dict has tensors")
    try:
        model = _build(checkpoint)
    except (TypeError, ValueError, RuntimeError) as error:
        first_line = str(error).partition("\n")[0]
        raise CheckpointError(f"no network has these sizes and drop_p: {first_line}") from None
    if diff := diff_state_dict(model, state_dict):
        raise CheckpointError(f"state_dict does not fit the sizes beside it\n{diff}")
    for key, tensor in state_dict.items() if contents else ():
        if not all(isfinite(bound) for bound in tensor.aminmax()):
            raise CheckpointError(f"state_dict[{key!r}] holds a number that is not finite, nan or inf")
    return checkpoint


def _build(checkpoint):
    """The network of a checkpoint on the meta device: no memory for its weights, no random numbers drawn."""
    with torch.device("meta"):
        sizes = [checkpoint[name] for name in ("input_size", "output_size", "hidden_layers")]
        return Network(*sizes, drop_p=checkpoint.get("drop_p", 0.5))


def _check_optimizer(saved, optimizer):
    groups, saved_groups = optimizer.state_dict()["param_groups"], saved["param_groups"]
    if [group["params"] for group in groups] != [group["params"] for group in saved_groups]:
        raise CheckpointError("optimizer_state_dict is of an optimizer with other parameters")
    for group, saved_group in zip(groups, saved_groups):
        if other := (saved_group.keys() ^ group.keys()) - {"initial_lr", "param_names"}:
            raise CheckpointError(f"optimizer_state_dict is not of a {type(optimizer).__name__}: {sorted(other)}")
        # PyTorch maps its state to parameters by position. Only named_parameters() leaves names to compare.
        if len({tuple(each["param_names"]) for each in (group, saved_group) if "param_names" in each}) == 2:
            raise CheckpointError("optimizer_state_dict has the parameters under other names, or in another order")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, state in saved["state"].items():
        shape = parameters[index].shape
        for name in state.keys() & {"exp_avg", "momentum_buffer", "square_avg"}:
            if state[name] is not None and state[name].shape != shape:
                raise CheckpointError(f"optimizer_state_dict: {name} of parameter {index} does not have its shape")
