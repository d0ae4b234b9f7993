"""notebooks/machine.py: what lesson 00 says of a machine that is ready, and of one that is not."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import machine
import pytest

import helper


def lines(capsys):
    """What the check prints, line by line."""
    machine.check()
    return capsys.readouterr().out.splitlines()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.delenv(machine.SWITCH, raising=False)


def test_a_ready_machine_gets_three_check_marks_and_no_version(capsys):
    found = lines(capsys)
    assert len(found) == 3 and all(line.startswith("✅ ") for line in found)
    assert not any(character.isdigit() for character in "".join(found))


@pytest.mark.parametrize("value", ["1", "y", "YES", "True"])
def test_the_switch_that_makes_torch_load_run_code_is_named(monkeypatch, capsys, value):
    monkeypatch.setenv(machine.SWITCH, value)
    found = lines(capsys)
    assert found[1].startswith("❌ torch.load") and machine.SWITCH in found[1]
    assert f"unset {machine.SWITCH}" in found[2] and found[3].startswith("✅ data")


@pytest.mark.parametrize("value", ["", "0", "no", "false"])
def test_a_switch_that_is_off_is_fine(monkeypatch, capsys, value):
    monkeypatch.setenv(machine.SWITCH, value)
    assert lines(capsys)[1].startswith("✅ ")


@pytest.mark.parametrize("version", [None, "2.9.1", "1.13.0+cpu"])
def test_a_package_that_is_missing_or_too_old_is_named(monkeypatch, capsys, version):
    real = metadata.version

    def other(name):
        if name != "torch":
            return real(name)
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", other)
    found = lines(capsys)
    assert found[0] == f"❌ packages: torch missing or too old in {sys.executable}"
    assert "make lab" in found[1] and found[-1].startswith("⬜ data")


@pytest.mark.parametrize("version", ["2.10.0", "2.14.1+cpu", "3.0"])
def test_versions_are_compared_as_numbers(monkeypatch, version):
    real = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: version if name == "torch" else real(name)
    )
    assert machine.package_problem() == ""


def test_each_package_has_a_lowest_version():
    text = (machine.ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert all(f"\n{name}>=" in "\n" + text for name in machine.PACKAGES)


def test_missing_and_damaged_data_are_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(helper, "DATA", tmp_path)
    assert "is missing" in lines(capsys)[2]
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in helper.CHECKSUMS:
        (raw / name).write_bytes(b"something else")
    found = lines(capsys)[2]
    assert found.startswith("❌ data") and "is damaged" in found and "git checkout" in found


def test_it_needs_nothing_but_the_standard_library():
    # -S: no site-packages, as in a Python without any of the packages.
    code = f"import sys; sys.path.insert(0, {str(Path(machine.__file__).parent)!r}); "
    code += "import machine; machine.check()"
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("❌ packages: torch, torchvision, numpy")
