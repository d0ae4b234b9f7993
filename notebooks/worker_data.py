"""Two datasets for the worker processes of lesson 06.

They stand in a file of their own because a worker process may be a new Python, which has to import their classes.
"""

import random
import time

import torch
from torch.utils.data import Dataset, get_worker_info


class Slow(Dataset):
    """32 samples that take 10 ms each, as from a slow disk. The sample is the number of the worker that fetched it."""

    def __len__(self):
        return 32

    def __getitem__(self, i):
        time.sleep(0.01)
        worker = get_worker_info()  # None where there are no workers
        return worker.id if worker else -1


class Noisy(Dataset):
    """8 samples, each a random number from a generator that the dataset owns."""

    def __init__(self):
        self.random = random.Random(0)

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return self.random.random()


def reseed(worker_id):
    """A worker_init_fn: PyTorch gives each worker another torch.initial_seed(), each time workers start."""
    get_worker_info().dataset.random.seed(torch.initial_seed())
