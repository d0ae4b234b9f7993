"""Runs every snippet of a page of errors in this one process, and prints what each said: {anchor: [texts]} as JSON.

A text is "module.Type: message" of the error, or else those of the warnings, one a line; "" if there was neither.
"""

import contextlib
import io
import json
import logging
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path

import torch

FENCED = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


def parts(page):
    """The preamble of a page (str), and {anchor: its snippets}."""
    head, *rest = re.split(r'^<a id="([\w-]+)"></a>$', page, flags=re.M)
    bodies = [re.split(r"^## ", text, flags=re.M)[0] for text in rest[1::2]]
    return FENCED.search(head)[1], dict(zip(rest[0::2], map(FENCED.findall, bodies)))


def said(*snippets):
    """What snippets say that run one after the other, in one namespace and an empty folder."""
    here, environment, namespace = os.getcwd(), dict(os.environ), {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        os.chdir(folder)
        try:
            with silence():
                for snippet in snippets:
                    exec(compile(snippet, "<snippet>", "exec"), namespace)
        except BaseException as error:  # CheckpointException is no Exception
            return f"{type(error).__module__}.{type(error).__qualname__}: {error}"
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(environment)
            clean_up()
    return "\n".join(f"{each.category.__name__}: {each.message}" for each in warned)


@contextlib.contextmanager
def silence():
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def clean_up():
    """Leave nothing of a snippet to the next one."""
    torch.serialization.clear_safe_globals()
    torch.set_default_dtype(torch.float32)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def run(preamble, snippets):
    """What each snippet says; of a silent fault, what its check says on the fault and on the mended code."""
    if len(snippets) == 3:
        fault, check, mended = snippets
        return [said(preamble, fault, check), said(preamble, mended, check)]
    return [said(preamble, snippet) for snippet in snippets]


def main():
    logging.disable(logging.ERROR)  # what is raised is logged, too
    preamble, entries = parts(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(json.dumps({anchor: run(preamble, each) for anchor, each in entries.items()}))


if __name__ == "__main__":
    main()
