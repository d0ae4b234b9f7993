"""checkpoints.py is one short file that can be copied: what it imports, and how it is written."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import checkpoints
import fc_model

FILES = [Path(module.__file__) for module in (checkpoints, fc_model)]
OWN = Path(checkpoints.__file__).read_text()
TREES = {path.name: ast.parse(path.read_text()) for path in FILES}
LONGEST = 25


def imports_of(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node, node.module


def foreign(tree, allowed):
    return [
        name
        for node, name in imports_of(tree)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, *allowed}
    ]


def code_lines(function):
    """How many lines of code a function has, without its docstring, comments and empty lines."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    lines = {number for each in body for number in range(each.lineno, each.end_lineno + 1)}
    return len(lines)


def functions_of(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def test_checkpoints_imports_the_standard_library_and_torch():
    assert foreign(ast.Module(TREES["checkpoints.py"].body, []), {"torch", "numpy"}) == []
    at_the_top = [
        node
        for node in TREES["checkpoints.py"].body
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Try)
    ]
    assert foreign(ast.Module(at_the_top, []), {"torch"}) == [], (
        "NumPy is imported where a file needs it alone"
    )
    assert foreign(
        ast.parse("import os, yaml\nfrom torch import nn\nimport numpy.random"), {"torch"}
    ) == ["yaml", "numpy.random"]


def test_fc_model_imports_checkpoints_and_no_other_module_of_this_project():
    ours = {path.stem for path in FILES[0].parent.glob("*.py")} | {"patients", "tools", "tests"}
    used = {name.partition(".")[0] for _, name in imports_of(TREES["fc_model.py"])}
    assert used & ours == {"checkpoints"}
    assert not {name.partition(".")[0] for _, name in imports_of(TREES["checkpoints.py"])} & ours


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_lines_have_up_to_100_characters(path):
    lines = path.read_text().splitlines()
    assert [f"{path.name}:{i}" for i, line in enumerate(lines, 1) if len(line) > 100] == []


def test_no_function_is_long():
    counts = {
        function.name: code_lines(function) for function in functions_of(TREES["checkpoints.py"])
    }
    assert {name: count for name, count in counts.items() if count > LONGEST} == {}
    long = ast.parse("def f():\n    '''Text.'''\n" + "    a = 1\n" * (LONGEST + 1))
    assert code_lines(long.body[0]) == LONGEST + 1


def test_what_is_public_has_a_docstring():
    for name, tree in TREES.items():
        public = [
            node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)
        ]
        public = [node for node in tree.body if node in public and not node.name.startswith("_")]
        assert (
            public
            and [f"{name}: {node.name}" for node in public if not ast.get_docstring(node)] == []
        )
        assert ast.get_docstring(tree)


def test_the_names_of_its_documentation_are_there():
    for name in ("save", "load", "restore", "diff"):
        assert f"{name}" in checkpoints.__doc__ and callable(getattr(checkpoints, name))
    assert fc_model.CheckpointError is checkpoints.CheckpointError


def test_it_can_be_copied_alone(tmp_path):
    (tmp_path / "checkpoints.py").write_text(OWN, encoding="utf-8")
    code = "import checkpoints; checkpoints.save({'epoch': 3}, 'a.pt'); print(checkpoints.__file__)"
    program = [sys.executable, "-c", code]
    child = subprocess.run(program, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert child.returncode == 0 and str(tmp_path) in child.stdout, child.stderr
