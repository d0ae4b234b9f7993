"""The comparison of rivals: adapters that bring back what they save, the figures, and the page."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "rivals.md"


@pytest.fixture(scope="module")
def rivals():
    spec = importlib.util.spec_from_file_location("rivals", ROOT / "benchmarks" / "rivals.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        spec.loader.exec_module(module)
    return module


# The other two are not among the packages of the series; `make rivals` itself checks them.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("checkpoints", "refused"),
        ("torch.save", "refused"),
        ("safetensors", "refused"),
        ("torch.distributed.checkpoint", "half"),
    ],
)
def test_an_adapter_keeps_what_it_promises(rivals, name, cut, tmp_path):
    table = rivals.faults_of(name, tmp_path, {"a file cut short": 4, "resume": 1})
    assert table["a file cut short"][0] == {cut: 4}
    assert table["resume"][0] == ({} if name == "safetensors" else {"the same": 1})


def test_costs_are_measured_and_the_weights_compared(rivals, tmp_path):
    functions = rivals.of_torch()
    for seconds, extra in rivals.save_and_load(functions, tmp_path / "a", 1000):
        assert 0 < seconds < 5
        assert extra is None or 0 <= extra < 50e6
    forgetful = rivals.Functions("forgetful", functions.save, functions.load, lambda *_: {})
    with pytest.raises(RuntimeError, match="forgetful: other weights came back"):
        rivals.save_and_load(forgetful, tmp_path / "b", 16)


def test_whoever_takes_too_long_is_stopped(rivals, tmp_path, monkeypatch):
    monkeypatch.setattr(rivals, "MINUTES", 1e-4)
    assert rivals.in_new_process(rivals.faults_of, "torch.save", str(tmp_path), {}) is None


def test_an_error_in_the_other_process_is_shown(rivals, tmp_path):
    with pytest.raises(SystemExit, match=r"(?s)nobody: .*KeyError"):
        rivals.in_new_process(rivals.faults_of, "nobody", str(tmp_path), {})


def made_up(rivals):
    """A table, and costs of three rounds, each slower; checkpoints takes twice the seconds."""
    good = [{"the same": 5, "refused": 5}, {rivals.ELSEWHERE: 0}, 1.0]
    table = {name: dict.fromkeys(rivals.COUNTS, good) for name in rivals.RIVALS}
    costs = [
        {name: [[i * (2 if name == "checkpoints" else 1), 2e8], [i, 1e8]] for name in rivals.RIVALS}
        for i in (1, 2, 3)
    ]
    return table, costs


def test_ratios_are_taken_within_a_round(rivals):
    _, costs = made_up(rivals)
    assert rivals.ratios(costs, "checkpoints", 0, 0) == 2
    assert rivals.ratios(costs, "accelerate", 0, 0) == 1
    assert rivals.megabytes(costs, "accelerate", 1) == 0.5
    costs[1]["accelerate"] = None  # took too long
    assert rivals.ratios(costs, "accelerate", 0, 0) is None
    assert rivals.megabytes(costs, "accelerate", 1) is None


def test_a_cell_names_the_worst_first(rivals):
    assert rivals.cell({"the same": 7, "refused": 2000}, {}) == "2,000 refused, 7 the same"
    assert rivals.cell({"the same": 7, "wrong": 1}, {}) == "**1 wrong**, 7 the same"
    assert rivals.cell({"half": 2, "lost": 1}, {}) == "**1 lost**, 2 half"
    left = {"there after the next save": 2, rivals.ELSEWHERE: 1}
    assert rivals.cell({"the same": 7}, left) == "7 the same, 3 files left lying"
    assert rivals.cell({}, {}) == "– (keeps the weights only)"


def test_the_page_has_a_column_for_each_and_says_who_took_too_long(rivals, monkeypatch):
    monkeypatch.setattr(rivals, "measured", lambda: "Measured then.")
    table, costs = made_up(rivals)
    table["accelerate"] = None
    text = rivals.page(table, costs)
    assert text.count("took too long") == len(rivals.COUNTS)
    assert "| what happens | times | " + " | ".join(rivals.RIVALS) + " |" in text
    assert "\nMeasured then.\n" in text and "{" not in text
    for part in rivals.PROMISES:
        assert part in text


def test_the_stored_page_is_of_the_pinned_versions_and_of_all_contestants(rivals):
    text = PAGE.read_text(encoding="utf-8")
    pins = re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements-rivals.txt").read_text(), re.M)
    assert [name for name, _ in pins if name != "numpy"] == rivals.PACKAGES[:-1]
    for name, version in pins:
        assert re.search(rf"\b{name}\s{re.escape(version)}(\+\w+)?[,.]", text), name
    assert "| what happens | times | " + " | ".join(rivals.RIVALS) + " |" in text
    for fault, count in rivals.COUNTS.items():
        assert f"| {fault} | {count:,} |" in text


def test_on_the_stored_page_checkpoints_keeps_its_promises(rivals):
    rows = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    ours = [row[2] for row in rows if row[0].removeprefix("| ") in rivals.COUNTS]
    assert len(ours) == len(rivals.COUNTS)
    for word in rivals.faults.WORST_FIRST[:6]:
        assert not [cell for cell in ours if word in cell]
