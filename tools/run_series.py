"""Run every notebook of the series in order, two at a time, each in a fresh kernel, and make the book of them.

    python tools/run_series.py

The executed notebooks go to build/notebooks, the book to build/html. A notebook that fails does not stop the others.
"""

import ast
import os
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Result:
    """What came of one notebook: where names the cell that failed, error is what it said."""

    name: str
    notebook: nbformat.NotebookNode
    seconds: float
    passed: int
    checks: int
    where: str = ""
    error: str = ""


def main():
    """Run the series, print the table and write the book; return the exit code."""
    # A stream that is no terminal may know few characters, on Windows above all.
    sys.stdout.reconfigure(errors="replace")
    # Relative paths from here on: papermill would take braces in the folder's name for parameters.
    os.chdir(ROOT)
    # Two kernels that both use two threads on two cores slow each other down tenfold.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Not build/lessons: a learner may have one of the lessons open.
    os.environ.setdefault("LESSON_FILES", str(ROOT / "build" / "run"))
    # Without it each kernel that starts warns of its own debugger.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    paths = sorted(Path("notebooks").glob("[0-9]*.ipynb"))
    if not paths:
        sys.exit("No notebooks in the folder notebooks.")
    output = Path("build/notebooks")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)

    with ProcessPoolExecutor(max_workers=2) as pool:
        running = [
            pool.submit(run, path, output / path.name, k, len(paths))
            for k, path in enumerate(paths, start=1)
        ]
        # Its import takes seconds, in which this process would only wait.
        from book import write_book

        results = [each.result() for each in running]
    if sys.stderr.isatty():
        print("\n" * len(paths), file=sys.stderr)
    failed = [result for result in results if result.error]
    print_table(results)
    for result in failed:
        print(f"{result.name}.ipynb failed in {result.where}: {result.error}")
    notebooks = {result.name: result.notebook for result in results}
    page = write_book(ROOT, notebooks, {result.name: state(result) for result in results})
    print(page.relative_to(ROOT).as_posix())
    return 1 if failed else 0


def run(path, output, k, count):
    """Execute notebook k of count and return its Result."""
    label = f"[{k}/{count}]"
    terminal = sys.stderr.isatty()
    form = "{desc} {bar} {n_fmt}/{total_fmt} cells {elapsed}"
    # A line of its own for each bar, since two move at a time.
    bar = {"desc": f"{label} {path.stem:24}", "position": k - 1, "bar_format": form, "ncols": 90}
    if not terminal:
        say(f"{label} {path.name} ...")
    start = time.perf_counter()
    where = error = ""
    try:
        papermill.execute_notebook(
            path,
            output,
            kernel_name="python3",
            cwd="notebooks",
            progress_bar=bar if terminal else False,
            coalesce_streams=True,
            # The file is written once, at the end: writing it after each cell takes seconds.
            request_save_on_cell_execute=False,
            autosave_cell_every=0,
            # Its warnings, on encryption and the like, are not the reader's, nor what it logs while it shuts down.
            extra_arguments=[
                "--IPKernelApp.log_level=CRITICAL",
                "--IPKernelApp.exec_lines=__import__('logging').getLogger('tornado').setLevel('CRITICAL')",
            ],
        )
    except papermill.PapermillExecutionError as problem:
        where, error = (
            f"cell [{problem.exec_count}]",
            one_line(f"{problem.ename}: {problem.evalue}"),
        )
    except Exception as problem:
        where, error = "no cell of its own", one_line(f"{type(problem).__name__}: {problem}")
    seconds = time.perf_counter() - start
    if not terminal:
        say(
            f"{label} {path.name}: "
            + (f"failed in {where}: {error}" if error else f"{seconds:.1f} s")
        )
    notebook = read(output)
    passed, checks = count_checks(notebook)
    return Result(path.stem, notebook, seconds, passed, checks, where, error)


def say(line):
    """Print a line in one piece, since two processes print."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def read(path):
    """Return a notebook, an empty one where there is none to read."""
    try:
        return nbformat.read(path, as_version=4)
    except Exception:
        return nbformat.v4.new_notebook()


def one_line(text):
    """Return a message of several lines as one, and a very long one shortened."""
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:299] + "…"


def count_checks(notebook):
    """Return how many cells that assert something ran to their end, and how many there are.

    The checks of exercises are the reader's to pass, and the set-up cell proves nothing about PyTorch.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and asserts(cell.source)]
    cells = [cell for cell in cells if not {"check", "setup"} & set(cell.metadata.get("tags", []))]
    ran = [
        cell
        for cell in cells
        if cell.execution_count and "error" not in [out.output_type for out in cell.outputs]
    ]
    return len(ran), len(cells)


def asserts(source):
    """Return whether a cell's code holds an assert statement."""
    try:
        tree = ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Assert) for node in ast.walk(tree))


def state(result):
    """Return what the front page of the book says of a result."""
    if result.error:
        return f"**Failed in {result.where}.**"
    return f"{result.passed} checks passed in {result.seconds:.1f} s"


def print_table(results):
    """Print a line a notebook: seconds and checks passed."""
    width = max(len(result.name) for result in results)
    print(f"\n{'notebook':{width}}  seconds  checks passed")
    for result in results:
        checks = f"{result.passed} of {result.checks}, failed" if result.error else result.passed
        print(f"{result.name:{width}}  {result.seconds:7.1f}  {checks}")
    seconds, passed = (
        sum(result.seconds for result in results),
        sum(result.passed for result in results),
    )
    print(f"{'together':{width}}  {seconds:7.1f}  {passed}\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
