"""The data folder, and the loaders over it."""

import functools
import hashlib
import shutil
from collections import Counter

import pytest
import torch
import train_network
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

import helper
from fc_model import Network, validation

RAW = helper.DATA / "FashionMNIST" / "raw"
TO_TENSOR = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])


def order(loader):
    """The order of one pass, as the labels of all its batches."""
    return torch.cat([labels for _, labels in loader])


# ---------------------------------------------------------------- files


def test_the_files_have_the_published_checksums():
    published = dict(datasets.FashionMNIST.resources)
    assert set(published) == set(helper.CHECKSUMS) == {path.name for path in RAW.glob("*.gz")}
    for name, md5 in published.items():
        content = (RAW / name).read_bytes()
        assert hashlib.md5(content).hexdigest() == md5
        assert hashlib.sha256(content).hexdigest() == helper.CHECKSUMS[name]


def test_the_readme_of_the_data_gives_sizes_and_checksums():
    lines = (helper.DATA / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if ".gz |" in line
    ]
    md5 = dict(datasets.FashionMNIST.resources)
    assert sorted(rows) == sorted(
        [name, f"{(RAW / name).stat().st_size:,}", md5[name], sha256]
        for name, sha256 in helper.CHECKSUMS.items()
    )


def test_the_trained_network_is_the_one_that_the_readme_describes():
    content = helper.trained_network().read_bytes()
    text = (helper.DATA / "README.md").read_text(encoding="utf-8")
    sha256 = hashlib.sha256(content).hexdigest()
    assert f"{len(content):,} bytes" in text and f"SHA-256: {sha256}" in text
    model = Network(784, 10, [512, 256, 128])
    model.load_state_dict(torch.load(helper.trained_network()))
    _, testloader = helper.fashion_mnist_loaders()
    assert 0.83 < validation(model, testloader, nn.NLLLoss())[1] < 0.85


def test_another_training_gives_another_network_of_the_same_form():
    trained = train_network.train(epochs=1, train_size=640).state_dict()
    saved = torch.load(helper.trained_network())
    assert {key: value.shape for key, value in trained.items()} == {
        key: value.shape for key, value in saved.items()
    }


def test_a_trained_network_that_is_missing_or_damaged_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(helper, "DATA", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"trained_network\.pth is missing\. Restore"):
        helper.trained_network()
    (tmp_path / "trained_network.pth").write_bytes(b"other")
    with pytest.raises(RuntimeError, match=r"trained_network\.pth is damaged"):
        helper.trained_network()


def test_torchvision_reads_the_files_without_a_network(torchvision_root):
    for train in (True, False):
        dataset = datasets.FashionMNIST(torchvision_root, download=True, train=train)
        images, labels = helper.fashion_mnist(train=train)
        assert torch.equal(dataset.data, images) and torch.equal(dataset.targets, labels)


def test_torchvision_without_the_files_would_need_the_network(tmp_path, no_network):
    with pytest.raises(AssertionError, match="asked for the network"):
        datasets.FashionMNIST(tmp_path, download=True)


@pytest.fixture
def copied_data(tmp_path, monkeypatch):
    """The folder of a copy of the data that a test may damage. Nothing of the original is in the cache."""
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for name in helper.CHECKSUMS:
        shutil.copy(RAW / name, folder)
    monkeypatch.setattr(helper, "DATA", tmp_path)
    monkeypatch.setattr(helper, "fashion_mnist", functools.cache(helper.fashion_mnist.__wrapped__))
    return folder


@pytest.mark.parametrize("name", sorted(helper.CHECKSUMS))
def test_a_missing_file_is_named_with_the_way_out(copied_data, name):
    (copied_data / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"missing.*git checkout -- data") as error:
        helper.fashion_mnist(train=name.startswith("train"))
    assert str(copied_data / name) in str(error.value)


@pytest.mark.parametrize("name", sorted(helper.CHECKSUMS))
def test_one_flipped_bit_is_noticed_and_named_with_the_way_out(copied_data, name):
    content = bytearray((copied_data / name).read_bytes())
    content[4] ^= 1  # A bit of gzip's time stamp: gzip itself would not notice.
    (copied_data / name).write_bytes(content)
    with pytest.raises(RuntimeError, match=r"damaged.*git checkout -- data") as error:
        helper.fashion_mnist(train=name.startswith("train"))
    assert str(copied_data / name) in str(error.value)


def test_a_mended_file_is_read_without_a_restart(copied_data):
    path = copied_data / "t10k-labels-idx1-ubyte.gz"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        helper.fashion_mnist_loaders(train_size=1)
    shutil.copy(RAW / path.name, path)
    assert len(helper.fashion_mnist(train=False)[1]) == 10_000


# ---------------------------------------------------------------- tensors


@pytest.mark.parametrize(("train", "n"), [(True, 60_000), (False, 10_000)])
def test_fashion_mnist_holds_as_many_images_of_each_class(train, n):
    images, labels = helper.fashion_mnist(train=train)
    assert images.shape == (n, 28, 28) and images.dtype == torch.uint8
    assert labels.shape == (n,) and labels.dtype == torch.int64
    assert torch.bincount(labels).tolist() == [n // 10] * 10
    assert (images.min(), images.max()) == (0, 255)


def test_fashion_mnist_is_read_once():
    assert helper.fashion_mnist(train=False)[0] is helper.fashion_mnist(train=False)[0]


# ---------------------------------------------------------------- loaders


@pytest.fixture(scope="module")
def epoch():
    """One pass over the training loader with the default arguments, in order: images and labels of every batch."""
    trainloader, _ = helper.fashion_mnist_loaders(generator=torch.Generator().manual_seed(0))
    return list(trainloader)


def test_both_loaders_are_dataloaders_of_known_length():
    trainloader, testloader = helper.fashion_mnist_loaders()
    assert type(trainloader) is type(testloader) is DataLoader
    assert (len(trainloader), len(testloader)) == (938, 10)


def test_an_epoch_has_937_batches_of_64_and_one_of_32(epoch):
    assert [len(labels) for _, labels in epoch] == [64] * 937 + [32]
    for images, labels in epoch:
        assert images.shape == (len(labels), 1, 28, 28) and images.dtype == torch.float32
        assert labels.shape == (len(labels),) and labels.dtype == torch.int64


def test_an_epoch_shows_every_training_image_once_beside_its_own_label(epoch):
    def pairs(images, labels):
        return Counter(zip((hash(image.tobytes()) for image in images.numpy()), labels.tolist()))

    shown = torch.cat([images for images, _ in epoch]).squeeze(1)
    bytes_shown = ((shown + 1) * 127.5).round().to(torch.uint8)
    assert pairs(bytes_shown, order(epoch)) == pairs(*helper.fashion_mnist(train=True))


def test_the_training_order_is_shuffled(epoch):
    in_order = helper.fashion_mnist(train=True)[1]
    agree = (order(epoch) == in_order).float().mean()
    assert 0.09 < agree < 0.11  # Ten classes: chance.


def test_training_values_are_those_of_torchvisions_transform_to_the_bit(torchvision_root):
    dataset = datasets.FashionMNIST(torchvision_root, train=True, transform=TO_TENSOR)
    trainloader, _ = helper.fashion_mnist_loaders(batch_size=100, train_size=100)
    ((images, labels),) = trainloader
    shown = {(image.numpy().tobytes(), label) for image, label in zip(images, labels.tolist())}
    assert shown == {
        (image.numpy().tobytes(), label) for image, label in (dataset[i] for i in range(100))
    }


def test_test_values_are_those_of_torchvisions_transform_to_the_bit_and_in_order(torchvision_root):
    dataset = datasets.FashionMNIST(torchvision_root, train=False, transform=TO_TENSOR)
    _, testloader = helper.fashion_mnist_loaders(train_size=1)
    assert [len(labels) for _, labels in testloader] == [1000] * 10
    start = 0
    for images, labels in testloader:
        expected, answers = zip(*(dataset[i] for i in range(start, start + len(labels))))
        assert torch.equal(images, torch.stack(expected)) and images.dtype == torch.float32
        assert labels.tolist() == list(answers)
        start += len(labels)
    assert start == len(dataset) == 10_000


def test_a_generator_repeats_the_order_and_leaves_the_global_state_alone(epoch):
    state = torch.get_rng_state()
    trainloader, _ = helper.fashion_mnist_loaders(generator=torch.Generator().manual_seed(0))
    first, second = order(trainloader), order(trainloader)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, order(epoch))
    assert not torch.equal(first, second)

    other, _ = helper.fashion_mnist_loaders(generator=torch.Generator().manual_seed(1))
    assert not torch.equal(order(other), first)


def test_without_a_generator_the_global_seed_repeats_the_order():
    trainloader, _ = helper.fashion_mnist_loaders(train_size=1000)

    def seeded(seed):
        torch.manual_seed(seed)
        return order(trainloader)

    first = seeded(0)
    assert not torch.equal(order(trainloader), first)
    assert torch.equal(seeded(0), first)
    assert not torch.equal(seeded(1), first)


def test_going_through_the_testloader_leaves_the_global_state_alone():
    _, testloader = helper.fashion_mnist_loaders(train_size=1)
    state = torch.get_rng_state()
    labels = order(testloader)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(labels, helper.fashion_mnist(train=False)[1])
    assert torch.equal(order(testloader), labels)


@pytest.mark.parametrize(
    ("batch_size", "train_size", "sizes"),
    [(64, 100, [64, 36]), (10, 20, [10, 10]), (1, 2, [1, 1]), (64, 1, [1])],
)
def test_train_size_takes_the_first_images(batch_size, train_size, sizes):
    trainloader, testloader = helper.fashion_mnist_loaders(batch_size, train_size)
    assert [len(labels) for _, labels in trainloader] == sizes and len(trainloader) == len(sizes)
    assert sorted(order(trainloader).tolist()) == sorted(
        helper.fashion_mnist(train=True)[1][:train_size].tolist()
    )
    assert len(testloader) == 10


def test_changing_a_batch_in_place_changes_nothing_else():
    trainloader, testloader = helper.fashion_mnist_loaders(train_size=64)
    for loader in (trainloader, testloader):
        for images, labels in loader:
            images.fill_(7)
            labels.fill_(7)
        assert not any((images == 7).any() or (labels == 7).all() for images, labels in loader)


@pytest.mark.parametrize("bad", [0, -1, 60_001, 100.0, "100", True])
def test_a_bad_train_size_is_refused_by_name(bad):
    with pytest.raises(ValueError, match=r"^train_size "):
        helper.fashion_mnist_loaders(train_size=bad)


@pytest.mark.parametrize("bad", [0, -1, 64.0, "64", True, None])
def test_a_bad_batch_size_is_refused_by_name(bad):
    with pytest.raises(ValueError, match=r"^batch_size "):
        helper.fashion_mnist_loaders(batch_size=bad, train_size=10)
