"""The faults of benchmarks/faults.py: functions that are bad on purpose earn what they deserve."""

import importlib.util
import os
import signal
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "faults.py"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the faults need os.fork")


def load_module():
    spec = importlib.util.spec_from_file_location("faults_under_test", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


faults = load_module()


NAMES = ["model", "optimizer", "scheduler", "generator", "random", "epoch", "classes"]


class Refused(RuntimeError):
    """The one error that the careful functions promise."""


# ---------------------------------------------------------------- functions, good and bad


def save_in_place(state, path):
    torch.save({name: faults.content(value) for name, value in state.items()}, path)


def save_then_rename(state, path, pause=0):
    temporary = path.with_name(path.name + ".tmp")
    try:
        save_in_place(state, temporary)
    except Exception as error:
        temporary.unlink()
        raise Refused(str(error)) from None
    time.sleep(pause)
    os.replace(temporary, path)


def load_checked(path):
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() or any(e.external_attr & 0x10 for e in archive.infolist()):
                raise Refused("damaged")
        saved = torch.load(path)
        if not isinstance(saved, dict) or list(saved) != NAMES:
            raise Refused("something else")
    except Exception as error:
        raise Refused(str(error)) from None
    return saved


def load_trusting(path):
    return torch.load(path, weights_only=False)


def restore(saved, state, forgotten=()):
    rest = {}
    for name, value in saved.items():
        if hasattr(state[name], "load_state_dict"):
            if name not in forgotten:
                state[name].load_state_dict(value)
        elif isinstance(state[name], torch.Generator):
            if name not in forgotten:
                state[name].set_state(value)
        else:
            rest[name] = value
    return rest


def save_in_two_files(state, path):
    path.mkdir(exist_ok=True)
    torch.save(state["model"].state_dict(), path / "model")
    save_in_place({name: value for name, value in state.items() if name != "model"}, path / "rest")


def restore_one_after_the_other(path, state):
    state["model"].load_state_dict(torch.load(path / "model"))
    return restore(torch.load(path / "rest"), state)


def swallowing(function, otherwise=None):
    def call(*arguments):
        try:
            return function(*arguments)
        except Exception:
            return otherwise

    return call


def die_of_damage(path):
    try:
        return load_checked(path)
    except Refused:
        os.kill(os.getpid(), signal.SIGKILL)


def hang_on_damage(path):
    try:
        return load_checked(path)
    except Refused:
        time.sleep(60)


CAREFUL = faults.Functions("careful", save_then_rename, load_checked, restore, Refused)
CARELESS = faults.Functions("careless", save_in_place, torch.load, restore)
TRUSTING = faults.Functions("trusting", save_in_place, load_trusting, restore)
FOLDER = faults.Functions(
    "folder", save_in_two_files, lambda path: path, restore_one_after_the_other
)
SWALLOWING = faults.Functions(
    "swallowing", swallowing(save_in_place), swallowing(torch.load), swallowing(restore, {})
)


# ---------------------------------------------------------------- careful functions


@pytest.mark.parametrize(
    ("fault", "count", "outcome"),
    [
        ("a file cut short", 30, "refused"),
        ("a file of another kind", 15, "refused"),
        ("a hostile file", 9, "refused"),
        ("a kill while saving", 8, "the same"),
        ("a full disk", 3, "the same"),
        ("resume", 2, "the same"),
    ],
)
def test_careful_functions_earn_the_best(fault, count, outcome, tmp_path):
    before = torch.get_rng_state()
    outcomes = faults.FAULTS[fault](CAREFUL, tmp_path, count, seed=3)
    assert outcomes == {outcome: count}
    assert torch.equal(torch.get_rng_state(), before)


def test_careful_functions_notice_each_flip_that_matters(tmp_path):
    outcomes = faults.flips(CAREFUL, tmp_path, 200, seed=3)
    assert outcomes.keys() == {"refused", "the same"} and outcomes.total() == 200
    assert outcomes["refused"] > 100


def test_the_same_seed_gives_the_same_cases(tmp_path):
    outcomes = []
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        (tmp_path / name).mkdir()
        outcomes.append(faults.cuts(CAREFUL, tmp_path / name, 2, seed).cases)
    assert outcomes[0] == outcomes[1] != outcomes[2]


def test_grade_goes_through_the_faults_and_clears_up(tmp_path):
    table = faults.grade(CAREFUL, tmp_path, {"resume": 1, "a file cut short": 2})
    assert table == {"resume": {"the same": 1}, "a file cut short": {"refused": 2}}
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- bad ones


def test_without_checks_flipped_bits_come_out_wrong(tmp_path):
    outcomes = faults.flips(CARELESS, tmp_path, 200, seed=3)
    assert outcomes["wrong"] > 30 and outcomes.total() == 200
    assert isinstance(outcomes.cases["wrong"], int)


def test_errors_that_are_swallowed_come_out_wrong(tmp_path):
    assert faults.cuts(SWALLOWING, tmp_path, 10, seed=3) == {"wrong": 10}


def test_an_error_of_another_kind_is_a_raw_error(tmp_path):
    raw = faults.Functions("raw", save_in_place, torch.load, restore, Refused)
    assert faults.cuts(raw, tmp_path, 10, seed=3) == {"raw error": 10}


def test_pieces_that_were_changed_before_the_error_are_half(tmp_path):
    outcomes = faults.cuts(FOLDER, tmp_path, 40, seed=3)
    assert outcomes.keys() == {"half", "refused"} and outcomes["half"] > 10


def test_whoever_unpickles_all_executes_all(tmp_path):
    assert faults.hostile_files(TRUSTING, tmp_path, 9, seed=3) == {"executed": 9}


def test_the_worst_file_of_a_folder_counts(tmp_path):
    def restore_trusting(path, state):
        state["model"].load_state_dict(torch.load(path / "model"))
        return restore(load_trusting(path / "rest"), state)

    half_trusting = faults.Functions("half", save_in_two_files, lambda path: path, restore_trusting)
    assert faults.hostile_files(half_trusting, tmp_path, 9, seed=3) == {"executed": 9}


@pytest.mark.parametrize("load", [die_of_damage, hang_on_damage])
def test_a_death_and_a_silence_are_counted_and_the_rest_goes_on(load, tmp_path, monkeypatch):
    monkeypatch.setattr(faults, "SECONDS", 2)
    bad = faults.Functions("bad", save_in_place, load, restore)
    path, expected = faults.save_one(bad, tmp_path, 3)
    files = faults.files_of(path)

    def outcome(cut):
        faults.spoil(files, path, files[path][: -10 if cut else None])
        return faults.verdict(bad, path, expected)

    outcomes = faults.one_by_one(outcome, [0, 1, 0, 1, 0])
    assert outcomes == {"the same": 3, "crashed": 2}


def test_a_kill_while_saving_in_place_loses_the_checkpoint(tmp_path):
    outcomes = faults.kills(CARELESS, tmp_path, 12, seed=3)
    assert outcomes["lost"] > 3 and outcomes.total() == 12


def test_kills_between_writing_and_renaming_are_noted(tmp_path):
    def save_slowly(state, path):
        save_then_rename(state, path, pause=0.1)

    slow = faults.Functions("slow", save_slowly, load_checked, restore, Refused)
    outcomes = faults.kills(slow, tmp_path, 8, seed=3)
    assert outcomes == {"the same": 8}
    assert outcomes.notes["left something"] >= outcomes.notes["between writing and renaming"] > 2
    assert outcomes.notes["there after the next save"] == 0


def test_a_save_that_never_ends_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(faults, "SECONDS", 1)
    endless = faults.Functions("endless", lambda *_: time.sleep(60), load_checked, restore)
    with pytest.raises(RuntimeError, match="endless: the process died while saving, or took too"):
        faults.kills(endless, tmp_path, 1, seed=3)


def test_a_kill_may_not_bring_back_what_is_older(tmp_path):
    first = []

    def keep_the_first(state, path):
        if not path.exists():
            save_then_rename(state, path)
        first.append(path)

    stale = faults.Functions("stale", keep_the_first, load_checked, restore, Refused)
    assert faults.kills(stale, tmp_path, 4, seed=3)["wrong"] == 4


@pytest.mark.parametrize("disk", [True, False])
def test_a_full_disk_loses_what_is_saved_in_place(disk, tmp_path, monkeypatch):
    if not disk:
        monkeypatch.setattr(faults, "apart", lambda: False)
    outcomes = faults.full_disk(CARELESS, tmp_path, 3, seed=3)
    assert outcomes == {"lost": 3}
    if not disk:
        assert outcomes.notes["by a limit instead"] == 3


def test_a_save_that_hides_the_full_disk_is_wrong(tmp_path):
    assert faults.full_disk(SWALLOWING, tmp_path, 2, seed=3) == {"wrong": 2}


def test_the_small_disk_is_seen_by_nobody_else(tmp_path):
    before = Path("/proc/self/mounts").read_text() if sys.platform == "linux" else ""
    outcomes = faults.full_disk(CAREFUL, tmp_path, 1, seed=3)
    if outcomes.notes["by a limit instead"]:
        pytest.skip("this machine lets nobody mount a small disk")
    assert Path("/proc/self/mounts").read_text() == before
    assert [list(folder.iterdir()) for folder in tmp_path.iterdir()] == [[]]


@pytest.mark.parametrize("forgotten", ["model", "optimizer", "scheduler", "generator", "random"])
def test_a_piece_that_is_not_put_back_shows(forgotten, tmp_path):
    bad = faults.Functions(
        "bad", save_in_place, torch.load, lambda saved, state: restore(saved, state, [forgotten])
    )
    assert faults.resume(bad, tmp_path, 1, seed=3) == {"wrong": 1}
    with pytest.raises(RuntimeError, match=r"bad: an undamaged checkpoint comes to \['wrong'\]"):
        faults.flips(bad, tmp_path, 1, seed=3)


def test_a_value_that_is_not_given_back_shows(tmp_path):
    bad = faults.Functions(
        "bad", save_in_place, torch.load, lambda saved, state: restore(saved, state) and {}
    )
    with pytest.raises(RuntimeError, match=r"undamaged checkpoint comes to \['wrong'\]"):
        faults.cuts(bad, tmp_path, 1, seed=3)


def test_only_what_is_promised_is_compared(tmp_path):
    weights = faults.Functions(
        "weights",
        lambda state, path: torch.save(state["model"].state_dict(), path),
        torch.load,
        lambda saved, state: state["model"].load_state_dict(saved) and {},
        keeps=("model",),
    )
    assert faults.cuts(weights, tmp_path, 3, seed=3) == {"refused": 3}
    assert faults.resume(weights, tmp_path, 1, seed=3) == {}


def test_an_error_of_the_harness_itself_is_not_an_outcome():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        faults.one_by_one(lambda case: 1 / case, [1, 0])


# ---------------------------------------------------------------- the exact comparison


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, True),
        (1, 1.0),
        ((1,), [1]),
        (0.0, -0.0),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (torch.tensor(0.0), torch.tensor(-0.0)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2), torch.zeros(1, 2)),
    ],
)
def test_what_differs_in_type_order_or_bit_is_not_the_same(a, b):
    assert faults.same(a, a) and faults.same(b, b)
    assert not faults.same(a, b) and not faults.same([a], [b]) and not faults.same({1: a}, {1: b})
