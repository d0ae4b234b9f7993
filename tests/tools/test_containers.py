"""The form of the dev container and of the Binder files, each rule with a spoiled file that it must catch."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
DEV_CONTAINER = ROOT / ".devcontainer" / "devcontainer.json"
BINDER = ROOT / ".binder"

# What the specification of dev containers (containers.dev, devContainer.base.schema.json) says of a container that is
# made from an image, as far as such a file may need it. Other properties are not allowed here.
COMMAND = {"type": ["string", "array", "object"], "items": {"type": "string"}}
PORT = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": 65535},
        {"type": "string", "pattern": r"^[a-z0-9-]+:\d+$"},
    ]
}
PORT_ATTRIBUTES = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "onAutoForward": {
            "enum": ["notify", "openBrowser", "openBrowserOnce", "openPreview", "silent", "ignore"],
        },
        "protocol": {"enum": ["http", "https"]},
        "requireLocalPort": {"type": "boolean"},
        "elevateIfNeeded": {"type": "boolean"},
    },
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "name": {"type": "string"},
        "image": {"type": "string", "pattern": r"^[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+:[\w.-]+$"},
        "features": {"type": "object"},
        "onCreateCommand": COMMAND,
        "postCreateCommand": COMMAND,
        "postStartCommand": COMMAND,
        "forwardPorts": {"type": "array", "items": PORT},
        "portsAttributes": {"type": "object", "additionalProperties": PORT_ATTRIBUTES},
        "containerEnv": {"type": "object", "additionalProperties": {"type": "string"}},
        "remoteUser": {"type": "string"},
        "hostRequirements": {"type": "object"},
        "customizations": {"type": "object", "additionalProperties": {"type": "object"}},
    },
    "additionalProperties": False,
}
# conda-forge's names for what requirements.txt calls otherwise; what Binder does not need.
CONDA_NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}
ONLY_FOR_TESTS = {"nbval", "papermill"}


def requirements():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def problems_of_python(version):
    """What speaks against a Python version, such as "3.12": it must be tested, and have one pin for each package."""
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    found = (
        []
        if f'"{version}"' in re.search(r"python: \[.*\]", workflow)[0]
        else [f"CI does not test Python {version}"]
    )
    environment = {
        "python_version": version,
        "python_full_version": f"{version}.0",
        "sys_platform": "linux",
    }
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pins = [
        canonicalize_name(pin.name)
        for pin in pins
        if not pin.marker or pin.marker.evaluate(environment)
    ]
    for wanted in requirements():
        count = pins.count(canonicalize_name(wanted.name))
        if count != 1:
            found.append(f"constraints.txt pins {wanted.name} {count} times for Python {version}")
    return found


def problems_of_dev_container(text):
    """Everything that is wrong with a devcontainer.json, one string each."""
    try:
        container = json.loads(text)
    except json.JSONDecodeError as error:
        return [f"no JSON: {error}"]
    found = [
        error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(container)
    ]
    if found:
        return found
    version = re.search(r":(\d+\.\d+)-", container["image"])
    found += (
        problems_of_python(version[1]) if version else ["the image does not name a Python version"]
    )
    target = re.fullmatch(r"make (\w+)", container.get("postCreateCommand", ""))
    if not target or f"\n{target[1]}:" not in (ROOT / "Makefile").read_text(encoding="utf-8"):
        found.append("postCreateCommand is no target of the Makefile")
    for port in container.get("portsAttributes", {}):
        if int(port) not in container.get("forwardPorts", []):
            found.append(f"port {port} has attributes and is not forwarded")
    return found


def problems_of_environment(text):
    """Everything that is wrong with Binder's environment.yml, one string each."""
    environment, found = yaml.safe_load(text), []
    if set(environment) != {"channels", "dependencies"}:
        return [f"the keys are {sorted(environment)}"]
    if environment["channels"] != ["conda-forge"] or "//" in text:
        found.append("a channel by its name, conda-forge, and no address")
    lines = [line for line in environment["dependencies"] if line != "pip"]
    if isinstance(lines[-1], dict):  # what only pip has
        lines = [*lines[:-1], *lines[-1]["pip"]]
    pythons = [line for line in lines if re.fullmatch(r"python=\d+\.\d+", line)]
    if len(pythons) != 1:
        return [*found, "Python must be pinned once, as python=3.12"]
    found += problems_of_python(pythons[0].partition("=")[2])
    ranges = {}
    for line in lines:
        if line not in pythons:
            try:
                ranges[Requirement(line).name] = Requirement(line).specifier
            except InvalidRequirement:
                found.append(f"{line} is no requirement")
    wanted = {
        CONDA_NAMES.get(each.name, each.name): each
        for each in requirements()
        if each.name not in ONLY_FOR_TESTS
    }
    for name in wanted.keys() | ranges.keys():
        if name not in ranges or name not in wanted or ranges[name] != wanted[name].specifier:
            found.append(f"{name} is not as in requirements.txt")
    return found


def problems_of_script(path):
    """Everything that is wrong with the form of a shell script, one string each."""
    found = []
    if not path.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n"):
        found.append("no shebang")
    if os.name != "nt" and not os.access(path, os.X_OK):
        found.append("not executable")
    if shutil.which("bash"):
        program = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
        found += [program.stderr] if program.returncode else []
    return found


def test_the_dev_container():
    assert problems_of_dev_container(DEV_CONTAINER.read_text(encoding="utf-8")) == []


def test_binder():
    # Binder takes the first that it finds of these; a second one would not count, and nobody would notice.
    assert sorted(path.name for path in BINDER.iterdir()) == ["environment.yml", "postBuild"]
    assert not (ROOT / "binder").exists()
    assert problems_of_environment((BINDER / "environment.yml").read_text(encoding="utf-8")) == []
    assert problems_of_script(BINDER / "postBuild") == []


@pytest.mark.skipif(os.name == "nt", reason="Binder is Linux")
def test_what_binder_runs_after_the_build(tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "MPLBACKEND": "agg"}
    program = subprocess.run(
        [BINDER / "postBuild"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert program.returncode == 0 and program.stdout.count(".gz\n") == 4, program.stderr


# ---------------------------------------------------------------- spoiled on purpose


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"image"', '"images"', "'image' is a required property"),
        ('"postCreateCommand"', '"postCreate"', "Additional properties"),
        ("[8888]", '["8888"]', "not valid under any"),
        ("[8888]", "[88888]", "not valid under any"),
        ("[8888]", "[8889]", "is not forwarded"),
        ('"label"', '"labels"', "Additional properties"),
        (":3.12-", ":3.9-", "CI does not test Python 3.9"),
        (":3.12-bookworm", "", "does not match"),
        ("make setup", "make everything", "no target"),
        ('"name"', "name", "no JSON"),
    ],
)
def test_a_spoiled_dev_container_is_caught(old, new, problem):
    text = DEV_CONTAINER.read_text(encoding="utf-8")
    assert text.count(old) == 1
    found = problems_of_dev_container(text.replace(old, new))
    assert any(problem in each for each in found), found


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("python=3.12", "python=3.9", "CI does not test Python 3.9"),
        ("python=3.12", "python", "must be pinned"),
        ("- conda-forge", "- https://example.org/conda", "no address"),
        ("pytorch-cpu>=2.10", "pytorch-cpu>=2.5", "pytorch-cpu is not as in"),
        ("pytorch-cpu>=2.10", "pytorch>=2.10", "pytorch-cpu is not as in"),
        ("numpy>=2.1,<3", "numpy >= one", "no requirement"),
        ("dependencies:", "requires:", "the keys are"),
    ],
)
def test_a_spoiled_environment_is_caught(old, new, problem):
    text = (BINDER / "environment.yml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    found = problems_of_environment(text.replace(old, new))
    assert any(problem in each for each in found), found


def test_a_python_without_pins_is_caught(monkeypatch, tmp_path):
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    shutil.copy(ROOT / ".github" / "workflows" / "ci.yml", tmp_path / ".github" / "workflows")
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    (tmp_path / "constraints.txt").write_text(re.sub(r"^torch==.*\n", "", text, flags=re.MULTILINE))
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert problems_of_python("3.12") == ["constraints.txt pins torch 0 times for Python 3.12"]


@pytest.mark.skipif(os.name == "nt", reason="Binder is Linux")
def test_a_spoiled_script_is_caught(tmp_path):
    path = tmp_path / "postBuild"
    path.write_text("if true; then\n")
    assert len(problems_of_script(path)) == 3
