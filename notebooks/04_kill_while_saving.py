"""Kill a process in the middle of a save, and leave what it leaves.

    python 04_kill_while_saving.py torch.save PATH         it writes over PATH in place
    python 04_kill_while_saving.py save_checkpoint PATH    it writes PATH.tmp and renames it

The process saves a network of 24 MB to PATH again and again, at most 500 times. When the file that it writes is between
a quarter and three quarters full, it is killed. Lesson 04 runs this program.
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def save_in_a_loop(how, path):
    """The process that is killed. After the first save it prints the size of the file in bytes."""
    import torch

    import fc_model

    model = fc_model.Network(784, 10, [1024] * 6)
    fc_model.save_checkpoint(model, path, epoch=0)
    checkpoint = torch.load(path)
    print(Path(path).stat().st_size, flush=True)
    for epoch in range(1, 500):
        if how == "torch.save":
            torch.save(checkpoint, path)
        else:
            fc_model.save_checkpoint(model, path, epoch=epoch)


def kill_while_saving(how, path):
    """The process that kills. It does not import torch, so that it starts at once."""
    written = Path(path if how == "torch.save" else f"{path}.tmp")
    with subprocess.Popen(
        [sys.executable, __file__, how, path, "in a loop"], stdout=subprocess.PIPE
    ) as child:
        whole = int(child.stdout.readline())
        while child.poll() is None:
            try:
                size = written.stat().st_size
            except OSError:  # between two saves there is no .tmp
                continue
            if whole / 4 < size < 3 * whole / 4:
                child.kill()
                return
    sys.exit("The process ended before it could be killed.")


if __name__ == "__main__":
    how, path, *rest = sys.argv[1:]
    if how not in ("torch.save", "save_checkpoint"):
        sys.exit("The first argument is torch.save or save_checkpoint.")
    save_in_a_loop(how, path) if rest else kill_while_saving(how, path)
