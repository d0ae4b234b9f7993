"""How fast is training with the series' own loaders?

Two questions, each answered by a ratio of CPU seconds, in one process and one thread, so that other programs on the
machine disturb it little:

1. fc_model.train with torchvision's datasets, whose transform runs once for each sample and epoch, against the same
   with helper.fashion_mnist_loaders. Goal: at least 4 times as fast.
2. fc_model.train with helper's loaders against a bare loop over batches that lie ready in a list. Goal: at most 1.25
   times its seconds. Both must end with the same weights, to the bit: they do the same work.

Every contestant trains on the first 20,480 images: 320 steps of 64, and a pass over the 10,000 test images every 40
steps, as in a whole epoch. Setting up is not timed.

    python benchmarks/train.py

The exit code is 1 if a goal is missed.
"""

import contextlib
import io
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import fc_model
import helper

SEED = 1
STEPS = 320
PRINT_EVERY = 40
ROUNDS = 5
LOADERS_GOAL = 4
LOOP_GOAL = 1.25


def start():
    """The model, criterion and optimizer of the series, the same for everyone."""
    torch.manual_seed(SEED)
    model = fc_model.Network(784, 10, [512, 256, 128])
    return model, nn.NLLLoss(), torch.optim.Adam(model.parameters(), lr=0.001)


def library(trainloader, testloader):
    """Seconds of fc_model.train over one pass of trainloader, its history and the model."""
    model, criterion, optimizer = start()
    with contextlib.redirect_stdout(io.StringIO()):
        began = time.process_time()
        history = fc_model.train(
            model, trainloader, testloader, criterion, optimizer, epochs=1, print_every=PRINT_EVERY
        )
        seconds = time.process_time() - began
    assert len(history) == STEPS // PRINT_EVERY, "not as many test passes as the others"
    return seconds, history, model


def bare_loop(batches, test_batches):
    """The same over lists of batches, with nothing that training does not need."""
    model, criterion, optimizer = start()
    measured = []
    began = time.process_time()
    model.train()
    for step, (images, labels) in enumerate(batches, start=1):
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        if step % PRINT_EVERY == 0:
            model.eval()
            test_loss, correct, count = 0.0, 0, 0
            with torch.no_grad():
                for test_images, test_labels in test_batches:
                    output = model(test_images)
                    test_loss += criterion(output, test_labels).item() * len(test_labels)
                    correct += (output.argmax(dim=1) == test_labels).sum().item()
                    count += len(test_labels)
            measured.append((test_loss / count, correct / count))
            model.train()
    seconds = time.process_time() - began
    return seconds, measured, model


@contextlib.contextmanager
def torchvision_loaders():
    """The lessons' first loaders: ToTensor and Normalize for each sample, 64 a batch, both shuffled."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root) / "FashionMNIST" / "raw"
        raw.mkdir(parents=True)
        for name in helper.CHECKSUMS:
            shutil.copy(helper.data_file(name), raw)
        trainset = datasets.FashionMNIST(root, download=True, train=True, transform=transform)
        testset = datasets.FashionMNIST(root, download=True, train=False, transform=transform)
        yield (
            DataLoader(Subset(trainset, range(64 * STEPS)), batch_size=64, shuffle=True),
            DataLoader(testset, batch_size=64, shuffle=True),
        )


def loaders_ratio():
    """Seconds of train with torchvision's loaders over seconds with helper's, the latter taken before and after."""
    ours = helper.fashion_mnist_loaders(train_size=64 * STEPS)
    library(*ours)  # Warms up.
    with torchvision_loaders() as theirs:
        before, between, after = (library(*loaders)[0] for loaders in (ours, theirs, ours))
    return between / statistics.mean([before, after])


def loop_ratio():
    """Seconds of train with helper's loaders over seconds of the bare loop: the median of some rounds."""
    generator = torch.Generator().manual_seed(SEED)
    trainloader, testloader = helper.fashion_mnist_loaders(
        train_size=64 * STEPS, generator=generator
    )
    batches = [(images.flatten(1), labels) for images, labels in trainloader]
    test_batches = [(images.flatten(1), labels) for images, labels in testloader]

    ratios = []
    for i in range(ROUNDS):
        generator.manual_seed(SEED)  # The order in which the list was made.
        # They take turns in going first: what the first leaves behind is not held against the second.
        if i % 2:
            bare_seconds, measured, bare_model = bare_loop(batches, test_batches)
            seconds, history, model = library(trainloader, testloader)
        else:
            seconds, history, model = library(trainloader, testloader)
            bare_seconds, measured, bare_model = bare_loop(batches, test_batches)
        assert [row[2:] for row in history] == measured, "the two measured something else"
        for weight, bare_weight in zip(model.parameters(), bare_model.parameters()):
            assert torch.equal(weight, bare_weight), "the two did not do the same work"
        ratios.append(seconds / bare_seconds)
    return statistics.median(ratios)


def main():
    torch.set_num_threads(1)
    loaders, loop = loaders_ratio(), loop_ratio()
    print(
        f"torchvision's loaders / helper's loaders: {loaders:.1f} (goal: at least {LOADERS_GOAL})"
    )
    print(f"fc_model.train / bare loop: {loop:.2f} (goal: at most {LOOP_GOAL})")
    return int(loaders < LOADERS_GOAL or loop > LOOP_GOAL)


if __name__ == "__main__":
    sys.exit(main())
