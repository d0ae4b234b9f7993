"""The points of the regression lessons, the pictures, and the marks of the exercises."""

import copy
import doctest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import figures
import matplotlib.pyplot as plt
import numpy as np
import psutil
import pytest
import torch
from matplotlib.colors import to_rgb, to_rgba
from torch import nn

import helper


def texts(ax):
    return [text.get_text() for text in ax.texts]


def bars(ax):
    """(left, right) of each bar that broken_barh drew, in the order of drawing."""
    boxes = [path.get_extents() for collection in ax.collections for path in collection.get_paths()]
    return [(round(box.x0), round(box.x1)) for box in boxes]


# ---------------------------------------------------------------- folder


def test_a_folder_of_a_lesson_is_emptied_and_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("LESSON_FILES", str(tmp_path))
    folder = helper.folder("04")
    assert folder == tmp_path / "04" and list(folder.iterdir()) == []
    (folder / "sub").mkdir()
    (folder / "sub" / "old.pth").touch()
    other = helper.folder("05") / "other.pth"
    other.touch()
    assert list(helper.folder("04").iterdir()) == [] and other.exists()


def test_without_the_variable_a_folder_is_one_of_the_project(monkeypatch, tmp_path):
    monkeypatch.delenv("LESSON_FILES", raising=False)
    assert Path(helper.__file__).parent == helper.ROOT
    monkeypatch.setattr(helper, "ROOT", tmp_path)
    assert helper.folder("04") == tmp_path / "build" / "lessons" / "04"


@pytest.mark.parametrize("lesson", ["4", "..", "", "04/..", "004", "ab"])
def test_a_folder_that_is_none_of_a_lesson_is_refused(lesson, tmp_path, monkeypatch):
    monkeypatch.setenv("LESSON_FILES", str(tmp_path))
    (tmp_path / "kept").touch()
    with pytest.raises(ValueError, match="two digits such as '04', got"):
        helper.folder(lesson)
    assert (tmp_path / "kept").exists()


# ---------------------------------------------------------------- regression_data


def test_regression_data_is_a_noisy_parabola_in_two_columns():
    x, y = helper.regression_data()
    for tensor in (x, y):
        assert tensor.shape == (100, 1) and tensor.dtype == torch.float32
    assert torch.equal(x.flatten(), torch.linspace(-1, 1, 100))
    noise = y - x**2
    assert 0 <= noise.min() < 0.02 and 0.18 < noise.max() < 0.2


def test_regression_data_follows_its_arguments():
    x, y = helper.regression_data(seed=2019, n=7, noise=0)
    assert x.shape == (7, 1) and torch.equal(y, x**2)
    x, y = helper.regression_data(noise=3)
    assert 2 < (y - x**2).max() < 3


@pytest.mark.parametrize("seed", [1, 2019])
def test_regression_data_is_what_the_global_seed_would_give(seed):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    x, y = helper.regression_data(seed)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(seed)
    assert torch.equal(y, x**2 + 0.2 * torch.rand(100, 1))


def test_the_seed_decides_the_points():
    assert torch.equal(helper.regression_data(1)[1], helper.regression_data()[1])
    assert not torch.equal(helper.regression_data(1)[1], helper.regression_data(2)[1])


# ---------------------------------------------------------------- imshow


@pytest.mark.parametrize(
    ("shape", "drawn"), [((28, 28), (28, 28)), ((1, 28, 28), (28, 28)), ((3, 20, 30), (20, 30, 3))]
)
def test_imshow_undoes_the_normalisation(shape, drawn):
    zero_to_one = torch.rand(shape)
    ax = helper.imshow(zero_to_one * 2 - 1)
    (picture,) = ax.images
    expected = zero_to_one.movedim(0, -1) if shape[0] == 3 else zero_to_one.view(28, 28)
    assert picture.get_array().shape == drawn
    np.testing.assert_allclose(picture.get_array(), expected, atol=1e-6)
    assert picture.get_clim() == (0, 1) and picture.get_cmap().name == "gray"
    assert not ax.axison


def test_imshow_draws_raw_values_on_request_and_clips_the_rest():
    image = torch.tensor([[-1.0, 0.0], [0.25, 2.0]])
    np.testing.assert_array_equal(
        helper.imshow(image, normalize=False).images[0].get_array(), [[0, 0], [0.25, 1]]
    )
    np.testing.assert_array_equal(
        helper.imshow(image).images[0].get_array(), [[0, 0.5], [0.625, 1]]
    )


def test_imshow_draws_where_it_is_told():
    _, (left, right) = plt.subplots(1, 2)
    assert helper.imshow(torch.zeros(28, 28), ax=right, title="Boot") is right
    assert right.get_title() == "Boot" and len(right.images) == 1 and not left.images
    assert helper.imshow(torch.zeros(28, 28)).get_title() == ""
    assert len(plt.get_fignums()) == 2


@pytest.mark.parametrize(
    "shape", [(784,), (2, 28, 28), (4, 28, 28), (28, 28, 1), (1, 1, 28, 28), ()]
)
def test_imshow_refuses_other_shapes_by_name(shape):
    with pytest.raises(ValueError, match=r"^image ") as error:
        helper.imshow(torch.zeros(shape))
    assert str(shape) in str(error.value)
    assert not plt.get_fignums()


IMAGES = {
    "plain": lambda: torch.rand(1, 28, 28),
    "flat": lambda: torch.rand(28, 28),
    "not contiguous": lambda: torch.rand(28, 28).t(),
    "a view of a batch": lambda: torch.rand(64, 1, 28, 28)[3],
    "with gradients": lambda: torch.rand(1, 28, 28, requires_grad=True),
    "half": lambda: torch.rand(1, 28, 28).half(),
}


def looks(tensor):
    """All of a tensor but its numbers."""
    return (
        tensor.shape,
        tensor.stride(),
        tensor.dtype,
        tensor.requires_grad,
        tensor.data_ptr(),
    )


@pytest.mark.parametrize("kind", IMAGES)
def test_imshow_leaves_its_argument_as_it_was(kind):
    img = IMAGES[kind]()
    values, rest = img.detach().clone(), looks(img)
    ax = helper.imshow(img)
    ax.images[0].get_array()[:] = 0  # What is drawn does not share memory with the tensor either.
    assert torch.equal(img, values) and looks(img) == rest


# ---------------------------------------------------------------- plots


@pytest.mark.parametrize("count", [1, 3])
def test_plot_fits_draws_the_points_and_a_red_line_in_each_panel(count):
    x, y = helper.regression_data()
    net = nn.Linear(1, 1)
    predictions = {f"net{i}": net(x) + i for i in range(count)}
    axes = helper.plot_fits(x, y, predictions)
    assert [ax.get_title() for ax in axes] == list(predictions)
    for ax, prediction in zip(axes, predictions.values()):
        np.testing.assert_array_equal(ax.collections[0].get_offsets(), torch.cat([x, y], dim=1))
        (line,) = ax.lines
        np.testing.assert_array_equal(line.get_xydata(), torch.cat([x, prediction], dim=1).detach())
        assert line.get_color() == helper.RED and line.get_linewidth() >= 3
        assert ax.get_xlabel() == "x"
    assert axes[0].get_ylabel() == "y"
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["data", "prediction"]
    assert (
        len({ax.get_ylim() for ax in axes}) == 1
    )  # One scale, or the panels could not be compared.


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"large": torch.rand(300, 10), "small": torch.rand(3), "odd": torch.rand(501)}, path)
    return path


def test_plot_agreement_is_green_only_where_all_answers_are_equal():
    answers = torch.rand(3, 5)
    close = answers.clone()
    close[0, 0] += 1e-6
    axes = figures.plot_agreement(answers, {"same": answers.clone(), "almost": close})
    assert [ax.get_title() for ax in axes] == ["same", "almost"]
    for ax, color in zip(axes, (helper.GREEN, helper.RED)):
        (dots,) = ax.collections
        assert tuple(dots.get_facecolor()[0][:3]) == to_rgb(color) and len(dots.get_offsets()) == 15


def test_plot_grid_draws_each_field_in_its_row_and_column():
    table = {"one": {"a": True, "b": False}, "two": {"b": True, "a": False}}
    ax = helper.plot_grid(table, ("yes", "no"), "title", "column", "row")
    fields = {(int(p.get_x()), int(p.get_y())): p.get_facecolor()[:3] for p in ax.patches}
    red, green = to_rgb(helper.RED), to_rgb(helper.GREEN)
    assert fields == {(0, 0): red, (1, 0): green, (0, 1): green, (1, 1): red}
    assert texts(ax) == ["yes", "no", "no", "yes"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "two"]
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("title", "column", "row")
    assert ax.get_ylim() == (2, 0)  # the first row on top


def test_explain_speaks_of_the_last_error_a_message_or_a_file(capsys, tmp_path, monkeypatch):
    monkeypatch.delattr("sys.last_value", raising=False)
    helper.explain()
    assert capsys.readouterr().out == "No cell has ended with an error yet.\n"
    with pytest.raises(RuntimeError) as caught:
        nn.Linear(2, 3).load_state_dict(nn.Linear(4, 3).state_dict())
    monkeypatch.setattr("sys.last_value", caught.value, raising=False)
    helper.explain()
    said = capsys.readouterr().out
    assert "docs/errors.md#size-mismatch " in said
    for same in (caught.value, str(caught.value)):
        helper.explain(same)
        assert capsys.readouterr().out == said
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "a.pth")
    for path in (tmp_path / "a.pth", str(tmp_path / "a.pth")):
        helper.explain(path)
        assert capsys.readouterr().out.startswith("a.pth · a state_dict, 2 tensors")
    helper.explain("no such message")
    assert capsys.readouterr().out.startswith("No entry of docs/errors.md fits")


def test_error_of_returns_type_and_text_and_demands_an_error():
    assert helper.error_of(lambda: {}["key"]) == "KeyError: 'key'"
    assert helper.error_of(lambda: torch.zeros(2).view(3)).startswith(
        "RuntimeError: shape '[3]' is invalid"
    )
    with pytest.raises(AssertionError, match="no error was raised"):
        helper.error_of(lambda: None)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_error_of_does_not_keep_the_kernel_from_stopping(error):
    def stop():
        raise error

    with pytest.raises(error):
        helper.error_of(stop)


def test_save_as_if_on_writes_a_file_that_names_the_device(tmp_path):
    helper.save_as_if_on("cuda:9", torch.ones(2), tmp_path / "ones.pt")
    assert "object on" in helper.error_of(lambda: torch.load(tmp_path / "ones.pt"))
    assert torch.equal(torch.load(tmp_path / "ones.pt", map_location="cpu"), torch.ones(2))


def test_changed_lists_the_keys_of_other_numbers_parameters_and_buffers():
    model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    other = copy.deepcopy(model)
    assert helper.changed(model, other) == []
    other(torch.ones(3, 2))
    other[0].bias.data[0] += 1e-6
    buffers = [f"1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")]
    assert helper.changed(model, other) == helper.changed(other, model) == ["0.bias", *buffers]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (nn.Linear(2, 1), True),
        (nn.Linear(2, 1, bias=False), False),
        (nn.Linear(3, 1), False),
        (nn.Linear(2, 1).double(), False),
        (nn.Sequential(nn.Linear(2, 1)), False),
    ],
)
def test_same_weights_compares_keys_shapes_dtypes_and_numbers(other, same):
    model = nn.Linear(2, 1)
    for parameter in [*model.parameters(), *other.parameters()]:
        nn.init.ones_(parameter)
    assert helper.same_weights(model, other) == helper.same_weights(other, model) == same
    model.bias.data[0] = 1.0000001
    assert not helper.same_weights(model, other)


def test_every_picture_can_be_written_as_a_png(saved, tmp_path):
    x, y = helper.regression_data()
    helper.imshow(torch.zeros(28, 28), title="Image")
    helper.plot_fits(x, y, {"fit": y})
    figures.plot_agreement(torch.rand(9), {"other": torch.rand(9)})
    helper.plot_grid({"one": {"a": True}}, ("yes", "no"), "title", "column", "row")
    for number in plt.get_fignums():
        path = tmp_path / f"{number}.png"
        plt.figure(number).savefig(path, dpi=40)
        assert plt.imread(path).std() > 0.01  # Not an empty sheet.
    assert len(plt.get_fignums()) == 4


def test_the_defaults_are_readable_and_the_colours_differ():
    assert plt.rcParams["axes.titlesize"] >= 12 and plt.rcParams["axes.labelsize"] >= 11
    colors = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert len({to_rgba(color) for color in colors}) == len(colors) == 5


# ---------------------------------------------------------------- exercise


def test_a_passed_exercise_prints_its_mark(capsys):
    with helper.exercise("1.2"):
        pass
    assert capsys.readouterr().out == "✅ Exercise 1.2\n"


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (AssertionError("count again"), "count again"),
        (AssertionError(), "A check failed."),
        (NameError("name 'answer' is not defined"), "NameError: name 'answer' is not defined"),
        (KeyError("fc.weight"), "KeyError: 'fc.weight'"),
        (RuntimeError("size mismatch"), "RuntimeError: size mismatch"),
        (NotImplementedError(), "NotImplementedError: "),
        (StopIteration(), "StopIteration: "),
    ],
)
def test_a_failed_exercise_prints_a_hint_and_lets_the_notebook_go_on(capsys, error, hint):
    with helper.exercise("1.2"):
        raise error
    captured = capsys.readouterr()
    assert captured.out == f"⬜ Exercise 1.2: not yet. {hint}\n"
    assert captured.err == ""


def test_a_check_stops_at_the_first_failure(capsys):
    reached = []
    with helper.exercise("2.1"):
        reached.append("before")
        raise AssertionError("here")
        reached.append("after")
    assert reached == ["before"] and "✅" not in capsys.readouterr().out


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_stopping_the_kernel_still_stops_it(capsys, error):
    with pytest.raises(error), helper.exercise("1.2"):
        raise error
    assert capsys.readouterr().out == ""


def test_the_docstring_examples_hold():
    result = doctest.testmod(helper)
    assert (result.failed, result.attempted) == (0, 1)


def test_bytes_are_refused():
    with pytest.raises(ValueError, match="image must be float"):
        helper.imshow(torch.zeros(28, 28, dtype=torch.uint8))


class OfItsOwn(BaseException):
    """As torch.distributed.checkpoint's CheckpointException: no Exception."""


def test_an_error_that_is_no_exception_is_reported_too(capsys):
    with helper.exercise("9.2"):
        raise OfItsOwn("no metadata")
    assert capsys.readouterr().out == "⬜ Exercise 9.2: not yet. OfItsOwn: no metadata\n"

    def fails():
        raise OfItsOwn("no metadata")

    assert helper.error_of(fails) == "OfItsOwn: no metadata"


# ---------------------------------------------------------------- run_program, fashion_mnist_root


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_run_program_writes_the_program_runs_it_in_its_folder_and_returns_the_last_line(
    tmp_path, monkeypatch
):
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    program = "import os, sys\nprint('first')\nprint('é', sys.argv, os.getcwd())\n"
    program += "print('a warning', file=sys.stderr)"
    said = helper.run_program("../there/prog.py", program)
    assert said == "é ['prog.py'] …"
    assert files_in(tmp_path) == ["here", "there", "there/prog.py"]
    assert (tmp_path / "there" / "prog.py").read_text(encoding="utf-8") == program


def test_run_program_returns_the_last_line_of_an_error_without_the_path_of_the_folder(tmp_path):
    program = "print('before')\nraise ValueError(f'cannot read {__file__}')"
    assert helper.run_program(tmp_path / "prog.py", program) == "ValueError: cannot read …/prog.py"
    assert helper.run_program(tmp_path / "prog.py", "1 +").startswith("SyntaxError: ")
    assert helper.run_program(tmp_path / "prog.py", "pass") == ""
    assert files_in(tmp_path) == ["prog.py"]


def test_run_program_is_a_python_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.of_this_process", 1, raising=False)
    said = helper.run_program(tmp_path / "prog.py", "print(of_this_process)")
    assert said.startswith("NameError: ")


def test_fashion_mnist_root_copies_the_four_files_and_leaves_data_alone(tmp_path):
    data = files_in(helper.DATA)
    (tmp_path / "kept").touch()
    for _ in range(2):  # a second time over the first copies
        assert helper.fashion_mnist_root(tmp_path) == tmp_path
    raw = [f"FashionMNIST/raw/{name}" for name in helper.CHECKSUMS]
    assert files_in(tmp_path) == sorted(["FashionMNIST", "FashionMNIST/raw", "kept", *raw])
    assert all((tmp_path / name).read_bytes() == (helper.DATA / name).read_bytes() for name in raw)
    assert files_in(helper.DATA) == data


def test_fashion_mnist_root_does_not_copy_a_missing_or_damaged_file(tmp_path, monkeypatch):
    raw = tmp_path / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    monkeypatch.setattr(helper, "DATA", tmp_path / "data")
    first = next(iter(helper.CHECKSUMS))
    with pytest.raises(FileNotFoundError, match=f"{first} is missing. Restore the folder"):
        helper.fashion_mnist_root(tmp_path / "root")
    (raw / first).write_bytes(b"damaged")
    with pytest.raises(RuntimeError, match=f"{first} is damaged: .* Restore the folder"):
        helper.fashion_mnist_root(tmp_path / "root")
    assert not [path for path in (tmp_path / "root").rglob("*") if path.is_file()]


# ---------------------------------------------------------------- torchrun

RANKS = """
import os, sys, time
rank, what = os.environ["RANK"], sys.argv[1]
told = [os.environ[name] for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "OMP_NUM_THREADS")]
# In one piece: without a buffer, print writes each word on its own, and the ranks' words mix.
sys.stdout.write(" ".join([*told, *sys.argv[2:]]) + "\\n")
sys.stdout.flush()
if what == "fail" and rank == "1":
    sys.exit("rank 1 gives up")
open(f"{os.path.dirname(__file__)}/{what}_{rank}", "w").write(str(os.getpid()))
time.sleep(60 if what == "sleep" else 0)
"""


@pytest.fixture(scope="module")
def launches(tmp_path_factory):
    """Three calls side by side: what each returned or raised, by the first argument of the script."""
    folder = tmp_path_factory.mktemp("torchrun")
    (folder / "ranks.py").write_text(RANKS)
    (folder / "temporary").mkdir()

    def call(what, **options):
        try:
            return helper.torchrun(folder / "ranks.py", 2, what, "two words", 3, **options)
        except RuntimeError as error:
            return str(error)

    with ThreadPoolExecutor() as pool, pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "TMPDIR", str(folder / "temporary")
        )  # of the processes: this one has looked it up before
        calls = {"work": {}, "fail": {}, "sleep": {"timeout": 9}}
        calls = {what: pool.submit(call, what, **options) for what, options in calls.items()}
        return folder, {what: future.result() for what, future in calls.items()}


def test_torchrun_starts_ranks_that_find_each_other_on_this_machine(launches):
    work = launches[1]["work"]
    assert (work.returncode, work.stderr) == (0, "")
    assert sorted(work.stdout.splitlines()) == [
        f"{rank} 2 127.0.0.1 1 two words 3" for rank in (0, 1)
    ]


def test_torchrun_raises_with_the_last_words_of_a_rank_that_failed(launches):
    assert launches[1]["fail"] == "ranks.py in 2 processes: exit code 1\nrank 1 gives up"


def test_torchrun_ends_all_ranks_when_time_is_up(launches):
    folder, results = launches
    assert results["sleep"] == "ranks.py in 2 processes: not done after 9 seconds"
    for path in folder.glob("sleep_*"):
        assert not psutil.pid_exists(int(path.read_text()))


def test_torchrun_leaves_nothing_in_the_folder_for_temporary_files(launches):
    assert list((launches[0] / "temporary").iterdir()) == []
