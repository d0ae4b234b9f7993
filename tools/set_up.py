"""Make .venv with the packages of the series, or see in a moment that it is there.

    python tools/set_up.py
    python tools/set_up.py --oldest    # .venv-oldest, with the lowest versions that the requirements allow
    python tools/set_up.py --rivals    # .venv-rivals, with the packages of requirements-rivals.txt

Standard library only, and nothing that Python 2.7 cannot parse: a Python that is too old must get as far as saying so.
An interrupted set-up goes on where it stopped when it is run again.
"""
# ruff: noqa: UP010, UP024, UP031

from __future__ import print_function

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOWEST = "--oldest" in sys.argv[1:]
RIVALS = "--rivals" in sys.argv[1:]
NAME = ".venv-oldest" if LOWEST else ".venv-rivals" if RIVALS else ".venv"
VENV = os.path.join(ROOT, NAME)
PYTHON = (
    os.path.join(VENV, "Scripts", "python.exe")
    if os.name == "nt"
    else os.path.join(VENV, "bin", "python")
)
READY = os.path.join(VENV, ".ready")
LOG = os.path.join(VENV, "set_up.log")
# The last one names the others.
REQUIREMENTS = (
    ["requirements-rivals.txt"] if RIVALS else ["requirements.txt", "requirements-dev.txt"]
)
# The exact version of each package.
PINS = os.path.join(NAME, "lowest.txt") if LOWEST else "constraints.txt"
OLDEST = (3, 10)
# What has to load before the set-up counts as done, where the requirements ask for it.
MUST_IMPORT = ["torch", "torchvision", "ipykernel"]

DISK_FULL = r"No space left on device|Errno 28\b|not enough space on the disk|Disk quota exceeded"
NO_NETWORK = (
    r"connection broken|NewConnectionError|Failed to establish|Max retries exceeded|[Nn]ame resolution|"
    r"getaddrinfo failed|Name or service not known|Connection refused|Connection reset|Network is unreachable|"
    r"timed out|Timeout|ProxyError|SSLError|problem confirming the ssl certificate|Could not fetch URL"
)
FULL_SENTENCE = "The disk is full: make room for the packages (several GB on Linux), then run it again; it goes on."


def main():
    """Go through the steps; each one ends the program with a sentence when it cannot be done."""
    if is_ready():
        print(NAME + " is ready")
        return
    if sys.version_info < OLDEST:
        sys.exit(
            "This needs Python 3.10 or newer and found Python %d.%d: install a newer one, then name it, for example "
            "make PYTHON=python3.12 run" % tuple(sys.version_info[:2])
        )
    make_venv()
    if LOWEST:
        write_lowest_pins()
    install()
    check()
    with open(READY, "w") as file:
        file.write(fingerprint())
    print(NAME + " is ready")


def is_ready():
    """Return whether a finished set-up belongs to the requirements as they are now."""
    if not (os.path.exists(READY) and os.path.exists(PYTHON)):
        return False
    with open(READY) as file:
        return file.read() == fingerprint()


def fingerprint():
    """Return the SHA-256 of requirements, pins and pyvenv.cfg, which names the Python version."""
    digest = hashlib.sha256()
    names = [PINS, os.path.join(NAME, "pyvenv.cfg")]
    for name in REQUIREMENTS + names:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read() + b"\0")
    return digest.hexdigest()


def make_venv():
    """Make .venv, unless there is one whose Python runs: it may hold a CPU build of torch."""
    version = ask_venv("import sys; print('%d %d' % sys.version_info[:2])")
    if version and tuple(int(part) for part in version.split()) < OLDEST:
        sys.exit(
            "The folder %s holds a Python older than 3.10: delete the folder and run it again."
            % NAME
        )
    if version and ask_venv("import pip; print(pip.__version__)"):
        print("1/3 using the %s that is there" % NAME)
        return

    try:
        for module in ("venv", "ensurepip"):
            __import__(module)
    except ImportError:
        sys.exit(
            "Python's modules venv and ensurepip are missing; on Debian and Ubuntu: sudo apt install python3-venv"
        )
    if version:
        print("1/3 adding pip to the %s that is there" % NAME)
        command = [PYTHON, "-m", "ensurepip", "--upgrade", "--default-pip"]
    else:
        print("1/3 making %s with Python %s" % (NAME, sys.version.split()[0]))
        command = [sys.executable, "-m", "venv", "--clear", VENV]
    status, output = capture(command)
    if status:
        # The module venv keeps to itself what went wrong in its inner steps.
        if re.search(DISK_FULL, output) or shutil.disk_usage(ROOT).free < 50e6:
            sys.exit(FULL_SENTENCE)
        sys.exit("The folder %s could not be made: %s" % (NAME, last_line(output)))


def ask_venv(code):
    """Return what .venv's Python prints for a line of code, "" when there is none, or it does not run."""
    if not (os.path.exists(PYTHON) and os.path.exists(os.path.join(VENV, "pyvenv.cfg"))):
        return ""
    status, output = capture([PYTHON, "-c", code])
    return output.strip() if status == 0 else ""


def capture(command):
    """Return a program's exit code and all it printed."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.communicate()[0].decode("utf-8", "replace")
    return process.returncode, output


def write_lowest_pins():
    """Write the lowest version of each requirement where pip and the fingerprint find it."""
    pins = []
    for name in REQUIREMENTS:
        with open(os.path.join(ROOT, name)) as file:
            pins += lowest(file.read())
    with open(os.path.join(ROOT, PINS), "w") as file:
        file.write("".join(pin + "\n" for pin in pins))


def lowest(requirements):
    """Return for each line, such as numpy>=2.1,<3, the pin to its lowest version, numpy==2.1."""
    pins = []
    for line in requirements.splitlines():
        found = re.match(r"([\w.-]+)>=([\w.]+)(?:,[^;#]*)?(;.*)?$", line)
        if found:
            pins.append("%s==%s%s" % (found.group(1), found.group(2), found.group(3) or ""))
        elif line and not line.startswith(("#", "-r ")):
            sys.exit("No lowest version, as in numpy>=2.1,<3, stands in the requirement %s" % line)
    return pins


def install():
    """Let pip install the requirements, its output in the log and a sign of life on the screen."""
    with open(os.path.join(ROOT, PINS)) as file:
        pinned = {line.split("==")[0] for line in file if "==" in line and not line.startswith("#")}
    what = "the lowest versions of" if LOWEST else "up to"
    print(
        "2/3 installing %s %d packages: several minutes on the first run, torch is the big one"
        % (what, len(pinned))
    )
    sys.stdout.flush()
    command = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
    ]
    command += ["--retries", "2", "--timeout", "30", "-r", REQUIREMENTS[-1], "-c", PINS]
    with open(LOG, "wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        watch(process)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode < 0:
        sys.exit(
            "pip was stopped from outside (signal %d): run it again to go on" % -process.returncode
        )
    if process.returncode:
        sys.exit(why_pip_failed(read_log()))


def watch(process):
    """Show what pip is doing until it ends: one line that changes on a terminal, else a line every half minute."""
    terminal = sys.stdout.isatty()
    start = shown = time.time()
    while process.poll() is None:
        time.sleep(0.2)
        now = time.time()
        if now - shown < (1 if terminal else 30):
            continue
        shown = now
        line = "    %d s: %s" % (now - start, doing(read_log()))
        sys.stdout.write("\r" + line[:76].ljust(76) if terminal else line + "\n")
        sys.stdout.flush()
    if terminal:
        sys.stdout.write("\r" + " " * 76 + "\r")


def doing(log):
    """Return pip's latest step in a few words."""
    collected = re.findall(r"^Collecting ([\w.-]+)", log, re.MULTILINE)
    installing = re.search(r"^Installing collected packages: (.*)", log, re.MULTILINE)
    if installing:
        return "writing %d packages to .venv" % len(installing.group(1).split(","))
    latest = collected[-1] if collected else "asking the package index"
    for name, size in re.findall(
        r"^ *Downloading (?:\S*/)?(\S+?-[^-\s]+)-\S+ \((.*)\)", log, re.MULTILINE
    ):
        latest = "%s, %s" % (name, size)
    return "packages found: %d, latest: %s" % (len(collected), latest)


def why_pip_failed(log):
    """Return one sentence on the cause, from pip's output."""
    errors = re.findall(r"^ *(?:ERROR|error): .*", log, re.MULTILINE)
    last = errors[-1].strip() if errors else ""
    if last in ("", "ERROR: Exception:"):
        last = last_line(log)
    if re.search(DISK_FULL, log):
        return FULL_SENTENCE
    # ResolutionImpossible: some packages were found in pip's cache or in a folder, others were out of reach.
    missing = re.search(
        r"No matching distribution|Could not find a version|ResolutionImpossible", log
    )
    if re.search(NO_NETWORK, log if missing else last):
        return (
            "The package index cannot be reached: check the network (or the proxy), then run it again; it goes on "
            "where it stopped. Details: %s/set_up.log" % NAME
        )
    return "pip could not install the packages (details: %s/set_up.log): %s" % (NAME, last)


def check():
    """Import the big packages once, so that a set-up that does not work is not called ready."""
    print("3/3 checking")
    sys.stdout.flush()
    wanted = ""
    for name in REQUIREMENTS:
        with open(os.path.join(ROOT, name)) as file:
            wanted += file.read()
    names = [name for name in MUST_IMPORT if re.search(r"^%s\b" % name, wanted, re.MULTILINE)]
    status, output = capture([PYTHON, "-c", "".join("import %s\n" % name for name in names)])
    if status:
        sys.exit(
            "The packages do not load (%s): delete the folder %s and run it again."
            % (last_line(output), NAME)
        )


def read_log():
    """Return what pip has written so far."""
    with open(LOG, "rb") as file:
        return file.read().decode("utf-8", "replace")


def last_line(text):
    """Return the last line of a text that is not blank."""
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["no message"])[-1]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\ninterrupted; run it again to go on", file=sys.stderr)
        sys.exit(130)
    except (IOError, OSError) as error:
        sys.exit(
            FULL_SENTENCE
            if error.errno == errno.ENOSPC
            else "The set-up could not go on: %s" % error
        )
