"""Flip bits of small files, one at a time, and see what each check makes of it, for lesson 10.

    python 10_flips.py FOLDER

Saves a small network in two formats. Prints how many of 300 flips gave "wrong", "error" or "right".
"""

import contextlib
import copy
import sys
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import fc_model
import helper


def testzip_first(path):
    """Load a file of torch.save, if each of its entries fits its checksum."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} does not fit its checksum")
    return torch.load(path)


def outcome(load, path, sound):
    """What you get from a file: "error", "right" weights, or "wrong" ones and no error."""
    network = copy.deepcopy(sound)
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # an error ends this block
        warnings.simplefilter("ignore")  # torch.load may wonder about a damaged file
        network.load_state_dict(load(path))
        return "right" if helper.same_weights(network, sound) else "wrong"
    return "error"


def flip_and_load(load, path, sound, bits):
    """Flip each of the bits in a new copy of the file: [(byte that was changed, outcome), ...]."""
    content, found = path.read_bytes(), []
    copied = path.with_name("one_bit")
    for bit in bits:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        copied.write_bytes(damaged)
        found.append((bit // 8, outcome(load, copied, sound)))
    return found


def try_flips(network, folder, flips=300):
    """Save a network in both formats, and return {path: {check: [(byte, outcome), ...]}}."""
    pth, safetensors = Path(folder) / "small.pth", Path(folder) / "small.safetensors"
    torch.save(network.state_dict(), pth)
    save_file(network.state_dict(), safetensors)
    checks = {
        pth: {"torch.load": torch.load, "testzip first": testzip_first},
        safetensors: {"load_file": load_file},
    }
    found = {}
    for path, loads in checks.items():
        bits = torch.randperm(8 * path.stat().st_size)[:flips].tolist()  # the same in each row
        found[path] = {
            check: flip_and_load(load, path, network, bits) for check, load in loads.items()
        }
    return found


if __name__ == "__main__":
    for path, rows in try_flips(fc_model.Network(8, 3, [21]), sys.argv[1]).items():
        for check, results in rows.items():
            print(path.name, check, dict(Counter(result for _, result in results)))
