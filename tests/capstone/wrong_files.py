"""Wrong versions of the capstone, and the cases that each of them loses.

A version is the reference solution with some texts replaced: {name: ([(old, new), ...], {cases})}.
"""

from pathlib import Path

REFERENCE = Path(__file__).with_name("reference.py")
BARE = Path(__file__).parents[2] / "notebooks" / "17_torch_save.py"

WRITING = """    contents = contents_of(state)
    temporary = f"{path}.tmp"
    try:
        with open(temporary, "wb") as file:
            torch.save(contents, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
"""
IN_PLACE = "    torch.save(contents_of(state), path)\n"
FSYNC = "            os.fsync(file.fileno())\n"
REFUSED = """        raise CheckpointError(f"{path} is damaged, or no checkpoint: {error}") from error
"""
RENAME = "        os.replace(temporary, path)\n"
REMOVE_FIRST = (
    "        if os.path.exists(path):\n            os.remove(path)\n        time.sleep(0.1)\n"
)
REMOVE_REST = """        if os.path.exists(temporary):
            os.remove(temporary)
"""
CRC = "        if damaged:\n"
CLASSES = """    for name in in_file | here:
        if in_file.get(name) != here.get(name):
            raise CheckpointError(f"{name}: {in_file.get(name)} in the file, {here.get(name)} here")
"""
ROLL_BACK = """        for each in pieces:
            put(pieces[each], before[each])
"""
PUT = "        piece.load_state_dict(saved)\n"
PUT_LOOSELY = """        loose = {"strict": False} if isinstance(piece, torch.nn.Module) else {}
        piece.load_state_dict(saved, **loose)
"""
STATE = "def state_of(piece):\n"
PARAMETERS = """    if isinstance(piece, torch.nn.Module):
        return {name: each.detach() for name, each in piece.named_parameters()}
"""
PLAIN = '    check_plain("", contents)\n'

# The cases, by their names.
TORCH, PYTHON, NUMPY, GENERATOR = (
    "torch's numbers",
    "Python's numbers",
    "NumPy's numbers",
    "a generator's numbers",
)
SIZE, LAYER, FEWER = "another size", "one layer more", "fewer parameters"
TWICE, CTRL_C = "two runs from one load", "Ctrl-C in the middle"
POWER = "the power fails after a save"

# `make test` plays the first fourteen, `make torture` all.
WRONG = {
    "in place, without fsync and rename": (
        [(WRITING, IN_PLACE)],
        ["killed 10 times", "the old file on a full disk", POWER],
    ),
    "without fsync": (
        [(FSYNC, "")],
        [POWER],
    ),
    "the random states are forgotten": (
        [(" | {RANDOM: RandomStates()}", "")],
        [TORCH, PYTHON, NUMPY, TWICE],
    ),
    "weights_only=False": ([("weights_only=True", "weights_only=False")], ["10 hostile files"]),
    "fsync comes after the rename": (
        [(RENAME, ""), (FSYNC, "    " + RENAME + FSYNC)],
        [POWER],
    ),
    "a new temporary name each time": (
        [('f"{path}.tmp"', 'f"{path}.{os.urandom(4).hex()}.tmp"')],
        ["what a kill leaves"],
    ),
    "no map_location": ([('map_location="cpu", ', "")], ["saved on a graphics card"]),
    "no checksums": ([(CRC, "        if damaged is path:\n")], ["100 flipped bits"]),
    "what has changed stays": ([(ROLL_BACK, "")], [SIZE, LAYER, FEWER, CTRL_C]),
    "the classes are not compared": (
        [(CLASSES, "")],
        ["a piece that only the file has", "another scheduler"],
    ),
    "plain values are not checked": ([(PLAIN, "")], ["a NumPy number", "a Path"]),
    "strict=False": ([(PUT, PUT_LOOSELY)], [LAYER]),
    "resume hands out what was loaded": (
        [("    saved = copy.deepcopy(saved)", "    saved = saved")],
        [TWICE],
    ),
    "the process dies when resume fails": (
        [(ROLL_BACK, "        os.abort()\n")],
        [SIZE, LAYER, FEWER, CTRL_C],
    ),
    "the old file is removed first": (
        [(RENAME, REMOVE_FIRST + RENAME), ("import os\n", "import os\nimport time\n")],
        ["killed 10 times", "what a kill leaves"],
    ),
    "the temporary file stays after an error": (
        [(REMOVE_REST, "")],
        ["what a full disk leaves"],
    ),
    "NumPy's random state is forgotten": (
        [('        np.random.set_state(states["numpy"])\n', "")],
        [NUMPY],
    ),
    "the error does not name the file": (
        [('f"{path} is damaged, or', 'f"it is damaged, or')],
        ["the error names the file"],
    ),
    "Ctrl-C is forgotten": (
        [("except BaseException as error", "except Exception as error")],
        [CTRL_C],
    ),
    "the random states come back first": (
        [("pieces | {RANDOM: RandomStates()}", "{RANDOM: RandomStates()} | pieces")],
        [TORCH],
    ),
    "a damaged file counts as empty": (
        [(REFUSED, "        return {}\n")],
        ["100 flipped bits", "20 files cut short", "the error names the file"],
    ),
    "the errors do not name the part": (
        [('f"{name} does not fit: {error}"', '"it does not fit"')],
        [SIZE, LAYER, FEWER],
    ),
    "buffers are forgotten": (
        [(STATE, STATE + PARAMETERS), (PUT, PUT_LOOSELY)],
        ["batch norm", LAYER, "an average of the weights"],
    ),
    "generators are forgotten": (
        [(" or isinstance(value, torch.Generator)", "")],
        ["a generator", GENERATOR],
    ),
    "save starts the random numbers anew": (
        [(PLAIN, PLAIN + "    torch.manual_seed(0)\n")],
        [TORCH, "the run that saves"],
    ),
    "load never ends on a damaged file": (
        [(CRC, "        while damaged:\n            pass\n" + CRC)],
        ["100 flipped bits"],
    ),
    "resume waits for ever for an average of the weights": (
        [
            (
                PUT,
                '        if hasattr(piece, "n_averaged"):\n            os.read(os.pipe()[0], 1)\n'
                + PUT,
            )
        ],
        ["an average of the weights"],
    ),
}
