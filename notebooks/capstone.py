"""Plays forty cases on a file of your own checkpoint functions, and prints a score sheet.

    python notebooks/capstone.py my_checkpoints.py

The file has save(state, path), load(path) and resume(saved, state). capstone_cases.py has the cases.
The cases of a row are played in a process of its own: a function that loops or crashes costs one.
PyTorch's plain torch.save and checkpoints.py play the same cases beside it. That takes about a
quarter of a minute. What has not been played after SECONDS fails. On Windows, where no process
can fork, four cases are left out, and a function that loops costs all cases behind it.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import time
import traceback
from pathlib import Path
from unittest import mock

import torch
from capstone_cases import STEPS, Fault, faults, module_of, shown, trained_run

ROOT = Path(__file__).resolve().parents[1]
STUB = ROOT / "notebooks" / "17_stub.py"
OTHERS = {  # two files that are played for comparison
    "torch.save": ROOT / "notebooks" / "17_torch_save.py",
    "checkpoints.py": ROOT / "notebooks" / "17_checkpoints.py",
}
SECONDS = 45  # for all cases of a file
CPU_SECONDS = 4  # that a case may compute: a busy machine does not count
WAIT_SECONDS = 10  # that a case may last
DIED = "the process died"
ENDLESS = "the functions came to no end"
MOST = 5  # reasons that a sheet shows
INDENT = "      "
NOT_REACHED = f"not reached: the {SECONDS} seconds were over"
# On Linux and macOS one process imports torch, and forks all others.
CONTEXT = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
CASES = {  # {(step, row, case): function}
    (step, row, case): function
    for step, rows in STEPS.items()
    for row, cases in rows.items()
    for case, function in cases.items()
    if hasattr(os, "fork") or row not in ("a kill", "a full disk")
}


def my_file():
    """The path of my_checkpoints.py in the project's folder; with the stub, if it is not there yet.

    The environment variable LESSON_FILES names another folder, where the stub is written anew.
    """
    elsewhere = os.environ.get("LESSON_FILES")
    path = Path(elsewhere or ROOT) / "my_checkpoints.py"
    if elsewhere or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(STUB, path)
    return path


# ---------------------------------------------------------------- in the process that plays


def play_all(path, keys, connection):
    """Play the cases of each row in a child, and send (key, why it fails); empty if it passes."""
    torch.set_num_threads(1)
    trained_run(0)  # imports here, and once, what each child would import anew
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(path.parent))
    if hasattr(os, "setsid"):
        os.setsid()  # so that all children can be ended together
    while keys:
        row = [key for key in keys if key[:2] == keys[0][:2]]
        began = time.monotonic()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            reasons = faults.in_child(lambda key: play(path, key, folder), row)
        if len(reasons) < len(row):  # the next child goes on behind that case
            reasons.append(ENDLESS if time.monotonic() - began >= CPU_SECONDS else DIED)
        for pair in zip(row, reasons):
            connection.send(pair)
        keys = keys[len(reasons) :]


def play(path, key, folder):
    """Play one case, in the child; return why it fails, or an empty text."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # the signals end this process
        signal.alarm(WAIT_SECONDS)
    folder = Path(tempfile.mkdtemp(dir=folder))
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            CASES[key](module_of(path), folder)
        except Fault as fault:
            return str(fault)
        except BaseException as error:
            return shown(error, folder) + place(error, path)
    return ""


def place(error, path):
    """Where in a file an error was raised, as a text in brackets."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f" ({path.name}, line {lines[-1]})" if lines else ""


# ---------------------------------------------------------------- in the process that asks


class Player:
    """A process that plays cases on a file. reasons has {case: why it fails}, or an empty text."""

    def __init__(self, path, keys):
        self.reasons, self.end = dict.fromkeys(keys, NOT_REACHED), time.monotonic() + SECONDS
        self.connection, there = CONTEXT.Pipe(duplex=False)
        self.process = CONTEXT.Process(target=play_all, args=(path, keys, there))
        with mock.patch.dict(os.environ, {"PYTHONPATH": str(ROOT / "notebooks")}):
            CONTEXT.set_forkserver_preload(["capstone", "torch._dynamo"])
            self.process.start()
        there.close()

    def wait(self):
        """Collect what the process sends until it ends, or the time is over."""
        try:
            while self.connection.poll(max(0, self.end - time.monotonic())):
                key, reason = self.connection.recv()
                self.reasons[key] = reason
        except EOFError:
            pass
        finally:
            self.stop()
        return self.reasons

    def stop(self):
        with contextlib.suppress(OSError, AttributeError):  # it has ended; Windows has no groups
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()


# ---------------------------------------------------------------- the sheet


def check(path, step):
    """Play the cases of a step; raise AssertionError with the first that fails, and why."""
    reasons = played(path, step)
    failed = [f"{row} / {case}: {reason}" for (_, row, case), reason in reasons.items() if reason]
    text = f"{len(failed)} of {len(reasons)} cases fail. Begin with {' '.join(failed[:1])}"
    assert not failed, text


def show(path, step=None):
    """Play all cases on a file, and on the two for comparison; or those of a step on the file alone.

    Prints how many cases of each row pass, why others fail, and at the end the score.
    """
    names = {other: name for name, other in OTHERS.items()}
    others = {name: other for name, other in OTHERS.items() if step is None}
    print(sheet({names.get(path, path.name): path} | others, step))


def played(path, step=None):
    """{case: why it fails, or an empty text} of a file."""
    (reasons,) = all_played({path.name: path}, step).values()
    return reasons


KNOWN = {}  # {path: reasons} of the files for comparison, which do not change


def all_played(paths, step=None):
    """{name: reasons} of several files, which play at the same time."""
    keys = [key for key in CASES if step in (None, key[0])]
    players = {}
    try:
        for path in paths.values():
            if step or path not in KNOWN:
                players[path] = Player(Path(path).resolve(), keys)
        found = KNOWN | {path: player.wait() for path, player in players.items()}
    finally:
        for player in players.values():
            player.stop()
    if step is None:
        KNOWN.update({path: found[path] for path in OTHERS.values() if path in found})
    return {name: found[path] for name, path in paths.items()}


def sheet(paths, step=None):
    """The score sheet of several files, the first of which is graded."""
    table = all_played(paths, step)
    reasons = next(iter(table.values()))
    told = rows(table) if len(table) > 1 or len(set(reasons.values())) > 1 else []
    parts = [told, failures(reasons), [f"score: {score(reasons)}"]]
    return "\n\n".join("\n".join(part) for part in parts if part)


def rows(table):
    """The lines of the table: for each row, how many of its cases each file passes."""
    lines = [" " * 25 + "".join(f"{name:>19}" for name in table)]
    keys = list(next(iter(table.values())))
    for step in dict.fromkeys(key[0] for key in keys):
        lines.append(step)
        for row in dict.fromkeys(key[1] for key in keys if key[0] == step):
            scores = [score(reasons, step, row) for reasons in table.values()]
            lines.append(f"  {row:23}" + "".join(f"{each:>19}" for each in scores))
    if len(table) > 1:
        lines.append(f"{'together':25}" + "".join(f"{score(each):>19}" for each in table.values()))
    return lines


def failures(reasons):
    """The lines of the list: the first reasons, each once, below the first case that failed for it."""
    first = {}
    for (_, row, case), reason in reasons.items():
        if reason:
            first.setdefault(reason, f"  {row} / {case}")
    lines = ["what fails, and why; begin with the first:"] if first else []
    if len(first) == 1 and all(reasons.values()):
        first = {reason: "  every case" for reason in first}
    for reason, case in list(first.items())[:MOST]:
        lines += [case, textwrap.fill(reason, 85, initial_indent=INDENT, subsequent_indent=INDENT)]
    return lines + [f"  and {len(first) - MOST} more reasons"] * (len(first) > MOST)


def score(reasons, *start):
    """How many of the cases pass, as a text; start has a step, or a step and a row."""
    chosen = [reason for key, reason in reasons.items() if key[: len(start)] == start]
    return f"{chosen.count('')} of {len(chosen)}"


def main(arguments):
    """Show the sheet of the file that is named."""
    path = Path(" ".join(arguments))
    if not path.name:
        sys.exit("Name your file: make capstone FILE=my_checkpoints.py")
    if not path.is_file():
        sys.exit(f"There is no file {path}. The first cells of lesson 17 write my_checkpoints.py.")
    show(path)


if __name__ == "__main__":
    main(sys.argv[1:])
