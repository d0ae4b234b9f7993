"""The frame round the lessons: the set-up, the run, the stored outputs, the commands, the CI workflow."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pip
import pytest
from notebook_tools import times
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
TARGETS = [
    "help",
    "setup",
    "run",
    "lab",
    "test",
    "oldest",
    "slides",
    "browser",
    "student",
    "cheatsheet",
    "torture",
]
TARGETS += ["bench", "rivals", "outputs", "clean", "book", "pdf", "network"]


def load(name, folder=TOOLS):
    """Import a program of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*command, cwd, **environment):
    """Run a program to its end and return it, its output as text; an environment variable of None is taken away."""
    values = {
        key: value for key, value in {**os.environ, **environment}.items() if value is not None
    }
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=values,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )


def project(folder, requirements=""):
    """Make a folder with the tools and with requirements of its own; spaces and braces in its name must not matter."""
    root = folder / "a {series} of lessons"
    shutil.copytree(TOOLS, root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "requirements.txt").write_text(requirements)
    (root / "requirements-dev.txt").write_text("-r requirements.txt\n")
    (root / "requirements-rivals.txt").write_text("-r requirements.txt\n")
    (root / "constraints.txt").write_text("")
    return root


def set_up_after(preparation):
    """Return a command that runs set_up.py in an interpreter that was changed by a line of code."""
    return (
        sys.executable,
        "-c",
        f"import runpy, sys\n{preparation}\nrunpy.run_path('tools/set_up.py', run_name='__main__')",
    )


def is_one_sentence(program, *parts):
    """Demand exit code 1 and one line on stderr that holds the parts."""
    assert program.returncode == 1, program.stdout + program.stderr
    assert program.stderr.count("\n") == 1 and "Traceback" not in program.stdout + program.stderr, (
        program.stderr
    )
    return all(part in program.stderr for part in parts)


def test_set_up_speaks_old_python():
    tree = ast.parse((TOOLS / "set_up.py").read_text(encoding="utf-8"), feature_version=(3, 4))
    for node in ast.walk(tree):
        assert not isinstance(
            node, ast.JoinedStr | ast.AnnAssign | ast.Nonlocal | ast.Starred | ast.YieldFrom
        )
        assert getattr(node, "annotation", None) is None and getattr(node, "returns", None) is None
        assert not getattr(node, "kwonlyargs", None)


@pytest.mark.parametrize("name", ["python2.7", "python3.6", "python3.8", "python3.9"])
def test_an_old_python_is_told_the_way_out(name, tmp_path):
    # A version manager may offer a name behind which there is nothing.
    if not shutil.which(name) or run(name, "-c", "", cwd=tmp_path).returncode:
        pytest.skip(f"no {name} on this machine")
    program = run(name, "tools/set_up.py", cwd=project(tmp_path))
    assert is_one_sentence(
        program, "3.10", f"found Python {name[6:]}", "make PYTHON=python3.12 run"
    )


def test_the_oldest_python_is_3_10(tmp_path):
    program = run(*set_up_after("sys.version_info = (3, 9, 18, 'final', 0)"), cwd=project(tmp_path))
    assert is_one_sentence(program, "3.10", "found Python 3.9", "make PYTHON=python3.12 run")


@pytest.mark.parametrize("module", ["ensurepip", "venv"])
def test_a_missing_module_is_named_with_its_package(module, tmp_path):
    program = run(*set_up_after(f"sys.modules['{module}'] = None"), cwd=project(tmp_path))
    assert is_one_sentence(program, "sudo apt install python3-venv")


@pytest.mark.parametrize(
    ("options", "name", "counts"),
    [
        ([], ".venv", "constraints.txt"),
        (["--oldest"], ".venv-oldest", "requirements.txt"),
        (["--rivals"], ".venv-rivals", "requirements-rivals.txt"),
    ],
)
def test_set_up_fails_clearly_heals_and_is_quick(options, name, counts, tmp_path, monkeypatch):
    root = project(tmp_path, "a-package-that-is-nowhere>=1.0\n")
    # A .venv that was there before, as with the CPU build of torch. It borrows pip: to install one takes seconds.
    run(sys.executable, "-m", "venv", "--without-pip", name, cwd=root)
    packages = next((root / name).glob("[Ll]ib/**/site-packages"))
    (packages / "borrowed.pth").write_text(str(Path(pip.__file__).parent.parent))
    offline = {
        "PIP_INDEX_URL": "http://127.0.0.1:9",
        "PIP_EXTRA_INDEX_URL": None,
        "PIP_FIND_LINKS": None,
    }
    offline |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": None}
    program = run(sys.executable, "tools/set_up.py", *options, cwd=root, **offline)
    assert is_one_sentence(
        program, "package index cannot be reached", "network", f"{name}/set_up.log"
    )
    assert f"1/3 using the {name} that is there" in program.stdout

    (root / "requirements.txt").write_text("")
    program = run(sys.executable, "tools/set_up.py", *options, cwd=root, **offline)
    assert program.returncode == 0, program.stdout + program.stderr
    assert program.stdout.endswith(f"{name} is ready\n")

    start = time.perf_counter()
    program = run(sys.executable, "tools/set_up.py", *options, cwd=root)
    assert program.stdout == f"{name} is ready\n" and time.perf_counter() - start < 2

    monkeypatch.setattr(sys, "argv", ["set_up.py", *options])
    set_up = load("set_up", root / "tools")
    assert set_up.is_ready()
    (root / counts).write_text("# a new pin\n")
    assert not set_up.is_ready()


def test_the_lowest_versions_come_from_the_requirements(tmp_path, monkeypatch):
    root = project(tmp_path, "# why\n\nnumpy>=2.1,<3\nsome-lint>=1.17; sys_platform == 'linux'\n")
    monkeypatch.setattr(sys, "argv", ["set_up.py", "--oldest"])
    set_up = load("set_up", root / "tools")
    Path(set_up.VENV).mkdir()
    set_up.write_lowest_pins()
    pins = (root / ".venv-oldest" / "lowest.txt").read_text()
    assert pins == "numpy==2.1\nsome-lint==1.17; sys_platform == 'linux'\n"
    for line in ("numpy", "numpy<3", "numpy==2.1", "numpy~=2.1", "numpy<3,>=2.1", "numpy >= 2.1"):
        with pytest.raises(SystemExit, match=f"No lowest version, .* {line}$"):
            set_up.lowest(f"torch>=2.10,<3\n{line}\n")


def test_each_requirement_names_its_lowest_version():
    set_up = load("set_up")
    for name in set_up.REQUIREMENTS:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        wanted = [Requirement(line) for line in lines if not line.startswith(("#", "-r "))]
        pins = [Requirement(pin) for pin in set_up.lowest("\n".join(lines))]
        assert [(pin.name, pin.marker) for pin in pins] == [
            (each.name, each.marker) for each in wanted
        ]
        for pin, each in zip(pins, wanted):
            (version,) = pin.specifier
            assert each.specifier.contains(version.version), each


def test_a_venv_that_was_interrupted_is_mended(tmp_path, monkeypatch):
    set_up = load("set_up", project(tmp_path) / "tools")
    commands = []
    answers = {
        "sys.version_info": (0, "3 11"),
        "import pip": (1, "No module named pip"),
        "ensurepip": (0, ""),
        "venv": (0, ""),
    }

    def capture(command):
        commands.append(command)
        return next(answer for part, answer in answers.items() if part in command[2])

    monkeypatch.setattr(set_up, "capture", capture)
    set_up.make_venv()
    assert commands[-1][:3] == [sys.executable, "-m", "venv"]
    Path(set_up.PYTHON).parent.mkdir(parents=True)
    Path(set_up.PYTHON).touch()
    Path(set_up.VENV, "pyvenv.cfg").touch()
    set_up.make_venv()
    assert commands[-1][:3] == [set_up.PYTHON, "-m", "ensurepip"]
    answers["ensurepip"] = (1, "Error: [Errno 13] Permission denied: '.venv'")
    with pytest.raises(SystemExit, match=r"could not be made: .*Permission denied"):
        set_up.make_venv()
    answers["sys.version_info"] = (0, "3 9")
    with pytest.raises(SystemExit, match=r"older than 3\.10"):
        set_up.make_venv()


@pytest.mark.parametrize(
    ("log", "part"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
            "disk is full",
        ),
        (
            "WARNING: Retrying after connection broken by X\nERROR: No matching distribution found for x\n",
            "network",
        ),
        (
            "WARNING: Could not fetch URL X\nERROR: ResolutionImpossible: for help visit X\n",
            "network",
        ),
        (
            "ERROR: No matching distribution found for x==9\n",
            "No matching distribution found for x==9",
        ),
        (
            "ERROR: Exception:\nTraceback (most recent call last):\n  ...\nsocket.timeout: timed out\n",
            "network",
        ),
        (
            "ERROR: Exception:\nTraceback (most recent call last):\n  ...\nOSError: broken\n\n",
            "OSError: broken",
        ),
        ("", "no message"),
    ],
)
def test_why_pip_failed(log, part):
    assert part in load("set_up").why_pip_failed(log)


def write_notebook(path, *cells):
    """Write a notebook: a str is a Markdown cell, a tuple a code cell and its tags."""
    notebook = nbformat.v4.new_notebook()
    for i, cell in enumerate(cells):
        if isinstance(cell, str):
            notebook.cells.append(nbformat.v4.new_markdown_cell(cell, id=f"text-{i}"))
        else:
            source, *tags = cell
            metadata = {
                "tags": tags,
                "jupyter": {"source_hidden": True, "outputs_hidden": True},
                "editor": "x",
                "alt": "A red square.",
            }
            notebook.cells.append(
                nbformat.v4.new_code_cell(source, id=f"code-{i}", metadata=metadata)
            )
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)


# The width goes to the output's metadata, as the size of a matplotlib figure may.
FIGURE = "from IPython.display import Image, display\ndisplay(Image(data=b'\\x89PNG', format='png', width=10))"


def test_store_outputs_writes_one_form(tmp_path):
    path = tmp_path / "01_é.ipynb"
    lines = "for i in range(3):\n    print('é', i, flush=True)\n1 + 1"
    write_notebook(path, "# É", (lines, "setup"), (FIGURE,), ("",))
    store_outputs = load("store_outputs")
    assert store_outputs.main([str(path)]) == 0
    first = path.read_bytes()
    assert store_outputs.main([str(path)]) == 0
    assert path.read_bytes() == first and [file.name for file in tmp_path.iterdir()] == [path.name]

    assert first.endswith(b"\n}\n") and "é".encode() in first and first.startswith(b'{\n "cells"')
    notebook = nbformat.reads(first.decode(), as_version=nbformat.NO_CONVERT)
    _, printing, figure, empty = notebook.cells
    assert (notebook.nbformat, notebook.nbformat_minor, notebook.metadata) == (
        4,
        5,
        store_outputs.METADATA,
    )
    assert [cell.id for cell in notebook.cells] == ["text-0", "code-1", "code-2", "code-3"]
    assert [printing.execution_count, figure.execution_count, empty.execution_count] == [1, 2, None]
    assert printing.metadata == {
        "tags": ["setup"],
        "jupyter": {"source_hidden": True},
        "alt": "A red square.",
    }
    stream, result = printing.outputs
    assert (
        stream.text == "é 0\né 1\né 2\n"
        and result.data["text/plain"] == "2"
        and result.execution_count == 1
    )
    assert figure.outputs[0].metadata == {} and "image/png" in figure.outputs[0].data


def test_store_outputs_leaves_a_failing_notebook(tmp_path, capsys):
    path = tmp_path / "02_x.ipynb"
    write_notebook(path, ("1",), ("raise ValueError('boom\\nand more')",))
    before = path.read_bytes()
    assert load("store_outputs").main([str(path)]) == 1
    assert (
        "02_x.ipynb ... left as it was: cell [2] failed: ValueError: boom and more"
        in capsys.readouterr().out
    )
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_series_runs_and_becomes_a_book(tmp_path):
    root = project(tmp_path)
    shutil.copytree(ROOT / "docs", root / "docs", ignore=shutil.ignore_patterns("*.md", "*.png"))
    (root / "docs" / "index.md").write_text("# About\n\n## All\n\n<!-- lessons 00-99 -->\n")
    promise = "The *promise* of a.\n\n**You will be able to**\n\n- see\n\n"
    promise += "**Time:** 5 minutes.\n**Needs first:** nothing."
    write_notebook(
        root / "notebooks" / "00_a.ipynb",
        f"# 00 · Lesson a\n\n{promise}\n\n[b](01_b.ipynb) and [tool](../tools/set_up.py)",
        (
            "import os\nassert os.path.basename(os.getcwd()) == 'notebooks'  # of the set-up",
            "setup",
        ),
        ("assert 1",),
        ("%time x = 1\nif x:\n    assert x",),
        ("assert 1", "check"),
        ("text = 'assert'",),
        (FIGURE,),
    )
    write_notebook(
        root / "notebooks" / "01_b.ipynb",
        "# 01 · Lesson b",
        ("assert 1",),
        ("1 / 0",),
        ("assert 2  # never reached",),
    )
    # No kernel can run it.
    (root / "notebooks" / "02_c.ipynb").write_text("no notebook")
    program = run(sys.executable, "tools/run_series.py", cwd=root)
    lines = program.stdout.splitlines()
    assert program.returncode == 1 and "Traceback" not in program.stdout + program.stderr, (
        program.stderr
    )
    assert program.stderr == ""
    assert "[1/3] 00_a.ipynb ..." in lines and "[2/3] 01_b.ipynb ..." in lines
    assert lines[-1] == "build/html/index.html"
    assert any(re.fullmatch(r"00_a +\d+\.\d  2", line) for line in lines), program.stdout
    assert any(re.fullmatch(r"01_b +\d+\.\d  1 of 2, failed", line) for line in lines), (
        program.stdout
    )
    assert "01_b.ipynb failed in cell [2]: ZeroDivisionError: division by zero" in lines
    assert (
        nbformat.read(root / "build" / "notebooks" / "00_a.ipynb", 4).cells[2].execution_count == 2
    )

    html = root / "build" / "html"
    front = (html / "index.html").read_text(encoding="utf-8")
    for part in [
        "Lesson a",
        "The <em>promise</em> of a.",
        "5 minutes.",
        "_images/00_a.png",
        "2 checks passed",
        "Failed in cell [2].",
        "Failed in no cell of its own.",
    ]:
        assert part in front
    failed = (html / "notebooks" / "01_b.html").read_text(encoding="utf-8")
    assert "ZeroDivisionError" in failed and "never reached" in failed
    assert failed.index("<h1>01 · Lesson b") < failed.index("papermill")
    assert "This lesson did not run." in (html / "notebooks" / "02_c.html").read_text()
    assert "of the set-up" in (html / "notebooks" / "00_a.html").read_text(encoding="utf-8")
    assert (html / "tools" / "set_up.py.html").is_file()
    executed = root / "build" / "notebooks" / "00_a.ipynb"
    assert nbformat.read(html / "notebooks" / "00_a.ipynb", 4) == nbformat.read(executed, 4)


def test_the_makefile_has_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)", text, re.MULTILINE)[1].split()
    assert set(TARGETS) <= set(phony) and set(phony) == set(
        re.findall(r"^([a-z]+):(?! export)", text, re.MULTILINE)
    )
    for target in set(phony) - {"help", "setup", "oldest", "rivals", "clean"}:
        first = "slides" if target == "browser" else "setup"
        assert re.search(rf"^{target}: {first}\b", text, re.MULTILINE), (
            f"{target} does not depend on {first}"
        )
    if not shutil.which("make"):
        pytest.skip("no make on this machine")
    program = run("make", cwd=ROOT, MAKEFLAGS=None)
    assert program.returncode == 0
    for target in set(phony) - {"help"}:
        assert f"make {target} " in program.stdout
        assert run("make", "-n", target, cwd=ROOT, MAKEFLAGS=None).returncode == 0


def test_the_workflow_is_valid(tmp_path):
    actionlint = Path(sys.executable).with_name("actionlint")
    if not actionlint.exists():
        pytest.skip("no actionlint on this machine")
    workflow = ROOT / ".github" / "workflows" / "ci.yml"
    program = run(actionlint, workflow, cwd=ROOT)
    assert program.returncode == 0, program.stdout
    spoiled = tmp_path / "ci.yml"
    spoiled.write_text(workflow.read_text().replace("${{ matrix.python }}", "${{ matrix.snake }}"))
    program = run(actionlint, spoiled, cwd=ROOT)
    assert program.returncode != 0 and "snake" in program.stdout


@pytest.mark.parametrize(
    ("line", "time"),
    [
        (
            "**Time:** 40 minutes to teach, 30 for the exercises.\n**Needs first:** 03",
            "40 minutes to",
        ),
        (
            "**Time:** 25 minutes, and 20 for the exercises. **Before this:** 03",
            "25 minutes, and 20",
        ),
    ],
)
def test_what_a_lesson_says_of_its_time_ends_before_what_comes_first(line, time):
    cell = nbformat.v4.new_markdown_cell(f"# 04 · Checkpoints\n\nA promise.\n\n{line}")
    about = load("lessons").about("04_x", nbformat.v4.new_notebook(cells=[cell]))
    assert about["time"].startswith(time) and about["time"].endswith("for the exercises.")
    assert (about["number"], about["short"], about["promise"]) == (
        "04",
        "Checkpoints",
        "A promise.",
    )


def test_the_readme_lists_every_lesson_and_names_the_pinned_torch():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        first = nbformat.read(path, 4).cells[0].source
        title = first.splitlines()[0].removeprefix("# ")
        ((teach, solve),) = times(nbformat.read(path, 4))
        row = rf"^\| {re.escape(f'[{title}](notebooks/{path.name})')} \|.*\| {teach} min \| {solve} min \|$"
        assert re.search(row, text, re.MULTILINE), title
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    for package in re.findall(r"torch(?:vision)?==[\d.]+", text):
        assert package in pinned
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", text):
        assert (ROOT / target).exists(), target
