"""A fully connected classifier, and the two functions that train and measure it.

`Network` is the model of the whole series. `validation` measures a model on a test set, `train` fits it and
prints a line every few steps. Everything here is plain PyTorch: no registry, no configuration, no trainer class.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


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
            raise TypeError(f"hidden_layers must be a list of sizes such as [512, 256], got {hidden_layers!r}")
        if not hidden_layers:
            raise ValueError("hidden_layers is empty: give at least one size, such as [512]")
        _check_size("input_size", input_size)
        _check_size("output_size", output_size)
        for i, size in enumerate(hidden_layers):
            _check_size(f"hidden_layers[{i}]", size)
        if isinstance(drop_p, bool) or not isinstance(drop_p, (int, float)):
            raise TypeError(f"drop_p must be a number from 0 to 1, got {drop_p!r}")
        if not 0 <= drop_p <= 1:
            raise ValueError(f"drop_p must lie between 0 and 1, got {drop_p!r}")

        widths = [input_size, *hidden_layers]
        self.hidden_layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.output = nn.Linear(widths[-1], output_size)
        self.dropout = nn.Dropout(p=drop_p)

    def forward(self, x):
        """Log-probabilities of each class, (batch, output_size), for x of shape (batch, input_size)."""
        for layer in self.hidden_layers:
            x = self.dropout(F.relu(layer(x)))
        return F.log_softmax(self.output(x), dim=1)


def _check_size(name, size):
    # bool is a subclass of int: True would silently build a layer of width 1.
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{name} must be an int, got {size!r}")
    if size < 1:
        raise ValueError(f"{name} must be at least 1, got {size}")


def validation(model, testloader, criterion):
    """Mean loss and accuracy of a model over a whole test set.

    Both are means over samples, so a smaller last batch counts for what it holds. Runs in eval mode and without
    gradients. Each module gets back the mode it was found in, also when the loop raises.

    Args:
        model (nn.Module): gives log-probabilities or logits, (batch, classes), for (batch, features).
        testloader: yields (images, labels): float32 of (batch, ...), flattened here; int64 of (batch,).
        criterion: a loss that averages over the batch (`reduction="mean"`, the default), without class weights.

    Returns:
        (float, float): the loss a sample in the criterion's unit, the share of right answers in [0, 1].

    Raises:
        ValueError: the criterion does not average, or testloader yields nothing.
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
    print 46 lines. Runs on the device that the model is on, and leaves the model in training mode.

    Args:
        model, testloader, criterion: as in `validation`.
        trainloader: yields (images, labels) like testloader; one pass over it is an epoch.
        optimizer (torch.optim.Optimizer): holds this model's parameters.
        epochs (int): passes over trainloader.
        print_every (int): steps between two lines.

    Returns:
        list of (int, float, float, float): for each line the step (from 1), training loss, test loss and test
        accuracy, ready to plot: `steps, training, test, accuracy = zip(*history)`.

    Raises:
        TypeError: epochs or print_every is not an int. ValueError: one of them is below 1.
    """
    _check_size("epochs", epochs)
    _check_size("print_every", print_every)
    device = next(model.parameters()).device
    history, step, running_loss = [], 0, 0.0
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
                print(
                    f"Epoch: {epoch + 1}/{epochs}.. ",
                    f"Training Loss: {history[-1][1]:.3f}.. ",
                    f"Test Loss: {test_loss:.3f}.. ",
                    f"Test Accuracy: {accuracy:.3f}",
                )
                running_loss = 0.0
    return history
