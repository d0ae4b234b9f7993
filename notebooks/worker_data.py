"""Datasets for the worker processes of lesson 06.

They are in a file of their own because a worker process may be a new Python, which has to import their classes.
"""

import random
import time

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info


class Slow(Dataset):
    """32 samples that take 10 ms each, as from a slow disk. The sample is the number of the worker that fetched it."""

    def __len__(self):
        return 32

    def __getitem__(self, i):
        time.sleep(0.01)
        worker = get_worker_info()  # None where there are no workers
        return worker.id if worker else -1


class Noisy(Dataset):
    """8 samples, each a random number.

    source says where the numbers come from: "its own" is a generator that the dataset owns; "random", "numpy" and
    "torch" are the global ones.
    """

    def __init__(self, source="its own"):
        self.source, self.random = source, random.Random(0)

    def __len__(self):
        return 8

    def __getitem__(self, i):
        if self.source == "torch":
            return torch.rand(1).item()
        sources = {"its own": self.random, "random": random, "numpy": np.random}
        return sources[self.source].random()


def reseed(worker_id):
    """A worker_init_fn: PyTorch gives each worker another torch.initial_seed(), each time workers start."""
    get_worker_info().dataset.random.seed(torch.initial_seed())


class Numbers(IterableDataset):
    """A stream of the numbers 0 to 5."""

    def __iter__(self):
        return iter(range(6))


class DividedNumbers(IterableDataset):
    """The same stream, divided among the workers."""

    def __iter__(self):
        worker = get_worker_info()  # None where there are no workers
        if worker is None:
            return iter(range(6))
        return iter(range(worker.id, 6, worker.num_workers))
