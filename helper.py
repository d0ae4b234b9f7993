"""Everything around the model: data, pictures of several lessons, comparing, the marks of the exercises.

Importing it sets matplotlib's defaults for the series: readable sizes and one palette.
"""

import functools
import gzip
import hashlib
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import traceback
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
)

import doctor

ROOT = Path(__file__).resolve().parent
DATA = ROOT / "data"

# SHA-256 of the four files as their authors published them (data/README.md).
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
NETWORK_CHECKSUM = "9c36e22156f73de6292fddeb46376dba683a9bc8817860c1776dbbab6ef2f320"
_FASHION = "T-shirt Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Boot"
CLASSES = {"Fashion": _FASHION.split()}

BLUE, RED, GREEN, YELLOW, GREY = "#2f6db5", "#d1383d", "#2a8f6a", "#e0a526", "#6b7280"
plt.rcParams.update(
    {
        "axes.prop_cycle": plt.cycler(color=[BLUE, RED, GREEN, YELLOW, GREY]),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 14,
        "axes.labelsize": 12,
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
        "legend.fontsize": 11,
        "legend.frameon": False,
        "figure.dpi": 100,
        "figure.constrained_layout.use": True,
    }
)


# ---------------------------------------------------------------- data


def regression_data(seed=1, n=100, noise=0.2):
    """The points of the regression lessons: y = x^2 + noise * U(0, 1), x evenly spaced from -1 to 1.

    Returns:
        (Tensor, Tensor): x and y, float32, both (n, 1): a column, as nn.Linear(1, ...) expects. The same seed gives
        the same points, and the global random state is left alone.
    """
    x = torch.linspace(-1, 1, n).unsqueeze(1)
    generator = torch.Generator().manual_seed(seed)
    return x, x**2 + noise * torch.rand(x.shape, generator=generator)


def data_file(name):
    """Path of one of the four Fashion-MNIST files, after its SHA-256 has been compared with the published one.

    Raises:
        FileNotFoundError: the file is missing. RuntimeError: it is damaged. Both name the file and the way out.
    """
    return _checked(DATA / "FashionMNIST" / "raw" / name, CHECKSUMS[name])


def trained_network():
    """Path of the state_dict of a trained Network(784, 10, [512, 256, 128]), 2 MB (data/README.md).

    Raises:
        FileNotFoundError, RuntimeError: as `data_file` does.
    """
    return _checked(DATA / "trained_network.pth", NETWORK_CHECKSUM)


def _checked(path, sha256):
    way_out = "Restore the folder with `git checkout -- data`, or clone the repository again."
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {way_out}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise RuntimeError(f"{path} is damaged: its SHA-256 is not the published one. {way_out}")
    return path


@functools.cache
def fashion_mnist(*, train):
    """The Fashion-MNIST training set (60,000 images) or test set (10,000), read once and kept in memory.

    Read straight from the .gz files, so nothing is unpacked on disk and two notebooks can start at the same time.

    Args:
        train (bool): the training set if True, the test set if False.

    Returns:
        (Tensor, Tensor): images, uint8 (N, 28, 28), 0 to 255, and labels, int64 (N,), 0 to 9.

    Raises:
        FileNotFoundError, RuntimeError: as `data_file` does.
    """
    part = "train" if train else "t10k"
    # bytearray, because torch warns about tensors over memory that cannot be written.
    pixels = bytearray(gzip.decompress(data_file(f"{part}-images-idx3-ubyte.gz").read_bytes()))
    labels = bytearray(gzip.decompress(data_file(f"{part}-labels-idx1-ubyte.gz").read_bytes()))
    # The IDX format: a header of 16 bytes before the images and of 8 bytes before the labels, then the bytes.
    images = torch.frombuffer(pixels, dtype=torch.uint8, offset=16).view(-1, 28, 28)
    return images, torch.frombuffer(labels, dtype=torch.uint8, offset=8).long()


def fashion_mnist_root(folder):
    """Copy the four Fashion-MNIST files into a folder (Path), and return the folder.

    It is then the `root` of `torchvision.datasets.FashionMNIST`, which downloads nothing, and unpacks 55 MB beside
    the copies: data/ stays as it is. Raises FileNotFoundError, RuntimeError as `data_file` does.
    """
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name in CHECKSUMS:
        shutil.copy(data_file(name), raw)
    return folder


def fashion_mnist_loaders(batch_size=64, train_size=None, generator=None):
    """DataLoaders of Fashion-MNIST that hold the normalised tensors in memory and fetch whole batches.

    The values are those of `Compose([ToTensor(), Normalize((0.5,), (0.5,))])`, to the bit: float32 from -1 to 1.
    They are computed once instead of once a sample and epoch. The sampler hands out a list of indices, and
    indexing the tensors with it gives a batch in one step; with `batch_size=None` the DataLoader passes it on.

    Args:
        batch_size (int): images a training batch; the test loader always takes 1,000, since a mean over the test
            set does not depend on it.
        train_size (int or None): use only the first train_size training images; None uses all 60,000.
        generator (torch.Generator or None): draws the order of the training images, so that shuffling repeats;
            None uses torch's global random state.

    Returns:
        (DataLoader, DataLoader): trainloader, shuffled, and testloader, in order. Each yields images, float32
        (batch, 1, 28, 28), and labels, int64 (batch,). Going through testloader never touches the global random state.

    Raises:
        ValueError: batch_size or train_size is not an int or out of range. FileNotFoundError, RuntimeError: as
            `data_file` does.
    """
    images, labels = fashion_mnist(train=True)
    train_size = len(images) if train_size is None else train_size
    # Not isinstance: True is an int too, and would mean one image.
    if type(train_size) is not int or not 1 <= train_size <= len(images):
        raise ValueError(f"train_size must be an int from 1 to {len(images)}, got {train_size!r}")
    train_set = TensorDataset(_normalize(images[:train_size]), labels[:train_size])
    test_images, test_labels = fashion_mnist(train=False)
    test_set = TensorDataset(_normalize(test_images), test_labels)

    shuffled = BatchSampler(RandomSampler(train_set, generator=generator), batch_size, False)
    in_order = BatchSampler(SequentialSampler(test_set), 1000, False)
    return (
        DataLoader(train_set, sampler=shuffled, batch_size=None, generator=generator),
        DataLoader(test_set, sampler=in_order, batch_size=None, generator=torch.Generator()),
    )


def _normalize(images):
    return images.unsqueeze(1).to(torch.float32).div_(255).sub_(0.5).div_(0.5)


# ---------------------------------------------------------------- files


def folder(lesson):
    """An empty folder for the files of a lesson (str, two digits): build/lessons/04 for "04".

    What an earlier run left there is deleted, and what this run writes stays until the next one. The
    environment variable LESSON_FILES names another place than build/lessons, so that two runs at a
    time do not share a folder.

    Returns:
        Path. Raises ValueError if lesson is not two digits.
    """
    if not re.fullmatch(r"\d\d", lesson):
        raise ValueError(f"lesson must be two digits such as '04', got {lesson!r}")
    path = Path(os.environ.get("LESSON_FILES") or ROOT / "build" / "lessons") / lesson
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path


# ---------------------------------------------------------------- pictures


def imshow(image, ax=None, title=None, normalize=True):
    """Show one image tensor.

    Args:
        image (Tensor): (28, 28), (1, 28, 28) or (3, H, W), float; left unchanged.
        ax (matplotlib Axes or None): where to draw; None makes a new figure.
        title (str or None): text above the image.
        normalize (bool): True undoes Normalize((0.5,), (0.5,)), that is, maps -1..1 back to 0..1.

    Returns:
        matplotlib Axes. Raises ValueError for any other shape, or an image of integers.
    """
    if image.ndim == 2:
        image = image.unsqueeze(0)
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"image must be (H, W), (1, H, W) or (3, H, W), got {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ValueError(
            f"image must be float, got {image.dtype}: divide bytes by 255, and pass normalize=False"
        )
    pixels = image.detach().cpu().float()
    pixels = (pixels * 0.5 + 0.5 if normalize else pixels).clamp(0, 1).permute(1, 2, 0).squeeze(2)
    if ax is None:
        _, ax = plt.subplots(figsize=(3, 3))
    ax.imshow(pixels.numpy(), cmap="gray", vmin=0, vmax=1)
    ax.set_axis_off()
    if title:
        ax.set_title(title)
    return ax


def plot_fits(x, y, predictions):
    """One panel for each entry of predictions ({title: tensor like y}): the points, and the prediction in red."""
    _, axes = plt.subplots(
        1, len(predictions), figsize=(4 * len(predictions), 3.4), sharey=True, squeeze=False
    )
    for ax, (title, prediction) in zip(axes[0], predictions.items()):
        ax.scatter(x, y, s=18, color=GREY, alpha=0.7, label="data")
        ax.plot(x, prediction.detach(), color=RED, linewidth=3, label="prediction")
        ax.set(title=title, xlabel="x")
    axes[0, 0].set_ylabel("y")
    axes[0, 0].legend(loc="upper center")
    return axes[0]


def plot_memory(arrays):
    """Draw the numbers of {name: tensor or array}, a box each. Names that share memory share a row of boxes."""
    rows = {}  # where the numbers start in memory: the names and the numbers found there
    for name, array in arrays.items():
        numbers = torch.as_tensor(array).detach().flatten()
        rows.setdefault(numbers.data_ptr(), ([], numbers))[0].append(name)
    width = max(len(numbers) for _, numbers in rows.values())
    left = 0.8 + 0.08 * max(map(len, arrays))  # an arrow and the longest name; a box is 1 wide
    _, ax = plt.subplots(figsize=(1.4 * (left + width), 1 + 1.3 * len(rows)))
    for row, (names, numbers) in enumerate(rows.values()):
        color, style = ((RED, "-"), (GREEN, "--"))[row % 2]
        for column, number in enumerate(numbers.tolist()):
            box = plt.Rectangle((column, row - 0.3), 1, 0.6, fill=False, edgecolor=color)
            box.set(linewidth=2.5, linestyle=style)
            ax.add_patch(box)
            ax.text(
                column + 0.5, row, f"{round(number, 2):g}", ha="center", va="center", fontsize=14
            )
        for place, name in enumerate(names):
            y = row + 0.4 * (place - (len(names) - 1) / 2)
            arrow = {"arrowstyle": "->", "color": color, "shrinkA": 4}
            font = {"family": "monospace", "fontsize": 13, "ha": "right", "va": "center"}
            ax.annotate(name, (-0.03, y), (-0.6, y), arrowprops=arrow, **font)
    ax.set(xlim=(-left, width + 0.05), ylim=(len(rows) - 0.6, -0.4))
    ax.set_title(",\n".join(map(_memory_of, (names for names, _ in rows.values()))))
    ax.set_axis_off()
    return ax


def _memory_of(names):
    # The line of plot_memory's title for the names of one row.
    if len(names) == 1:
        return f"{names[0]} has its own"
    return f"{', '.join(names[:-1])} and {names[-1]} share memory"


def plot_grid(table, words, title, xlabel, ylabel):
    """Draw a table {row: {column: bool}}: a red field with words[0] for True, a green one with words[1] for False."""
    columns = list(next(iter(table.values())))
    _, ax = plt.subplots(figsize=(2.5 + 1.5 * len(columns), 1.2 + 0.6 * len(table)))
    for y, row in enumerate(table.values()):
        for x, column in enumerate(columns):
            color, word = (RED, words[0]) if row[column] else (GREEN, words[1])
            ax.add_patch(plt.Rectangle((x + 0.02, y + 0.04), 0.96, 0.92, color=color))
            ax.text(x + 0.5, y + 0.5, word, ha="center", va="center", color="white", fontsize=12)
    ax.set_xticks([x + 0.5 for x in range(len(columns))], columns)
    ax.set_yticks([y + 0.5 for y in range(len(table))], list(table))
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, xlim=(0, len(columns)), ylim=(len(table), 0))
    ax.tick_params(length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax


# ---------------------------------------------------------------- several processes


def run_program(path, program):
    """Write a program (str) to path and run it in a new process, as `python NAME` in its folder does.

    Returns:
        str: the last line that it prints or, if it stops with an error, the last line of the error; "" if there is
        none. The path of the folder is shortened to "…".
    """
    path = Path(path).resolve()
    path.write_text(program, encoding="utf-8")
    command = [sys.executable, path.name]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True)
    said = done.stderr if done.returncode else done.stdout
    return said.replace(str(path.parent), "…").rstrip().rpartition("\n")[2]


# What torchrun and the lessons' programs import. On Linux one process imports it and forks all others: they need not
# import it again, and share its memory.
RANKS_IMPORT = ["helper", "torch._dynamo", "torch.distributed.checkpoint", "torch.distributed.fsdp"]
RANKS_IMPORT += ["torch.distributed.run"]


def torchrun(script, ranks, *arguments, check=True, timeout=300):
    """Run a script in several processes, as `torchrun --nproc-per-node RANKS SCRIPT ARGUMENTS` does.

    They talk through 127.0.0.1 and a free port, so no network but this machine's own (`lo`) is needed,
    and any number of calls can run side by side. Each process has one thread, and the environment and
    the working directory of this one.

    Args:
        script (str or Path): a Python file. ranks (int): how many processes. arguments: for each, as text.
        check (bool): whether it is an error if a process fails.
        timeout (float): seconds after which all processes are ended.

    Returns:
        subprocess.CompletedProcess: returncode, 0 or 1, stdout and stderr of all processes and of torchrun.

    Raises:
        RuntimeError: a process failed, or time is up; its text ends with what the processes said last.
    """
    start = "fork" if sys.platform == "linux" else "spawn"
    options = f"--standalone --local-addr 127.0.0.1 --run-path --start-method {start}"
    program = [*options.split(), "--nproc-per-node", ranks, Path(script).resolve(), *arguments]
    done, late = _wait_for([str(each) for each in program], timeout)
    if late or (check and done.returncode):
        problem = f"not done after {timeout} seconds" if late else f"exit code {done.returncode}"
        # The lines that begin like E1126 or W1126, and those behind them, are torchrun's own.
        said = re.split(r"^[EW]\d{4} ", done.stderr, maxsplit=1, flags=re.MULTILINE)[0].rstrip()
        head = f"{Path(script).name} in {ranks} processes: {problem}"
        raise RuntimeError("\n".join([head, *said.splitlines()[-15:]]))
    return done


def _wait_for(program, timeout):
    # Returns the CompletedProcess, and whether time was up.
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload(RANKS_IMPORT)
    with tempfile.TemporaryDirectory() as temporary:  # torchrun leaves files there
        said = [Path(temporary, name) for name in ("stdout.txt", "stderr.txt")]
        for path in said:
            path.touch()
        arguments = (program, os.getcwd(), _environment(temporary), said)
        launcher = context.Process(target=_launch, args=arguments)
        for_imports = {"PYTHONPATH": str(ROOT), "TORCHINDUCTOR_CACHE_DIR": temporary}
        with mock.patch.dict(os.environ, {"OMP_NUM_THREADS": "1", **for_imports}):
            launcher.start()
        try:
            launcher.join(timeout)
            late = launcher.is_alive()
        finally:  # also if the kernel was interrupted
            launcher.terminate()  # not kill: told to end, torchrun ends its processes first
            launcher.join()
        stdout, stderr = [path.read_text("utf-8", errors="replace") for path in said]
    return subprocess.CompletedProcess(program, launcher.exitcode, stdout, stderr), late


def _launch(program, folder, environment, said):
    # In the new process: become torchrun, with the caller's folder and environment.
    from torch.distributed.run import main

    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # look it up again, as the next line does
    torch.distributed.set_debug_level_from_env()
    main(program)


def _environment(temporary):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": temporary}
    # gloo would look up the host's name, which need not have an address.
    if local := {"lo", "lo0"} & {name for _, name in socket.if_nameindex()}:
        environment["GLOO_SOCKET_IFNAME"] = local.pop()
    return environment


# ---------------------------------------------------------------- errors, comparing, exercises


def error_of(action):
    """Call action() and return the error that it raises, as `Type: message`; AssertionError if it raises none."""
    try:
        action()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # as in `exercise`
        return f"{type(error).__name__}: {error}"
    else:
        raise AssertionError("no error was raised")


def explain(what=None):
    """Print what doctor.py says of the last error that a cell ended with, of a message, or of a file.

    what (None, an error, its text, or the path of a file or folder): None stands for the last error.
    """
    if what is None:
        what = getattr(sys, "last_value", "")
    if isinstance(what, BaseException):
        what = "".join(traceback.format_exception(what))
    if isinstance(what, os.PathLike) or (what and doctor.is_path(what)):
        print("\n".join(doctor.show(doctor.examine(what))))
    else:
        print(doctor.answer(what) if what else "No cell has ended with an error yet.")


def save_as_if_on(device, obj, path):
    """torch.save(obj, path), as on a machine with that device: the file says that its tensors were on it."""
    with mock.patch("torch.serialization.location_tag", return_value=device):
        torch.save(obj, path)


def same_weights(model, other):
    """Whether two models (nn.Module) have the same state_dict: the same keys, dtypes, shapes and numbers."""
    ours, theirs = model.state_dict(), other.state_dict()
    # torch.equal alone takes 1.0 in float32 and 1.0 in float64 for the same.
    return ours.keys() == theirs.keys() and all(
        ours[key].dtype == theirs[key].dtype and torch.equal(ours[key], theirs[key]) for key in ours
    )


def changed(before, after):
    """The keys (list of str) under which two models (nn.Module) hold different numbers.

    Both have the same keys and shapes. A NaN differs from everything, itself included. Numbers that
    are equal in two dtypes count as the same.
    """
    ours, theirs = before.state_dict(), after.state_dict()
    return [key for key in ours if not torch.equal(ours[key], theirs[key])]


@contextmanager
def exercise(name):
    """Run the asserts of an exercise's check; print its mark, or "not yet" and a hint, and never stop the notebook.

    >>> with exercise("1.2"):
    ...     assert 1 + 1 == 2, "count again"
    ✅ Exercise 1.2
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # CheckpointException of DCP is no Exception
        named = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        print(f"⬜ Exercise {name}: not yet. {f'{named}{error}' or 'A check failed.'}")
    else:
        print(f"✅ Exercise {name}")
