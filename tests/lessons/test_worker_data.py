"""The datasets that lesson 06 hands to worker processes."""

import time

import pytest
import torch
import worker_data
from torch.utils.data import DataLoader

# A copy of the running process, which not every system has, and a new Python, which imports the classes.
METHODS = [
    method
    for method in ("fork", "spawn")
    if method in torch.multiprocessing.get_all_start_methods()
]


@pytest.mark.parametrize("method", METHODS)
def test_workers_fetch_the_slow_samples_in_order(method):
    loader = DataLoader(
        worker_data.Slow(), batch_size=8, num_workers=2, multiprocessing_context=method
    )
    assert [number for batch in loader for number in batch.tolist()] == list(range(32))


def test_a_slow_sample_takes_10_ms():
    start = time.perf_counter()
    assert worker_data.Slow()[3] == 3
    assert time.perf_counter() - start >= 0.01
    assert len(worker_data.Slow()) == 32


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_each_worker_repeats_the_stream_and_divides_the_divided_one(workers):
    def numbers(data):
        return sorted(int(n) for batch in DataLoader(data, num_workers=workers) for n in batch)

    assert numbers(worker_data.Numbers()) == sorted(list(range(6)) * max(workers, 1))
    assert numbers(worker_data.DividedNumbers()) == list(range(6))


def draw(**options):
    loader = DataLoader(worker_data.Noisy(), batch_size=4, num_workers=2, **options)
    return [batch.tolist() for _ in range(2) for batch in loader]


def test_workers_copy_the_generator_of_the_dataset_and_reseed_separates_the_copies():
    first, *others = draw()
    assert len(set(first)) == 4 and all(batch == first for batch in others)
    torch.manual_seed(1)
    reseeded = draw(worker_init_fn=worker_data.reseed)
    assert len({number for batch in reseeded for number in batch}) == 16
    torch.manual_seed(1)
    assert draw(worker_init_fn=worker_data.reseed) == reseeded
