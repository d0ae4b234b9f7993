"""Datasets for the worker processes of lesson 06.

They are in a file of their own because a worker process may be a new Python, which has to import their classes.
"""

import random
import time

import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info


class Slow(Dataset):
    """32 samples that take a hundredth of a second each, as from a slow disk."""

    def __len__(self):
        return 32

    def __getitem__(self, i):
        time.sleep(0.01)
        return i


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


class Noisy(Dataset):
    """8 samples, each a random number from a generator that the dataset owns."""

    def __init__(self):
        self.random = random.Random(0)

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return self.random.random()


def reseed(worker_id):
    """A worker_init_fn: it seeds the worker's copy of the generator.

    torch.initial_seed() differs between workers, and each time workers start.
    """
    get_worker_info().dataset.random.seed(torch.initial_seed())
