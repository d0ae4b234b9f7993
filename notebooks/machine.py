"""Whether this machine is ready for the lessons. Lesson 00 asks before it imports anything else.

Standard library only: it also has to answer where PyTorch is missing.
"""

import os
import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["torch", "torchvision", "numpy", "matplotlib", "safetensors", "onnx"]
SWITCH = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def check():
    """Print a line for each thing that the lessons need: ✅ if it is fine, ❌ and what to do if not."""
    lacking = package_problem()
    report("packages", lacking, "all there, and new enough")
    report("torch.load", switch_problem(), "refuses files that could run code")
    if lacking:
        print("⬜ data: not checked before the packages are there")
    else:
        report("data", data_problem(), "the images and the trained network are complete")


def report(name, problem, fine):
    """Print what is wrong and the way out, or what is fine if there is no problem."""
    print(f"❌ {name}: {problem}" if problem else f"✅ {name}: {fine}")


def package_problem():
    """Which packages are missing or too old in this Python, and the way out; "" if none is."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    lowest = dict(re.findall(r"^([\w-]+)>=([\d.]+)", text, re.MULTILINE))
    lacking = [name for name in PACKAGES if numbers(installed(name)) < numbers(lowest[name])]
    if not lacking:
        return ""
    return (
        f"{', '.join(lacking)} missing or too old in {sys.executable}\n"
        "   Close JupyterLab, start it again with `make lab`, choose the kernel Python 3 (ipykernel)."
    )


def installed(name):
    """The version (str) of a package in this Python; "" if it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def numbers(version):
    """The first two numbers of a version: [2, 14] of "2.14.1+cpu"."""
    return [int(number) for number in re.findall(r"\d+", version)[:2]]


def switch_problem():
    """The way out if the environment turns off the protection of torch.load; "" if it is on."""
    if os.environ.get(SWITCH, "0").lower() not in ("1", "y", "yes", "true"):
        return ""
    return (
        f"the environment variable {SWITCH} is set, so code in a file would run\n"
        f"   Close JupyterLab, run `unset {SWITCH}`, start it again from the same terminal."
    )


def data_problem():
    """What is missing or damaged in data/, and the way out; "" if all of it is as published."""
    import helper  # needs PyTorch

    try:
        for name in helper.CHECKSUMS:
            helper.data_file(name)
        helper.trained_network()
    except (FileNotFoundError, RuntimeError) as error:
        return str(error)
    return ""
