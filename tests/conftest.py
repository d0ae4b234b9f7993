"""What the unit tests share: figures without a screen, one thread, and torchvision's own reading of the data."""

import shutil
import urllib.request
from contextlib import contextmanager

import matplotlib
import pytest
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Two test processes with two threads each slow each other down on two cores.
torch.set_num_threads(1)
# Some tests fork processes that train. When torch.export has run in a process before its first
# backward(), autograd refuses to work in what that process forks. So the first one comes here.
torch.ones(1, requires_grad=True).sum().backward()


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@contextmanager
def blocked_network():
    def refuse(*args, **kwargs):
        # An AssertionError: torchvision catches URLError and tries the next mirror.
        raise AssertionError("torchvision asked for the network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(urllib.request, "urlopen", refuse)
        yield


@pytest.fixture
def no_network():
    with blocked_network():
        yield


@pytest.fixture(scope="session")
def torchvision_root(tmp_path_factory):
    """A root for torchvision's datasets: the project's four .gz files, unpacked by torchvision without a network."""
    from torchvision import datasets

    import helper

    root = tmp_path_factory.mktemp("torchvision")
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in helper.CHECKSUMS:
        shutil.copy(helper.DATA / "FashionMNIST" / "raw" / name, raw)
    with blocked_network():
        datasets.FashionMNIST(root, download=True)
    yield root
    shutil.rmtree(root)


def pytest_collection_modifyitems(items):
    # The long runs first: two processes then end at about the same time.
    items.sort(key=lambda item: "test_notebook_runs" not in item.nodeid)
