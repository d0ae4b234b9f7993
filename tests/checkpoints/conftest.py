"""What the tests of checkpoints have at hand: a path, and programs that leave no save behind."""

import pytest
from checkpoint_tools import make_model

import checkpoints


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.pt"


@pytest.fixture
def model():
    return make_model(6, 5, 4, 3)


@pytest.fixture(autouse=True)
def no_job_is_left():
    yield
    left, checkpoints._jobs[:] = list(checkpoints._jobs), []
    assert all(job.seen for job in left), "a test left a save in the background"
