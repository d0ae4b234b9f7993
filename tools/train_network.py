"""Train the network of lesson 02, and write its state_dict to data/trained_network.pth.

    python tools/train_network.py

As in lesson 02: Fashion-MNIST, two epochs, Adam; the random numbers are its own. On another CPU the
last digits differ, and so does the SHA-256, which the program prints: helper.py and data/README.md
name the one of the file that ships.
"""

import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import nn  # noqa: E402

import fc_model  # noqa: E402
import helper  # noqa: E402

PATH = ROOT / "data" / "trained_network.pth"


def main():
    """Train, save, and print the file's SHA-256."""
    model = train()
    torch.save(model.state_dict(), PATH)
    print(f"{PATH.relative_to(ROOT).as_posix()}: {hashlib.sha256(PATH.read_bytes()).hexdigest()}")


def train(epochs=2, train_size=None):
    """Return the trained network; fewer epochs and images are for the tests."""
    generator = torch.Generator().manual_seed(1)
    loaders = helper.fashion_mnist_loaders(64, train_size, generator)
    torch.manual_seed(1)
    model = fc_model.Network(784, 10, [512, 256, 128])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
    fc_model.train(model, *loaders, nn.NLLLoss(), optimizer, epochs)
    return model


if __name__ == "__main__":
    main()
