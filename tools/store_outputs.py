"""Execute notebooks in place and store them in one form, so that a second run writes the same bytes.

    python tools/store_outputs.py [notebooks/01_save_and_reload.ipynb ...]

Without a path: every notebook of the series. A notebook with a cell that fails stays as it was.
"""

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "name": "python",
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "pygments_lexer": "ipython3",
    },
}
CELL_METADATA = ("tags", "slideshow", "jupyter", "alt", "scrolled")


def main(arguments):
    """Store each notebook; return the exit code."""
    sys.stdout.reconfigure(errors="replace")
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    # Not build/lessons: a learner may have one of the lessons open.
    os.environ.setdefault("LESSON_FILES", str(ROOT / "build" / "run"))
    paths = [Path(argument) for argument in arguments] or sorted(
        (ROOT / "notebooks").glob("[0-9]*.ipynb")
    )
    failed = False
    for path in paths:
        start = time.perf_counter()
        print(f"{path.name} ...", end=" ", flush=True)
        problem = store(path)
        print(problem or f"{time.perf_counter() - start:.1f} s")
        failed = failed or bool(problem)
    return 1 if failed else 0


def store(path):
    """Execute a notebook and write it back; return what went wrong, "" if nothing did."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:
        return f"could not be read: {type(error).__name__}: {error}"
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.resolve().parent)}},
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
    )
    try:
        client.execute()
    except Exception as error:
        return "left as it was: " + describe(notebook, error)
    canonicalise(notebook)
    nbformat.validate(notebook)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes((nbformat.writes(notebook).rstrip("\n") + "\n").encode())
    os.replace(temporary, path)
    return ""


def describe(notebook, error):
    """Return which cell failed and how, on one line."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                message = " ".join(f"{output.ename}: {output.evalue}".split())
                return f"cell [{cell.execution_count}] failed: {message}"
    return " ".join(f"{type(error).__name__}: {error}".split())


def canonicalise(notebook):
    """Take out of an executed notebook what differs from run to run or from editor to editor."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(METADATA)
    count = 0
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {key: cell.metadata[key] for key in CELL_METADATA if key in cell.metadata}
        )
        if "jupyter" in cell.metadata:
            cell.metadata.jupyter = {
                "source_hidden": cell.metadata.jupyter.get("source_hidden", False)
            }
        if cell.cell_type != "code":
            continue
        count += bool(cell.source.strip())
        cell.execution_count = count if cell.source.strip() else None
        for output in cell.outputs:
            if "metadata" in output:
                output.metadata = {}
            if output.output_type == "execute_result":
                output.execution_count = count


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
