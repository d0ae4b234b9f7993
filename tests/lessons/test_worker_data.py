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
def test_a_slow_sample_is_the_number_of_the_worker_that_fetched_it(method):
    loader = DataLoader(
        worker_data.Slow(), batch_size=8, num_workers=2, multiprocessing_context=method
    )
    assert [batch.tolist() for batch in loader] == [[0] * 8, [1] * 8] * 2


def test_without_workers_a_slow_sample_is_minus_one_and_takes_10_ms():
    start = time.perf_counter()
    assert worker_data.Slow()[0] == -1
    assert time.perf_counter() - start >= 0.01
    assert len(worker_data.Slow()) == 32


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
