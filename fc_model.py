"""A fully connected classifier, the two functions that train and measure it, and its checkpoints.

`Network` is the model of the whole series; `validation` measures it, `train` fits it.
`WordAVGModel` is a small model for sentences. `save_checkpoint` and `load_checkpoint` keep a
`Network` in a file. Everything here is plain PyTorch: no registry, no configuration, no trainer.
"""

import sys
from itertools import pairwise
from reprlib import repr as short  # a value in a few characters, however large it is

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

import checkpoints
from checkpoints import CheckpointError


class Network(nn.Module):
    """Fully connected network: ReLU and dropout after each hidden layer, log-softmax at the end.

    Args:
        input_size (int): features of one sample, 784 for a 28 x 28 image.
        output_size (int): number of classes.
        hidden_layers (list of int): the width of each hidden layer, at least one.
        drop_p (float): probability, in [0, 1], that dropout zeroes a value in training mode.

    Shape:
        input: (batch, input_size), float32. Output: (batch, output_size), float32. The output is
        log-probabilities: the criterion is `nn.NLLLoss`, and `output.exp()` sums to 1 over dim 1.

    Raises:
        TypeError: a size is not an int, hidden_layers not a list or tuple, drop_p not a number.
        ValueError: a size is below 1, hidden_layers is empty, drop_p lies outside [0, 1].

    >>> model = Network(784, 10, [512, 256, 128])
    >>> sum(p.numel() for p in model.parameters())
    567434
    """

    def __init__(self, input_size, output_size, hidden_layers, drop_p=0.5):
        super().__init__()
        if not isinstance(hidden_layers, (list, tuple)):
            hint = "hidden_layers must be a list of sizes such as [512, 256]"
            raise TypeError(f"{hint}, got {short(hidden_layers)}")
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
        """Log-probabilities, (batch, output_size), for x of shape (batch, input_size)."""
        for layer in self.hidden_layers:
            x = self.dropout(F.relu(layer(x)))
        return F.log_softmax(self.output(x), dim=1)


class WordAVGModel(nn.Module):
    """Judge a sentence by its words: an embedding, the average over the words, a linear layer.

    Args:
        vocab_size (int): number of words that the model knows.
        embedding_size (int): numbers in the vector of a word.
        output_size (int): numbers in the answer.
        pad_idx (int): the word that fills up short sentences; it does not count in the average.

    Shape:
        text: (batch, words), int64; each row has a word that is not pad_idx. Output: (batch,
        output_size), float32.
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

    Both are means over samples, so a smaller last batch counts for what it holds. Runs in eval mode
    and without gradients. Each module gets back the mode it was found in, also on an error.

    Args:
        model (nn.Module): gives log-probabilities or logits, (batch, classes).
        testloader: yields (images, labels): float32 of (batch, ...), flattened here, and int64 of
            (batch,).
        criterion: a loss that averages over the batch (`reduction="mean"`), without class weights.

    Returns:
        (float, float): the loss per sample in the criterion's unit, and the accuracy in [0, 1].

    Raises:
        ValueError: the criterion does not average, or testloader yields nothing.
    """
    if getattr(criterion, "reduction", "mean") != "mean":
        hint = "criterion must average over the batch: reduction='mean'"
        raise ValueError(f"{hint}, not {criterion.reduction!r}")
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
    """Fit a model. Every `print_every` steps, measure it on the test set and print one line.

    The line is `Epoch: 1/2..  Training Loss: 1.703..  Test Loss: 0.997..  Test Accuracy: 0.659`.
    The training loss is the mean over the last `print_every` batches. Steps count across epochs:
    2 epochs of 938 batches print 46 lines. Below the lines a bar of all steps fills up. Runs on the
    device of the model, and leaves the model in training mode.

    Args:
        model, testloader, criterion: as in `validation`.
        trainloader: yields (images, labels) like testloader and has a length; a pass is an epoch.
        optimizer (torch.optim.Optimizer): holds this model's parameters.
        epochs (int): passes over trainloader.
        print_every (int): steps between two lines.

    Returns:
        list of (int, float, float, float): for each line the step (from 1), training loss, test
        loss and test accuracy, ready to plot: `steps, training, test, accuracy = zip(*history)`.

    Raises:
        TypeError: epochs or print_every is not an int. ValueError: one of them is below 1, or a
        loader is empty.
    """
    _check_size("epochs", epochs)
    _check_size("print_every", print_every)
    if len(trainloader) == 0:
        raise ValueError("trainloader is empty: there is nothing to train on")
    device = next(model.parameters()).device
    history, step, running_loss = [], 0, 0.0
    # On stdout and without times: the line that stays in a notebook is then always the same.
    bar = "Steps: {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt}"
    total = epochs * len(trainloader)
    with tqdm(total=total, file=sys.stdout, bar_format=bar, ncols=80) as progress:
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


def save_checkpoint(model, path, /, **state):
    """Write a network, and the sizes that rebuild it, to one file with `checkpoints.save`.

    The file is a dict that a plain `torch.load` reads: input_size, output_size, hidden_layers,
    drop_p, state_dict, and what state adds, such as `optimizer=optimizer, epoch=3`. To go on with
    the run, call `checkpoints.restore`; the network's name there is "state_dict".

    Args:
        model (Network): its weights finite float32, its parts those that Network makes.
        path (str or Path): its folder must exist.
        state: pieces and plain values, as in `checkpoints.save`.

    Raises:
        CheckpointError: model is no Network that its sizes rebuild, or what `checkpoints.save`
        raises. Whatever is raised, the old file is untouched.
    """
    try:
        _check_parts(model)
        sizes = {
            "input_size": model.hidden_layers[0].in_features,
            "output_size": model.output.out_features,
            "hidden_layers": [layer.out_features for layer in model.hidden_layers],
            "drop_p": model.dropout.p,
        }
        _empty_network(sizes | {"state_dict": model.state_dict()})
    except CheckpointError as error:
        raise CheckpointError(f"{path}: not saved: {error}") from None
    if taken := sorted(state.keys() & {*sizes, "state_dict"}):
        raise CheckpointError(f"save_checkpoint gives the name {taken[0]} itself: take another")
    checkpoints.save(sizes | {"state_dict": model} | state, path)


def load_checkpoint(path, *, map_location="cpu", mmap=False):
    """Build the network that a checkpoint describes, in eval mode and with nothing frozen.

    The weights are held once, and no random numbers are drawn. A file of torch.save with
    input_size, output_size, hidden_layers and state_dict loads too; without drop_p it is 0.5.

    Args:
        path, map_location, mmap: as in `checkpoints.load`.

    Returns:
        Network. Raises what `checkpoints.load` raises, and CheckpointError if a size is missing or
        malformed, or the weights don't fit the sizes or are not finite. With mmap=True numbers are
        not checked.
    """
    saved = checkpoints.load(path, map_location=map_location, mmap=mmap)
    try:
        model = _empty_network(saved)
        for key, tensor in saved["state_dict"].items():
            if not mmap:
                checkpoints.check_finite(f"state_dict.{key}", tensor)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    weights = {key: tensor.contiguous() for key, tensor in saved["state_dict"].items()}
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _check_parts(model):
    """Refuse a subclass, and a network with a part that its sizes would not rebuild."""
    if type(model) is not Network:
        hint = ": try model.module or model._orig_mod" if isinstance(model, nn.Module) else ""
        raise CheckpointError(f"model must be a Network, got {type(model).__name__}{hint}")
    kinds = {"": Network, "hidden_layers": nn.ModuleList, "dropout": nn.Dropout}
    layers = range(max(1, len(getattr(model, "hidden_layers", ()))))
    parts = dict(model.named_modules())
    for name in [*kinds, *(f"hidden_layers.{i}" for i in layers), "output", *parts]:
        if name not in parts:
            raise CheckpointError(f"{name} is missing: use checkpoints.save")
        if type(parts[name]) is not kinds.get(name, nn.Linear):
            kind = f"{type(parts[name]).__name__}, which Network does not make"
            raise CheckpointError(f"{name} is a {kind}: use checkpoints.save")


def _empty_network(saved):
    """The network of the sizes in a checkpoint, on the meta device: without memory for weights."""
    for name, kind in {"state_dict": dict, "hidden_layers": list}.items():
        if not isinstance(saved.get(name), kind):
            raise CheckpointError(f"{name} is missing or no {kind.__name__}: use checkpoints.load")
    state_dict = saved["state_dict"]
    sizes = [saved.get(name) for name in ("input_size", "output_size")]
    if len(saved["hidden_layers"]) > len(state_dict):  # a million take minutes to build
        raise CheckpointError("hidden_layers names more layers than state_dict has tensors")
    try:
        with torch.device("meta"):
            model = Network(*sizes, saved["hidden_layers"], saved.get("drop_p", 0.5)).float()
    except (TypeError, ValueError, RuntimeError) as error:
        first_line = str(error).partition("\n")[0]
        raise CheckpointError(f"no network has these sizes and drop_p: {first_line}") from None
    if difference := checkpoints.diff(model, state_dict):
        raise CheckpointError(f"state_dict does not fit the sizes beside it\n{difference}")
    for key, tensor in state_dict.items():
        if tensor.untyped_storage().nbytes() < tensor.nbytes and not tensor.is_meta:
            raise CheckpointError(f"state_dict.{key} has fewer numbers than its shape says")
    return model
