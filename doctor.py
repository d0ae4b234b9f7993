"""The doctor: says what an error of PyTorch means, and what is in a model file. It needs only Python.

    python doctor.py < traceback.txt                  # a whole traceback, or any part of it
    python doctor.py "size mismatch for fc.weight"
    python doctor.py model.pth                        # or several files, or a folder
    python doctor.py --json --numbers model.pth       # for programs; looks for nan and inf, too

Of an error it prints the cause, code that works, and the place in docs/errors.md, the page that it
reads. Of a file it prints what is inside.

A pickle is a program. It is walked here, never executed: a name stays a name, a call becomes a note
of what would be called. The numbers of the tensors stay unread unless `--numbers` asks for nan and
inf. Every step has a limit, so that a file made to do harm costs two seconds and 100 MB at most.
"""

import copy
import html
import io
import json
import math
import os
import pickletools
import re
import stat
import struct
import sys
import textwrap
import time
import zipfile
import zlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from itertools import islice
from math import isfinite
from pathlib import Path

_PAGES = [Path(__file__).resolve().parent / name for name in ("docs/errors.md", "errors.md")]
PAGE = next(filter(Path.is_file, _PAGES), _PAGES[0])
UNKNOWN = """No entry of docs/errors.md fits. Give the whole message, best with its traceback.
If nothing was raised and the result is wrong, read the sections "Nothing is raised" at its end.
If the message is PyTorch's, search https://github.com/pytorch/pytorch/issues for it without names
and numbers, or ask at https://discuss.pytorch.org: show the whole traceback, the shortest code that
raises it, and what `python -m torch.utils.collect_env` prints."""
NO_PAGE = "docs/errors.md is not there: put it beside doctor.py, with or without its folder."


# ---------------------------------------------------------------- the page of errors


@dataclass
class Entry:
    """What the page says of an error. A fault that raises nothing has no messages."""

    anchor: str  # its place: docs/errors.md#anchor
    title: str  # the heading, without Markdown
    messages: list  # the same message as several versions word it; … stands for what varies
    cause: str  # Markdown: sentences, then perhaps bullets
    fix: str  # code that works
    lesson: str  # such as "03 · When a state_dict does not fit"


def read_page(path=PAGE):
    """The entries of docs/errors.md, in its order: a list of Entry."""
    blocks = re.split(r'^<a id="([\w-]+)"></a>\n', path.read_text(encoding="utf-8"), flags=re.M)
    return [_entry(anchor, text) for anchor, text in zip(blocks[1::2], blocks[2::2])]


def _entry(anchor, text):
    heading, _, body = re.split(r"^## ", text, flags=re.M)[0].partition("\n")
    heading = heading.removeprefix("### ")
    also, body = re.fullmatch(r"(?s)\n?(?:Also: (.*?)\n)?(.*)", body).groups("")
    messages = [each.strip() for _, each in re.findall(r"(`+)(.+?)\1(?!`)", f"{heading} {also}")]
    pieces = re.split(r"^```.*\n", body, flags=re.M)  # prose and code, by turns
    prose = [piece.strip() for piece in pieces[0::2] if piece.strip()]
    lesson = re.search(r"^\[(.+?)\]", prose.pop(), flags=re.M)[1]
    title = messages[0] if messages else heading
    cause = re.sub(r"(?<!\n)\n(?!\n|- )", " ", "\n\n".join(prose))  # a paragraph is a line
    return Entry(anchor, title, messages, cause, pieces[-2].rstrip(), lesson)


# ---------------------------------------------------------------- from a message to its entries

COLOURS = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
TAGS = re.compile(r"</?(?:b|br|code|em|i|p|pre|span|strong)\s*/?>")
# What logs, pytest, torchrun, mails and boxes put before a line.
MARGINS = re.compile(r"^(?:[>|│]\s?|\s*\[?rank ?\d+\]?:|E  +)+", re.I | re.M)
# Lines of code in a traceback of IPython: they hold messages that were not raised.
CODE_LINES = re.compile(r"^(?:-+> ?\d+|\s+\d+) .*$", re.M)
QUOTES = re.compile(r"[‘’“”\"`´]")
# So begins the cause of a message that brings another one, which tells more.
INSIDE = "**Another error is inside.**"
# A message of few words counts only beside one of these: pandas has KeyErrors, too.
OURS = re.compile(
    r"torch|tensor|mat1|mismatch|state_dict|checkpoint|optimi[sz]er|pickl|cuda|onnx|\.pth?\b|\.ckpt|dataloader"
    r"|nn\.|param|exp_avg|weight|load"
)


def diagnose(text, entries=None):
    """The entries that fit a message as people paste it, the most specific first: at most three.

    It may be a whole traceback, wrapped, coloured, with the prefixes of logs, in another case. If no
    entry's words are there exactly, one counts that shares most of its rare words, in runs of two.
    Of an entry with several wordings, the one that fits is the first of its messages. An entry that
    says less of the same lines than the first one is left out.
    """
    entries = [_with_messages(entry) for entry in entries or read_page()]
    rarity, enough = _rarity(entries), 0 if OURS.search(text.lower()) else 13
    ranked = _exact(text, entries, rarity) or _similar(text, entries, rarity)
    ranked.sort(key=lambda pair: (INSIDE in pair[1].cause, -pair[0]))
    found = [entry for weight, entry in ranked if weight > enough]
    said = _squeezed(text)
    return found[:1] + [entry for entry in found[1:] if not _is_part(entry, found[0], said)][:2]


def _is_part(entry, first, said):
    """Whether an entry only says in general what the first one says of the same lines."""
    general, special = entry.messages[0], first.messages[0]
    same_lines = _count(general, said) <= _count(special, said)
    return INSIDE in entry.cause or bool(_count(general, _squeezed(special)) and same_lines)


def _with_messages(entry):
    """An entry as it is looked for: a fault that raises nothing, by its heading."""
    return entry if entry.messages else replace(entry, messages=[entry.title])


def _exact(text, entries, rarity):
    """Pairs (weight of the words, entry) of the entries whose words are in a text."""
    said, found = _squeezed(text), []
    for entry in entries:
        fits = [message for message in entry.messages if _count(message, said)]
        if fits:
            best = max(fits, key=lambda message: (_weight(_words(message), rarity), len(message)))
            weight = _weight(_words(best), rarity) + len(best) / 1000  # if equal, the longer
            others = [message for message in entry.messages if message != best]
            found.append((weight, replace(entry, messages=[best, *others])))
    return found


def _similar(text, entries, rarity):
    """Pairs (weight, entry) of the entries that share most words with a text's end."""
    matcher, said = SequenceMatcher(autojunk=False), _words(text)[-1000:]
    matcher.set_seq2(said)
    found = []
    for entry in entries:
        short = len(said) <= 30
        found.append((max(_shared(each, matcher, rarity, short) for each in entry.messages), entry))
    best = max(weight for weight, _ in found)
    return [pair for pair in found if pair[0] > 0 and pair[0] >= 0.75 * best]


def _shared(message, matcher, rarity, short):
    """How much of a message is in the matcher's text: 0 if it is not enough to go by.

    Most of its words are enough; in a short text, which may be cut off, three that tell enough.
    """
    words = _words(message)
    matcher.set_seq1(words)
    runs = [run for run in matcher.get_matching_blocks() if run.size > 1]
    shared = sum(_weight(words[run.a : run.a + run.size], rarity) for run in runs)
    if not any(run.size > 2 for run in runs):
        return 0
    longest = max(runs, key=lambda run: run.size)
    if short and shared > (5 if longest.a == 0 else 17):
        return shared
    whole = _weight(words, rarity)
    return shared - (whole - shared) / 2 if shared >= 0.75 * whole else 0


def _rarity(entries):
    """{word: how much it tells}: a word that stands in one entry tells most."""
    counts = Counter(word for entry in entries for word in set(_words(" ".join(entry.messages))))
    return {word: math.log(len(entries) / count) for word, count in counts.items()}


def _weight(words, rarity):
    return sum(rarity.get(word, 0) for word in words)


def _words(text):
    return re.findall(r"[a-z0-9_]+", _cleaned(text))


def _count(message, said):
    """How often a message's words are in a squeezed text. Between quotes, … ends at the next quote."""
    parts, place = _squeezed(message).split("…"), 0
    for part in parts:  # quick, and mostly it ends here
        place = said.find(part, place) + len(part)
        if place < len(part):
            return 0
    quotes = ["".join(parts[:k]).count("'") % 2 for k in range(1, len(parts))]
    gaps = ["[^']*?" if inside else ".*?" for inside in quotes]
    pattern = "".join(map(str.__add__, map(re.escape, parts), [*gaps, ""]))
    return len(re.findall(pattern, said, re.S))


def _squeezed(text):
    """A text without blanks: terminals break lines in the middle of words."""
    return re.sub(r"\s+", "", _cleaned(text))


def _cleaned(text):
    """A text in lower case, without colours, tags, prefixes and lines of code, with one kind of quote."""
    text = TAGS.sub("", COLOURS.sub("", html.unescape(text)))
    text = CODE_LINES.sub("", MARGINS.sub("", text.replace("\r", ""))).lower()
    text = QUOTES.sub("'", text)
    return re.sub(r"(?<=\w)'(?=[st]\b)", "", text)  # can't, the optimizer's: no quotes


# ---------------------------------------------------------------- what is printed


def answer(text):
    """What the doctor says of a message (str): its entries, the first in full, or where to ask."""
    if not PAGE.is_file():
        return NO_PAGE
    entries = diagnose(text)
    return "\n\n".join([in_words(each, each is entries[0]) for each in entries]) or UNKNOWN


def in_words(entry, whole=True):
    """An entry as text: the message, the cause, code that works, and where more stands.

    If it is not to be whole, only the cause's first sentences, and no code.
    """
    cause = entry.cause.split("\n\n")[: None if whole else 1]
    lines = [line for part in "\n\n".join(cause).splitlines() for line in _wrapped(part)]
    code = [textwrap.indent(entry.fix, "    "), ""] if whole else []
    more = f"docs/errors.md#{entry.anchor} · lesson {entry.lesson}"
    first = (entry.messages or [entry.title])[0] if whole else f"Or: {entry.messages[0]}"
    return "\n".join([first, "", *lines, "", *code, more])


def _wrapped(line):
    return textwrap.wrap(line, 96, subsequent_indent="  " * line.startswith("- ")) or [""]


# ---------------------------------------------------------------- files: limits, and what is known

MAX_OPERATIONS = 400_000  # of one pickle, about 14,000 tensors
MAX_PICKLE = 12_000_000  # bytes of it, in which a long string counts as KEPT
MAX_STRING = 16_000_000  # bytes of one string in a pickle
MAX_HEADER = 3_000_000  # bytes of JSON, of an entry that is read whole
MAX_DIRECTORY = 4_000_000  # bytes of the directory at the end of a zip file
MAX_VALUES = 100_000  # values of the tree that are visited
MAX_DEPTH = 40
MAX_NAMES = 2000  # that a pickle names; an ordinary one names fewer than 100
MAX_PROBLEMS = 40
MAX_FILES = 200  # of a folder
KEPT = 400  # letters of a string, a name or a path that are kept
SECONDS = 1.5  # for one pickle, one protobuf
CRC_SECONDS = 1.0
BIG = 2**63  # no size or place in a file is as large
GIANT = 2**30  # bytes that a tensor without numbers of its own may claim
ROWS = 12  # tensors that are shown
CHUNK = 1 << 20

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")  # what BatchNorm calls its own
PREFIXES = {
    "module.": "saved from DataParallel or DDP",
    "_orig_mod.": "saved from a model after torch.compile",
    "model.": "saved from a model inside another, as Lightning does",
}


# ---------------------------------------------------------------- what a report is


class Bad(Exception):
    """What is wrong with a file, in one line."""


@dataclass(slots=True)
class Tensor:
    """A tensor of a file: what is known of it without its numbers."""

    name: str
    shape: tuple
    dtype: str
    storage: str | None = None  # tensors with the same storage share numbers
    offset: int = 0  # elements from the beginning of the storage
    stride: tuple | None = None  # None: one row after the other
    parameter: bool = False  # True: known to be one. A state_dict does not say it
    place: tuple | None = None  # (file or entry of the zip, first byte) of the storage

    @property
    def elements(self):
        return math.prod(self.shape)

    @property
    def bytes(self):
        return self.elements * width(self.dtype)

    @property
    def span(self):
        """The elements of the storage from the tensor's first to its last."""
        if self.stride is None or 0 in self.shape:
            return self.elements
        return 1 + sum((n - 1) * step for n, step in zip(self.shape, self.stride))


@dataclass
class Report:
    """All that is known of a file."""

    path: str
    numbers: bool = False  # whether the numbers are looked at
    size: int = 0
    format: str = "not a model file"
    written_by: str = ""
    kind: str = ""
    open_with: str = ""
    model: bool = False  # False: not a model file
    broken: bool = False  # True: one of the problems is damage or danger
    problems: list = field(default_factory=list)
    tensors: list = field(default_factory=list)
    dicts: list = field(default_factory=list)  # where the state_dicts are
    parameters: int | None = None
    counted: str = ""
    names: dict = field(default_factory=dict)  # what the pickles name: classes and functions
    refused: str = ""  # why torch.load refuses the pickle, if not for a name
    arrays: set = field(default_factory=set)  # dtypes of NumPy that it names
    devices: set = field(default_factory=set)  # other than the CPU, where tensors were
    order: str = "<"  # of the bytes of a number, as struct writes it
    values: dict = field(default_factory=dict)
    crc: dict = field(default_factory=dict)

    def is_a(self, format, written_by="", kind="", open_with=""):
        """It is a model file."""
        self.model, self.format, self.written_by = True, format, written_by
        self.kind, self.open_with = kind, open_with

    def wrong(self, text):
        """Damage or danger: the exit code is 1."""
        self.broken = True
        self.remark(text)

    def remark(self, text):
        """What a reader should know, though the file is sound."""
        if len(self.problems) < MAX_PROBLEMS and text not in self.problems:
            self.problems.append(text)


# ---------------------------------------------------------------- names and what they mean

STORAGES = dict(
    Double="float64", Float="float32", Half="float16", BFloat16="bfloat16", Long="int64",
    Int="int32", Short="int16", Char="int8", Byte="uint8", Bool="bool", Untyped="uint8",
    ComplexDouble="complex128", ComplexFloat="complex64", QInt8="qint8", QUInt8="quint8",
    QInt32="qint32", QUInt4x2="quint4x2", QUInt2x4="quint2x4",
)  # fmt: skip
SAFETENSORS = dict(
    F64="float64", F32="float32", F16="float16", BF16="bfloat16", I64="int64", I32="int32",
    I16="int16", I8="int8", U64="uint64", U32="uint32", U16="uint16", U8="uint8", BOOL="bool",
    F8_E4M3="float8_e4m3fn", F8_E5M2="float8_e5m2", F8_E8M0="float8_e8m0fnu", C64="complex64",
    F4="float4_e2m1fn_x2",
)  # fmt: skip
NUMPY = {"f": "float", "i": "int", "u": "uint", "c": "complex", "b": "bool", "V": "void"}
ONNX = "? float32 uint8 int8 uint16 int16 int32 int64 string bool float16 float64 uint32 uint64"
ONNX = f"{ONNX} complex64 complex128 bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2"
ONNX = dict(enumerate(ONNX.split()))
EXPORT = "? uint8 int8 int16 int32 int64 float16 float32 float64 complex32 complex64 complex128"
EXPORT = dict(enumerate(f"{EXPORT} bool bfloat16".split())) | {
    28: "uint16", 29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz", 33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}  # fmt: skip
WIDTHS = {"complex32": 4, "qint32": 4, "float4_e2m1fn_x2": 1}
FLOATS = ("float", "bfloat", "complex")
BY_GUESS = "the numbers in floating-point tensors, without the buffers of batch norms"


def width(dtype):
    """The bytes of one element."""
    bits = re.fullmatch(r"(?:u?int|float|bfloat|complex)(8|16|32|64|128)\w*", dtype)
    return WIDTHS.get(dtype) or (int(bits[1]) // 8 if bits else 1)


# What torch.load(weights_only=True) of PyTorch 2.14 accepts: a test compares this with torch.
_ACCEPTED = """
_codecs. encode
builtins. bytearray complex set
collections. Counter OrderedDict
torch.nn.parameter. Parameter
torch.serialization. _get_layout
torch.storage. TypedStorage UntypedStorage
torch._tensor. _rebuild_from_type_v2
torch._utils._rebuild_ device_tensor_from_cpu_tensor device_tensor_from_numpy nested_tensor
torch._utils._rebuild_ meta_tensor_no_storage parameter parameter_with_state qtensor sparse_tensor
torch._utils._rebuild_ tensor tensor_v2 tensor_v3 wrapper_subclass
torch. Size Tensor device bool bfloat16 bcomplex32 complex32 complex64 complex128 float16 float32
torch. float64 float4_e2m1fn_x2 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz
torch. float8_e8m0fnu bits8 bits16 bits1x8 bits2x4 bits4x2 qint8 qint32 quint8 quint2x4 quint4x2
torch. QInt32Storage QInt8Storage QUInt2x4Storage QUInt4x2Storage QUInt8Storage
torch.int 1 2 3 4 5 6 7 8 16 32 64
torch.uint 1 2 3 4 5 6 7 8 16 32 64
torch.per_ channel_affine channel_affine_float_qparams channel_symmetric tensor_affine
torch.per_ tensor_symmetric
"""
_LINES = [line.split() for line in _ACCEPTED.strip().splitlines()]
ALLOWED = {start + name for start, *names in _LINES for name in names}
_KINDS = [f"{kind}Tensor" for kind in STORAGES if kind[0] not in "CQU" or kind == "Char"]
_KINDS += [f"sparse.{kind}" for kind in _KINDS if kind != "BoolTensor"]
_KINDS += [f"{kind}Storage" for kind in STORAGES if kind[0] not in "QU"]
ALLOWED |= {start + kind for start in ("torch.", "torch.cuda.") for kind in _KINDS}

MADE_UP = "a name that the pickle makes up"
INSIDE_PICKLE = "torch.storage._load_from_bytes"
OF_SCRIPTS = ("__torch__.", "torch.jit._pickle.")  # what the pickles of TorchScript alone name
RUNS_CODE = re.compile(  # modules and functions that start programs, import, or reach further
    r"(os|posix|nt|sys|subprocess|_posixsubprocess|runpy|importlib|imp|shutil|socket|pty|commands"
    r"|ctypes|_ctypes|multiprocessing|asyncio|code|codeop|timeit|pdb|bdb|cProfile|profile|trace"
    r"|webbrowser|pickle|_pickle|cloudpickle|dill|marshal|types|urllib|http|requests|ftplib"
    r"|smtplib|ssl|pip|setuptools|distutils|pkgutil|zipimport|threading|_thread|concurrent|signal"
    r"|resource|inspect|gc|atexit|doctest|unittest|idlelib|lib2to3|linecache|tempfile|io|_io"
    r"|numpy\.testing|numpy\.f2py|torch\.hub|torch\.utils|torch\._inductor"
    r"|torch\._dynamo|test)(\..*)?"
    r"|(builtins|__builtin__)\.(eval|exec|execfile|compile|__import__|open|getattr|setattr|delattr"
    r"|globals|locals|vars|input|breakpoint|map|filter|apply|type|object\..*)"
    r"|operator\.(attrgetter|methodcaller|itemgetter)|functools\.(reduce|partial)"
    r"|numpy\.(load|fromfile|memmap|lib\..*)|pandas\.(read_pickle|eval)|joblib\.load|torch\.load"
    rf"|torch\.(jit|serialization)\.load|torch\._utils\._import_dotted_name|{MADE_UP}"
)
REACHED = {"os", "posix", "nt", "subprocess", "sys", "importlib", "runpy", "ctypes", "shutil"}
HARMLESS = re.compile(  # refused by torch.load, and fit for safe_globals: plain data
    r"numpy\.(core|_core)\.multiarray\.(_reconstruct|scalar)|numpy\.(ndarray|dtype)"
    r"|numpy\.dtypes\.\w+|argparse\.Namespace|collections\.(defaultdict|deque)"
    r"|builtins\.(frozenset|range|slice|dict|list|tuple|int|float|str|bytes)"
    r"|pathlib\.\w*Path|pathlib\._local\.\w*Path|datetime\.\w+|torch\.torch_version\.TorchVersion"
    r"|torch\.storage\._load_from_bytes"
)


def judge(name):
    """What torch.load makes of a name in a pickle: accepted, runs code, harmless or refused."""
    if name in ALLOWED:
        return "accepted"
    parts = name.split(".")
    hidden = not REACHED.isdisjoint(parts[:-1])  # os, as an attribute of what imports it
    if hidden or RUNS_CODE.fullmatch(name) or any(part.startswith("__") for part in parts[1:]):
        return "runs code"
    return "harmless" if HARMLESS.fullmatch(name) else "refused"


# ---------------------------------------------------------------- walking a pickle


@dataclass(slots=True, eq=False)
class Node:
    """A value of a pickle that is not a number or a string."""

    kind: str  # list, tuple, set, dict, name, object, storage, tensor, array
    items: list | None = None  # what it holds; of a dict, pairs
    name: str = ""  # of a name; of what an object was made by; the dtype
    args: object = None
    state: object = None


def kind_of(value):
    return value.kind if isinstance(value, Node) else None


MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of torch.save's magic number
MAGICS = {MAGIC[:14], MAGIC[:14].decode("latin1")}
PLAIN = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE",
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "FLOAT", "BINFLOAT",
}  # fmt: skip
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "NEXT_BUFFER": "a buffer"}
BUILT = {  # what an operation makes, and of how many values; None: of those after the mark
    "EMPTY_LIST": ("list", 0), "EMPTY_TUPLE": ("tuple", 0), "EMPTY_DICT": ("dict", 0),
    "EMPTY_SET": ("set", 0), "TUPLE1": ("tuple", 1), "TUPLE2": ("tuple", 2),
    "TUPLE3": ("tuple", 3), "LIST": ("list", None), "TUPLE": ("tuple", None),
    "FROZENSET": ("set", None), "DICT": ("dict", None),
}  # fmt: skip
ADDED = {"APPEND": 1, "APPENDS": None, "ADDITEMS": None, "SETITEM": 2, "SETITEMS": None}
CALLS = {"REDUCE": 2, "NEWOBJ": 2, "NEWOBJ_EX": 3}
PUTS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
GETS = {"GET", "BINGET", "LONG_BINGET"}
KNOWN_TO_TORCH = {  # torch.load(weights_only=True) stops at any other operation
    "GLOBAL", "NEWOBJ", "REDUCE", "BUILD", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "MARK",
    "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "NONE", "NEWFALSE", "NEWTRUE", "EMPTY_TUPLE",
    "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "BININT", "BININT1", "BININT2", "BINFLOAT",
    "BINUNICODE", "SHORT_BINSTRING", "BINPERSID", "BINGET", "LONG_BINGET", "BINPUT",
    "LONG_BINPUT", "LONG1", "PROTO", "STOP",
}  # fmt: skip


class Window:
    """The bytes of a pickle for pickletools, within limits. It has no tell, which would be slow."""

    def __init__(self, file):
        self.file, self.left = file, MAX_PICKLE

    def read(self, count):
        if count <= 8:  # an operation or a number: their count is limited elsewhere
            return self.file.read(count)
        if count > MAX_STRING:
            raise Bad(f"the pickle announces a string of {count:,} bytes")
        return self._count(self.file.read(count))

    def readline(self):
        return self._count(self.file.readline(100_000))

    def _count(self, data):
        self.left -= min(len(data), KEPT)
        if self.left < 0:
            raise Bad(f"its pickle has more than {size_of(MAX_PICKLE)}: not read to the end")
        return data


class Machine:
    """Walks a pickle as pickle.load does, and calls nothing: `value` is what it would build."""

    def __init__(self, names, inner=False):
        self.stack, self.marks, self.memo = [], [], {}
        self.names = names  # {name: None}, in the order of the file
        self.inner = inner  # it stands in a string of another pickle
        self.refused = ""  # why torch.load would stop

    def run(self, file):
        deadline = time.monotonic() + SECONDS
        try:
            for count, (code, argument, _) in enumerate(pickletools.genops(Window(file))):
                if count > MAX_OPERATIONS or (not count % 4096 and time.monotonic() > deadline):
                    raise Bad(f"its pickle has more than {count:,} operations: not read to the end")
                if not self.refused and code.name not in KNOWN_TO_TORCH:
                    self.refused = f"the pickle uses {code.name}"
                elif code.name == "PROTO" and argument != 2:
                    self.refused = f"it is of pickle protocol {argument}, not 2"
                self.step(code.name, argument)
        except ValueError as error:
            raise Bad(f"the pickle is damaged ({error})") from None
        except (LookupError, AttributeError, TypeError):
            raise Bad(f"the pickle is damaged: {code.name} finds nothing to work on") from None
        return self.value

    @property
    def value(self):
        return self.stack[-1] if self.stack else None

    def step(self, name, argument):
        """The operations that files are full of; `step_rarely` knows the rest."""
        if name in PLAIN:
            inside = isinstance(argument, (str, bytes)) and argument[:14] in MAGICS
            self.push(self.walk_inside(argument) if inside else shortened(argument))
        elif name in PUTS:
            self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
        elif name in GETS:
            self.push(self.memo[argument])
        elif name in CONSTANTS:
            self.push(CONSTANTS[name])
        elif name in BUILT:
            kind, count = BUILT[name]
            items = self.take(count)
            self.push(Node(kind, pairs(items) if kind == "dict" else items))
        elif name in ADDED:
            items = self.take(ADDED[name])
            target = changeable(self.stack[-1])
            target.items = target.items or []
            target.items += pairs(items) if name.startswith("SET") else items
        elif name in CALLS:
            function, arguments, *_ = self.take(CALLS[name])
            self.push(self.call(function, arguments))
        else:
            self.step_rarely(name, argument)

    def step_rarely(self, name, argument):
        match name:
            case "MARK":
                self.marks.append(self.stack)
                self.stack = []
            case "POP" if self.stack:
                self.stack.pop()
            case "POP" | "POP_MARK":
                self.take(None)
            case "DUP":
                self.push(self.stack[-1])
            case "GLOBAL":
                self.push(self.named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                self.push(self.named(*self.take(2)))
            case "INST":
                items = Node("tuple", self.take(None))
                self.push(self.call(self.named(*argument.split(" ", 1)), items))
            case "OBJ":
                function, *items = self.take(None)
                self.push(self.call(function, Node("tuple", items)))
            case "BUILD":
                state = self.stack.pop()
                changeable(self.stack[-1]).state = state
            case "PERSID":
                self.push(Node("object", name="persistent id", args=shortened(argument)))
            case "BINPERSID":
                self.push(persistent(self.stack.pop()))
            case "EXT1" | "EXT2" | "EXT4":
                self.push(self.named(None, None))

    def push(self, value):
        self.stack.append(value)

    def take(self, count):
        """The last values of the stack, which must be there; None: those after the mark."""
        if count is None:
            items, self.stack = self.stack, self.marks.pop()
            return items
        start = len(self.stack) - count
        if start < 0:
            raise IndexError
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def named(self, module, name):
        """A class or a function that the pickle names: nothing is imported."""
        if not (isinstance(module, str) and isinstance(name, str)):
            full = MADE_UP
        else:
            module, name = NAME_MAPPING.get((module, name), (module, name))  # from Python 2
            full = f"{IMPORT_MAPPING.get(module, module)}.{name}"[:KEPT]
        self.names[full] = None
        if len(self.names) > MAX_NAMES:
            raise Bad(f"its pickle names more than {MAX_NAMES:,} things: not read to the end")
        return Node("name", name=full)

    def call(self, function, arguments):
        result = called(function, arguments)
        if kind_of(result) != "storage" and getattr(function, "name", "") == INSIDE_PICKLE:
            return self.named(None, None)  # torch.load of something that was not looked into
        return result

    def walk_inside(self, text):
        """pickle.dump writes a tensor's storage as a file of torch.save in a string."""
        if self.inner:
            return self.named(None, None)
        file = io.BytesIO(text.encode("latin1", "replace") if isinstance(text, str) else text)
        for _ in range(4):
            value = Machine(self.names, inner=True).run(file)
        if kind_of(value) != "storage":
            return shortened(text)
        return Node("storage", [f"inside {len(self.memo)}", *value.items[1:]], value.name)


def shortened(value):
    """A number or a string of a pickle, cut if it is long."""
    if isinstance(value, (str, bytes, bytearray)):
        return value if len(value) <= KEPT else value[:KEPT]
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length():,} bits"
    return value


def pairs(items):
    return list(zip(items[::2], items[1::2], strict=True))


def changeable(node):
    if node.kind == "tuple":
        raise TypeError
    return node


def persistent(key):
    """A storage, or in whole models from before 1.6, a class with its source code."""
    kind, *rest = key.items
    if kind in ("module", b"module"):
        return rest[0]
    if kind not in ("storage", b"storage"):
        raise TypeError
    dtype = STORAGES.get(rest[0].name.rpartition(".")[2].removesuffix("Storage"), "?")
    return Node("storage", [str(rest[1]), rest[3], str(rest[2])], name=dtype)


def called(function, arguments):
    """What a call would return, as far as it is plain: a tensor, a dict, a set, a size."""
    name = function.name if isinstance(function, Node) else "?"
    items = (arguments.items if isinstance(arguments, Node) else None) or [None]
    held = getattr(items[0], "items", None) or []
    if name.startswith("torch._utils._rebuild_"):
        made = rebuilt(name.removeprefix("torch._utils._rebuild_"), items)
        return made or Node("object", name=name, args=arguments)
    if name == "torch._tensor._rebuild_from_type_v2":
        return called(items[0], items[2])
    if name in ("collections.OrderedDict", "collections.Counter", "collections.defaultdict"):
        return Node("dict", [tuple(pair.items) for pair in held if isinstance(pair, Node)])
    if name in ("builtins.set", "builtins.frozenset", "torch.Size"):
        return Node("tuple" if name == "torch.Size" else "set", list(held))
    if name in ("_codecs.encode", INSIDE_PICKLE) or name.startswith("torch.jit._pickle."):
        return items[0]
    if name.startswith(("numpy.core.multiarray.", "numpy._core.multiarray.")):
        return Node("array", name="(NumPy)", args=items[0])
    return Node("object", name=name, args=arguments)


def rebuilt(kind, items):
    """The tensor that one of torch._utils._rebuild_... would make, or None."""
    if kind in ("parameter", "parameter_with_state"):
        data = items[0]
        return replace(data, args="parameter") if data.kind == "tensor" else data
    if kind in ("tensor", "tensor_v2", "tensor_v3", "qtensor"):
        storage, offset, shape, stride = items[:4]
        dtype = items[6].name.removeprefix("torch.") if kind == "tensor_v3" else storage.name
        return Node("tensor", [storage, offset, sizes(shape.items), sizes(stride.items)], dtype)
    if kind == "meta_tensor_no_storage":
        dtype = items[0].name.removeprefix("torch.")
        return Node("tensor", [None, 0, sizes(items[1].items), None], dtype)
    return None


def sizes(numbers):
    """A shape, a stride or a place, checked: at most 64 whole numbers that a file can hold."""
    good = all(type(each) is int and 0 <= each < BIG for each in numbers)
    if not good or len(numbers) > 64:
        raise Bad("a tensor has a size that is no size")
    return tuple(numbers)


# ---------------------------------------------------------------- the tree that a pickle builds


def children(node):
    """What a value holds, as (key, value). A module is opened as its state_dict would be."""
    if node.kind == "dict":
        yield from node.items
    elif node.kind in ("list", "tuple", "set"):
        yield from enumerate(node.items)
    elif node.kind == "object":
        state = dict_of(node.state)
        held = node.state if isinstance(node.state, Node) else node.args
        if "_parameters" in state:
            for part in ("_parameters", "_buffers", "_modules"):
                yield from children(state[part]) if kind_of(state.get(part)) == "dict" else ()
        elif isinstance(held, Node):
            yield from children(held)
        yield from (pair if isinstance(pair, tuple) else ("?", pair) for pair in node.items or ())


def dict_of(value):
    """The string keys of a dict."""
    return {k: v for k, v in value.items if isinstance(k, str)} if kind_of(value) == "dict" else {}


def leaves(value, path="", above=()):
    """Every value as (path, value, what it is in), in the order of the file."""
    if kind_of(value) in (None, "tensor", "name", "array"):
        yield path, value, above
    elif len(above) < MAX_DEPTH and not any(value is each for each in above):
        yield path, value, above
        for key, inner in children(value):
            name = key if isinstance(key, str) else text_of(key)
            yield from leaves(inner, (f"{path}.{name}" if path else name)[:KEPT], (*above, value))


def text_of(value):
    if not isinstance(value, Node):
        return repr(value)[:60]
    if value.kind not in ("dict", "list", "tuple", "set"):
        return value.name or value.kind
    if value.kind != "dict" and len(value.items) <= 8 and not any(map(kind_of, value.items)):
        return "[" + ", ".join(map(text_of, value.items)) + "]"
    return f"a {value.kind} of {counted(value.items, 'value')}"


def is_state_dict(node):
    """A dict that holds tensors under names, as a model's state_dict does."""
    if kind_of(node) != "dict":
        return False
    kinds = [value.kind for _, value in node.items if isinstance(value, Node)]
    return "tensor" in kinds and "dict" not in kinds and 4 * len(kinds) >= 3 * len(node.items)


def optimizer_in_words(node):
    """What an optimizer's state_dict tells; of anything else, "". Its class is not in there."""
    found = dict_of(node)
    if not {"state", "param_groups"} <= found.keys():
        return ""
    groups = [dict_of(group) for group in getattr(found["param_groups"], "items", None) or ()]
    rates = " and ".join(text_of(group.get("lr", "?")) for group in groups[:3])
    count = len(getattr(found["state"], "items", None) or ())
    return f"lr {rates}; {counted(groups, 'group')}; state of {count} parameters"


def read_tree(root, report):
    """Put the tensors, the kind and the plain values into the report. Returns {storage: bytes}."""
    optimizers, storages, deadline = {}, {}, time.monotonic() + SECONDS
    for count, (path, value, above) in enumerate(leaves(root)):
        if count == MAX_VALUES or time.monotonic() > deadline:
            report.wrong("too many values, or in circles: what follows is not shown")
            break
        inner = not optimizers.keys().isdisjoint(above)
        kind = kind_of(value)
        if kind == "tensor":
            add_tensor(report, path, value, storages)
        elif kind == "array":
            report.arrays |= {code_of(value)}
        if words := optimizer_in_words(value):
            optimizers.setdefault(value, path)
            report.values[path or "optimizer"] = words
        elif is_state_dict(value) and not inner:
            report.dicts.append(path)
        elif len(report.values) < 40 and not inner and is_plain(value, above):
            report.values[path] = value if kind is None else text_of(value)
    report.kind = whole_in_words(root, report.dicts, [*optimizers.values()])
    count_parameters(report, report.dicts)
    return storages


def is_plain(value, above):
    """A value to show: what stands under a name near the top, without a tensor in it."""
    if not 0 < len(above) < 3 or above[-1].kind not in ("dict", "object"):
        return kind_of(value) == "array"
    if kind_of(value) in ("list", "tuple"):
        return not text_of(value).startswith("a ")
    return value is not None and kind_of(value) in (None, "array")


def code_of(array):
    """What NumPy calls the dtype of an array or a number: f8."""
    state = getattr(array.state, "items", None) or ()
    dtype = getattr(state[2] if len(state) > 2 else array.args, "args", None)
    return str((getattr(dtype, "items", None) or ["f8"])[0])[:8]


def add_tensor(report, path, node, storages):
    storage, offset, shape, stride = node.items
    tensor = Tensor(path, shape, node.name, offset=offset, stride=stride)
    tensor.parameter = node.args == "parameter"
    report.tensors.append(tensor)
    if kind_of(storage) == "storage":
        tensor.storage, count, device = storage.items
        count, _ = sizes((count, offset))
        room = count * width(storage.name)
        storages[tensor.storage] = max(storages.get(tensor.storage, 0), room)
        report.devices |= {device.partition(":")[0]} - {"cpu", "meta"}
    elif storage is not None:  # as that of the device meta is
        report.wrong(f"{path} is a tensor without a storage")


def whole_in_words(root, dicts, optimizers):
    """What the file is, by what its pickle builds."""
    kind = kind_of(root)
    if kind == "object":
        module = "_parameters" in dict_of(root.state)
        return f"a whole model, class {root.name}" if module else f"an object, {root.name}"
    found = dicts + optimizers
    if "" in found:
        return "a state_dict" if "" in dicts else "an optimizer's state_dict"
    if found:
        return f"a checkpoint with {', '.join(found[:4])}"
    return "a tensor" if kind == "tensor" else text_of(root)


def count_parameters(report, dicts=("",)):
    """Elements of the floating-point tensors, each place once, without BatchNorm's buffers."""
    whole, counts = any(t.parameter for t in report.tensors), {}
    for where in [""] if whole else dicts[:20]:
        learn = [t for t in under(report, where) if t.parameter or not whole]
        if not whole:
            learn = [t for t in learn if t.dtype.startswith(FLOATS)]
            learn = [t for t in learn if not t.name.endswith(BUFFERS)]
        places = {(t.storage or t.name, t.offset, t.shape): t.elements for t in learn}
        counts[where] = sum(places.values())
    report.parameters = sum(counts.values()) if counts else None
    report.counted = "what is marked as a parameter" if whole else BY_GUESS
    if len(counts) > 1:
        report.counted = "; ".join(f"{where}: {count:,}" for where, count in counts.items())


def under(report, where):
    """The tensors of one state_dict."""
    return [t for t in report.tensors if not where or t.name.startswith(f"{where}.")]


def read_pickle(report, file):
    """Walk one pickle: its names and its tree go into the report. Returns {storage: bytes}."""
    machine = Machine(report.names)
    try:
        machine.run(file)
    except Bad as error:  # what was read until then is shown
        report.wrong(str(error))
    report.refused = report.refused or machine.refused
    storages = read_tree(machine.value, report)
    if report.broken and machine.value is None:
        report.kind = ""  # it may have been anything
    return storages


# ---------------------------------------------------------------- torch.save, and other zip files

FOREIGN = {  # zip files that are something else: an entry that only they have
    "serialized_exported_program.json": "torch.export, layout of before 2.8",
    ".data/extern_modules": "torch.package",
    "model.weights.h5": "Keras",
    "[Content_Types].xml": "a document of an office program",
}
READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_zip(report, file):
    """Returns the archive: the numbers of the tensors are read from it."""
    report.is_a("zip file")
    find_directory(report, file)
    archive = zipfile.ZipFile(file)
    entries = archive.infolist()
    check_layout(report, entries)
    folder = find_folder(report, [each.filename for each in entries])
    names = {each.filename.removeprefix(f"{folder}/"): each for each in reversed(entries)}
    if "data.pkl" in names:
        read_torch(report, archive, names)
    elif "archive_format" in names or any(re.match(r"models/.*\.json", name) for name in names):
        read_export(report, archive, names)
    elif names and all(name.endswith(".npy") for name in names):
        read_npz(report, archive, names)
    else:
        name_zip(report, names)
    check_crc(report, archive, entries)
    if report.numbers and "byteorder" in names:
        report.order = ">" if content(archive, names["byteorder"]) == b"big" else "<"
    return archive


def find_folder(report, names):
    """The folder that holds everything in a file of torch.save. What lies outside is foreign."""
    folders = {name[: -len("/data.pkl")] for name in names if name.endswith("/data.pkl")}
    if len(folders) != 1 or "/" in (folder := folders.pop()):
        return names[0].partition("/")[0] if names else ""
    if foreign := [name for name in names if not name.startswith(f"{folder}/")]:
        report.wrong(f"{foreign[0]} was added by another program: take the original file")
    return folder


def name_zip(report, names):
    if found := [entry for entry in FOREIGN if entry in names]:
        report.format = FOREIGN[found[0]]
        report.open_with = "torch.export.load(path)" if "export" in report.format else ""
        return
    inner = [name for name in names if name.endswith(SUFFIXES)]
    report.format = "a zip file, not a model" + (f": unpack {inner[0]}" if inner else "")
    report.model, report.kind = False, f"{len(names)} files"


def find_directory(report, file):
    """Look at the end of a zip file before zipfile reads a directory of any size from it."""
    file.seek(max(0, report.size - 66_000))
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or end + 22 > len(tail):
        salvage(report, file)
        raise Bad("half a file: the directory that ends a zip file is missing")
    length, comment = struct.unpack("<I4xH", tail[end + 12 : end + 22])
    wide = tail.rfind(b"PK\6\6", 0, end)
    if wide >= 0 and wide + 56 <= len(tail):
        length = max(length % 0xFFFFFFFF, struct.unpack("<Q", tail[wide + 40 : wide + 48])[0])
    if length > MAX_DIRECTORY:
        raise Bad(f"a zip file with a directory of {size_of(length)}: not read")
    if extra := len(tail) - end - 22 - comment:
        report.wrong(f"{extra:,} bytes follow the end of the zip file")


def salvage(report, file):
    """What the pickle at the beginning of half a file says. torch.save writes it first."""
    file.seek(0)
    length, extra = struct.unpack("<26xHH", file.read(30).ljust(30, b"\0"))
    if file.read(length).endswith(b"/data.pkl"):
        report.format = "torch.save, PyTorch 1.6 or later (zip)"
        file.seek(extra, 1)
        read_pickle(report, file)


def check_layout(report, entries):
    """torch.save compresses nothing, marks no folders, and writes each name once, from byte 0."""
    names = [each.filename for each in entries]
    if twice := [name for name, count in Counter(map(str.lower, names)).items() if count > 1]:
        report.wrong(f"two entries have the name {twice[0]}")
    if out := [n for n in names if ".." in n.split("/") or n.startswith("/") or "\\" in n]:
        report.wrong(f"an entry is called {out[0]}, which points out of the file")
    if any(each.external_attr & 0x10 for each in entries if not each.filename.endswith("/")):
        report.wrong("an entry is marked as a folder, so that its CRC is not looked at")
    if sum(each.compress_size for each in entries) > report.size:
        report.wrong("its entries are larger together than the file")
    if len({name.partition("/")[0] for name in names}) > 1 and "/data.pkl" in names[0]:
        report.wrong("its entries are in more than one folder")
    if entries and min(each.header_offset for each in entries):
        report.wrong("bytes stand before the beginning of the zip file")


def read_torch(report, archive, names):
    """What torch.save and torch.jit.save write: a pickle, and an entry for each storage."""
    version = "2.7" if ".format_version" in names else "2.1" if "byteorder" in names else "1.6"
    report.is_a("torch.save (zip)", f"torch.save, PyTorch {version} or later")
    script = "constants.pkl" in names
    if script:
        call = "torch.jit.load(path): it runs the program in the file"
        report.is_a("TorchScript", "torch.jit.save", open_with=call)
    storages = read_pickle(report, io.BytesIO(content(archive, names["data.pkl"])))
    if script:
        report.names = {n: None for n in report.names if not n.startswith(OF_SCRIPTS)}
        report.kind, report.values = "a program and its weights", {}
        count_parameters(report)
    check_storages(report, storages, names)
    if any(entry.compress_type for name, entry in names.items() if not name.startswith("code/")):
        report.wrong("its entries are compressed: packed again by another program, or a bomb")


def content(archive, entry):
    """An entry as bytes, of a size that may be read whole. The CRC is checked elsewhere."""
    if entry.compress_type not in READABLE:
        raise Bad(f"{entry.filename} is compressed in a way that is not read here")
    if entry.file_size > 4 * MAX_PICKLE:
        raise Bad(f"{entry.filename} has {size_of(entry.file_size)}: not read")
    entry = copy.copy(entry)
    del entry.CRC  # a wrong one is reported, and does not stop the reading
    with archive.open(entry) as opened:
        return opened.read(entry.file_size)


def check_storages(report, storages, names):
    """Each storage that the pickle names has its entry, as long as it says."""
    stored = {key.removeprefix("data/"): e for key, e in names.items() if key.startswith("data/")}
    if missing := [key for key in storages if key not in stored]:
        report.wrong(f"{counted(missing, 'storage')} missing: data/{missing[0]}")
    for key in storages.keys() & stored.keys():
        if stored[key].file_size < storages[key]:
            report.wrong(f"data/{key} is shorter than the pickle says")
    for tensor in report.tensors:
        if tensor.storage in stored:
            tensor.place = (stored[tensor.storage].filename, 0)
    unused = [each.file_size for key, each in stored.items() if key not in storages]
    if unused and report.format != "TorchScript":
        report.remark(f"{size_of(sum(unused))} in {len(unused)} entries belong to no tensor")
    check_tensors(report, storages)


# ---------------------------------------------------------------- torch.save before 1.6, pickles


def read_old(report, file):
    """Five pickles: magic number, protocol, machine, the object, the storages' order. Then data."""
    by = "torch.save before PyTorch 1.6, or without the zip format"
    report.is_a("torch.save (before 1.6)", by)
    file.seek(len(MAGIC))
    for _ in range(2):
        Machine(report.names).run(file)
    storages = read_pickle(report, file)
    order = Machine(report.names).run(file)
    if kind_of(order) != "list":
        raise Bad("the list of its storages is missing")
    starts = find_storages(report, file, [str(key) for key in order.items], storages)
    for tensor in report.tensors:
        if tensor.storage in starts:
            tensor.place = ("", starts[tensor.storage])
    check_tensors(report, storages)


def find_storages(report, file, keys, storages):
    """Where the numbers of each storage begin: after a count of 8 bytes, one after the other."""
    starts, end = {}, file.tell()
    if missing := storages.keys() - set(keys):
        report.wrong(f"{counted(missing, 'storage')} missing from its list")
    for key in keys:
        start = end + 8
        end = start + storages.get(key, 0)
        if end > report.size:
            report.wrong(f"half a file: {size_of(end - report.size)} or more are missing")
            return starts
        starts[key] = start
    if end < report.size:
        report.wrong(f"{report.size - end:,} bytes follow the last storage")
    return starts


def read_other_pickle(report, file):
    report.is_a("pickle", "pickle, not torch.save")
    file.seek(0)
    read_pickle(report, file)
    report.refused = report.refused or "it is no file of torch.save"
    if report.tensors and "torch.storage._load_from_bytes" not in report.names:
        report.wrong("the data.pkl of a file of torch.save, without the numbers: take that file")
    if not report.broken and file.tell() < report.size:
        report.remark("more follows the end of the pickle")


def read_tar(report, file):
    """torch.save's format of before 0.1.10."""
    by = "torch.save before PyTorch 0.1.10"
    report.is_a("torch.save (before 0.1.10, tar)", by, "not looked into")
    report.refused = "it is a tar file: load it once with PyTorch and save it again"


# ---------------------------------------------------------------- torch.export


def read_export(report, archive, names):
    """The files .pt2: weights and their description in JSON, a graph in JSON."""
    kind = "a program and its weights"
    report.is_a("torch.export", "torch.export.save", kind, "torch.export.load(path)")
    for name, entry in names.items():
        if found := re.fullmatch(r"(data/(?:weights|constants)/)\w*config\.json", name):
            config = read_json(content(archive, entry))["config"]
            for key, about in config.items():
                add_export(report, names, found[1], key, about)
    if any("aotinductor" in name for name in names):
        report.remark("it holds compiled machine code: open it only if you know who made it")
    count_parameters(report)


def add_export(report, names, folder, key, about):
    meta, place = about["tensor_meta"], folder + about["path_name"]
    shape = sizes([size.get("as_int", 0) for size in meta["sizes"]])
    tensor = Tensor(key, shape, EXPORT.get(meta["dtype"], "?"), storage=about["path_name"])
    tensor.parameter = "weights" in folder and about.get("is_param") is True
    report.tensors.append(tensor)
    if place not in names:
        report.wrong(f"{key} is missing: {place}")
    elif names[place].file_size < tensor.bytes and not about.get("use_pickle"):
        report.wrong(f"{place} is shorter than its tensor")
    else:
        tensor.place = (names[place].filename, 0)


def read_json(data):
    if len(data) > MAX_HEADER:
        raise Bad(f"its description has {size_of(len(data))}: not read")
    try:
        found = json.loads(data, object_pairs_hook=no_doubles)
    except (ValueError, RecursionError) as error:
        raise Bad(f"its description is not JSON ({str(error)[:80]})") from None
    if not isinstance(found, dict):
        raise Bad("its description is not a JSON object")
    return found


def no_doubles(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in it")
    return found


# ---------------------------------------------------------------- safetensors


def read_safetensors(report, file):
    report.is_a("safetensors", "", "a state_dict", "safetensors.torch.load_file(path)")
    report.dicts = [""]
    file.seek(0)
    length = struct.unpack("<Q", file.read(8))[0]
    if length > report.size - 8:
        raise Bad(f"half a file: its header has {length:,} bytes, the file {report.size:,}")
    if length > MAX_HEADER:
        raise Bad(f"its header has {size_of(length)}: not read")
    header = read_json(file.read(length))
    about = header.pop("__metadata__", None) or {}
    report.written_by = f"safetensors, format {about.get('format', 'not said')}"
    report.values |= {k: v for k, v in list(about.items())[:20] if k != "format"}
    place_safetensors(report, header, 8 + length)
    count_parameters(report)


def place_safetensors(report, header, begin):
    """The tensors lie one after the other, without holes, up to the last byte."""
    places, expected = [], 0
    for name, about in header.items():
        start, end = sizes(about["data_offsets"])
        dtype = SAFETENSORS.get(about["dtype"], "?")
        tensor = Tensor(name[:KEPT], sizes(about["shape"]), dtype, storage=f"{start}")
        tensor.place = ("", begin + start)
        report.tensors.append(tensor)
        places.append((start, end, name))
        if end - start != tensor.bytes and dtype not in ("?", "float4_e2m1fn_x2"):
            report.wrong(f"{name} has {end - start:,} bytes, its shape needs {tensor.bytes:,}")
    for start, end, name in sorted(places):
        if start != expected:
            report.wrong(f"a hole or an overlap before {name}")
        expected = end
    check_end(report, begin + expected, "the last tensor")


def check_end(report, end, last):
    """A file ends where its numbers do."""
    if end > report.size:
        report.wrong(f"half a file: {size_of(end - report.size)} are missing")
    elif end < report.size:
        report.wrong(f"{report.size - end:,} bytes follow {last}")


# ---------------------------------------------------------------- NumPy


def read_npy(report, file):
    report.is_a("NumPy .npy", "NumPy", "an array", "numpy.load(path)")
    file.seek(0)
    start = read_array(report, "array", file)
    if report.tensors[0].dtype != "object":
        check_end(report, start + report.tensors[0].bytes, "the array")


def read_npz(report, archive, names):
    report.is_a("NumPy .npz", "NumPy", f"{len(names)} arrays", "numpy.load(path)")
    for name, entry in islice(names.items(), 10_000):
        if entry.compress_type in READABLE:
            with archive.open(entry) as file:
                read_array(report, name.removesuffix(".npy"), file)


def read_array(report, name, file):
    """Add the tensor that a file .npy describes. Returns where its numbers begin."""
    head = file.read(12)
    if head[:6] != b"\x93NUMPY" or len(head) < 12:
        raise Bad(f"{name} does not begin as NumPy's files do")
    begin, code = (12, "<I") if head[6] > 1 else (10, "<H")
    length = struct.unpack(code, head[8:begin])[0]
    text = (head[begin:] + file.read(min(length, 65_536))).decode("latin1")
    descr = re.search(r"'descr': '[<>|=]([a-zA-Z])(\d{0,4})", text) or ("", "V", "")
    shape = re.search(r"'shape': \(([\d, L]{0,400})\)", text)
    if not shape:
        raise Bad(f"{name}: NumPy's header is damaged")
    shape = sizes([int(n) for n in re.findall(r"\d{1,20}", shape[1])])
    kind, bits = descr[1], 8 * int(descr[2] or 0)
    dtype = f"{NUMPY.get(kind, '?')}{bits if kind in 'fiuc' else ''}"
    if kind == "O":
        dtype = "object"
        report.wrong(f"{name} holds Python objects: opening them runs what the file says")
    report.tensors.append(Tensor(name, shape, dtype))
    return begin + length


# ---------------------------------------------------------------- ONNX


class Protobuf:
    """A file of nested messages, each a row of numbered fields."""

    def __init__(self, file):
        self.file, self.deadline = file, time.monotonic() + SECONDS

    def fields(self, start, end):
        """The fields of a message as (number, value or None, first byte, last byte)."""
        while start < end:
            if time.monotonic() > self.deadline:
                raise Bad("too many fields for two seconds: not read to the end")
            self.file.seek(start)
            head = self.file.read(20)
            key, used = varint(head, 0)
            value, begin, kind = None, start + used, key & 7
            if kind in (0, 2):
                value, used = varint(head, used)
                begin = start + used
            size = {0: 0, 1: 8, 2: value, 5: 4}.get(kind)
            if size is None or begin + size > end:
                raise Bad("half a file, or damaged: a field is longer than what is left")
            yield key >> 3, value if kind == 0 else None, begin, begin + size
            start = begin + size

    def text(self, begin, end):
        self.file.seek(begin)
        return self.file.read(min(end - begin, KEPT)).decode("utf-8", "replace")

    def numbers(self, begin, end):
        self.file.seek(begin)
        data, place = self.file.read(min(end - begin, 1000)), 0
        while place < len(data):
            number, place = varint(data, place)
            yield number


def varint(data, place):
    """A number at a place, in pieces of 7 bits, and the place after it."""
    number = 0
    for count, byte in enumerate(data[place : place + 10]):
        number |= (byte & 127) << 7 * count
        if byte < 128:
            return number, place + count + 1
    raise Bad("half a file, or damaged: a number does not end")


def read_onnx(report, file):
    """ONNX's message: 1 ir_version, 2 producer, 3 its version, 7 graph, 8 opsets."""
    report.is_a("ONNX", "not said", "a program and its weights", "onnx.load(path)")
    buffer, about, opset = Protobuf(file), {}, None
    for number, value, begin, end in buffer.fields(0, report.size):
        if number in (2, 3):
            about[number] = buffer.text(begin, end)
        elif number == 1:
            report.values["ir_version"] = value
        elif number == 8:
            found = {n: v for n, v, *_ in buffer.fields(begin, end)}
            opset = opset or found.get(2)
        elif number == 7:
            read_message(report, buffer, "graph", begin, end)
    report.values["opset"] = opset
    if about:
        report.written_by = " ".join(text for _, text in sorted(about.items()))
    count_parameters(report)


NESTED = {  # where tensors are: {number of a field: (what is in it, bytes that make it worth it)}
    "graph": {1: ("node", 1000), 5: ("tensor", 0)},
    "node": {5: ("attribute", 500)},  # of If, Loop and Constant
    "attribute": {5: ("tensor", 0), 6: ("graph", 0)},
}


def read_message(report, buffer, kind, begin, end, depth=0):
    """The tensors of a graph, and those in its large nodes."""
    for number, _, start, stop in buffer.fields(begin, end):
        inner, least = NESTED[kind].get(number, ("", 0))
        if inner == "tensor":
            read_initializer(report, buffer, start, stop)
        elif inner and stop - start >= least and depth < 24:
            read_message(report, buffer, inner, start, stop, depth + 1)


def read_initializer(report, buffer, begin, end):
    """1 dims, 2 data_type, 8 name, 9 raw_data, 13 external data, 4 to 11 numbers one by one."""
    tensor, shape, outside, size = Tensor("", (), "?"), [], {}, None
    for number, value, start, stop in buffer.fields(begin, end):
        if number == 1:
            shape += [value] if value is not None else buffer.numbers(start, stop)
        elif number == 2:
            tensor.dtype = ONNX.get(value, "?")
        elif number == 8:
            tensor.name = buffer.text(start, stop)
        elif number == 9:
            tensor.place, size = ("", start), stop - start
        elif number == 13:
            parts = {n: buffer.text(a, b) for n, _, a, b in buffer.fields(start, stop)}
            outside[parts.get(1)] = parts.get(2, "")
    if len(report.tensors) >= MAX_VALUES:
        raise Bad(f"more than {MAX_VALUES:,} tensors: not read to the end")
    tensor.shape, tensor.name = sizes(shape), tensor.name or f"constant_{len(report.tensors)}"
    report.tensors.append(tensor)
    if size not in (None, tensor.bytes) and tensor.dtype != "?":
        report.wrong(f"{tensor.name} has {size:,} bytes, its shape needs {tensor.bytes:,}")
    if outside:
        check_outside(report, tensor, outside)


def check_outside(report, tensor, outside):
    """External data: a file beside the model, with the place of the numbers in it."""
    name = outside.get("location", "")
    start, length = (int(outside.get(key) or 0) for key in ("offset", "length"))
    path, have = beside(report, "the file", name)
    if path and start + (length or tensor.bytes) > have:
        report.wrong(f"{name} is shorter than {tensor.name} needs")
    elif path:
        tensor.place = (path, start)


# ---------------------------------------------------------------- DCP, an index of shards


def beside(report, what, name):
    """(path, size) of a file in the same folder or below it, or (None, 0) and what is wrong."""
    folder = report.path if os.path.isdir(report.path) else os.path.dirname(report.path)
    out = ".." in re.split(r"[/\\]", name) or os.path.isabs(name) or ":" in name or "\0" in name
    path = os.path.join(folder, name)
    if out or not name:
        report.wrong(f"{what} {name} is outside of this folder: not touched")
    elif (size := file_size(path)) is None:
        report.wrong(f"{what} {name} is missing")
    else:
        return path, size
    return None, 0


def file_size(path):
    """The size of a regular file, or None."""
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return None
    return about.st_size if stat.S_ISREG(about.st_mode) else None


def read_distributed(report):
    """A folder of torch.distributed.checkpoint: .metadata is a pickle, the rest are shards."""
    call = "dcp.load(state, checkpoint_id=path): it runs what .metadata says"
    report.is_a("torch.distributed.checkpoint", "dcp.save", "a distributed checkpoint", call)
    with open(os.path.join(report.path, ".metadata"), "rb") as file:
        found = dict_of(Machine(report.names).run(file).state)
    for name, about in dict_of(found.get("state_dict_metadata")).items():
        parts = dict_of(about.state)
        if "size" in parts:
            properties = getattr(getattr(parts.get("properties"), "state", None), "items", None)
            dtype = getattr((properties or [None])[0], "name", "?").removeprefix("torch.")
            report.tensors.append(Tensor(name, sizes(parts["size"].items), dtype))
    check_shards(report, found.get("storage_data"))
    count_parameters(report)


def check_shards(report, storage):
    """Each piece that .metadata places lies inside a file that is there."""
    ends = {}
    for _, about in storage.items if kind_of(storage) == "dict" else ():
        parts = dict_of(about.state)
        name, end = parts.get("relative_path"), parts.get("offset", 0) + parts.get("length", 0)
        ends[name] = max(end, ends.get(name, 0))
    report.values["shards"] = len(ends)
    for name, end in sorted(ends.items())[:MAX_FILES]:
        path, have = beside(report, "the shard", name)
        if path and have < end:
            report.wrong(f"half a file: the shard {name} lacks {size_of(end - have)}")
        report.size += have


def read_sharded(report, where):
    """An index of shards, {"weight_map": {name: file}}, together with its shards."""
    call = "transformers' from_pretrained(folder), or each shard by itself"
    kind = "a state_dict in several files"
    report.is_a("an index of shards", "Hugging Face's layout", kind, call)
    report.dicts = [""]
    if not all(isinstance(name, str) for name in where.values()):
        raise Bad("its weight_map is damaged")
    shards = sorted(set(where.values()))
    report.values["shards"] = len(shards)
    for name in shards[:MAX_FILES]:
        path, _ = beside(report, "the shard", name)
        if path:
            expected = {key for key, shard in where.items() if shard == name}
            add_shard(report, name, examine(path, report.numbers), expected)
    count_parameters(report)


def add_shard(report, name, part, expected):
    for problem in part.problems:
        (report.wrong if part.broken else report.remark)(f"{name}: {problem}")
    found = {tensor.name for tensor in part.tensors}
    if lacking := sorted(expected - found):
        report.wrong(f"{name} lacks {counted(lacking, 'tensor')} of the index: {lacking[0]}")
    if extra := sorted(found - expected):
        extra = f"{counted(extra, 'tensor')} that the index does not: {extra[0]}"
        report.remark(f"{name} holds {extra}")
    report.tensors += part.tensors
    report.names |= part.names
    report.size += part.size


# ---------------------------------------------------------------- which format it is

SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".onnx", ".pt2", ".tar", ".npz", ".npy",
            ".pkl", ".pickle", ".jit", ".h5", ".gguf", ".index.json")  # fmt: skip
KINDS = (  # how a file begins, and what reads it
    (rb"PK\x03\x04|PK\x05\x06", read_zip),
    (re.escape(MAGIC[:12]), read_old),
    (rb"\x80[\x02-\x05]", read_other_pickle),
    (rb"\x93NUMPY", read_npy),
    (rb"(?=.{0,7}[\0\x80-\xff]).{8}\{[\"\s}]", read_safetensors),
    (rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]", read_onnx),
    (rb"sys_info\0.{248}ustar", read_tar),
)
OTHERS = (  # what is no model file, or of another framework
    (rb"$", "an empty file: take another copy"),
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file: git lfs pull"),
    (rb"\s*<(!doctype|html|\?xml|head)", "a web page: download the file itself"),
    (rb"\x1f\x8b", "packed with gzip: gunzip it, or tar xzf"),
    (rb"\x89HDF", "HDF5, as Keras writes it: h5py or keras opens it"),
    (rb"GGUF", "GGUF, as llama.cpp reads it"),
    (rb".{4}TFL3", "TensorFlow Lite"),
    (rb".{257}ustar", "a tar file, not a model: unpack it"),
    (rb"7z\xbc\xaf|Rar!|\xfd7zXZ|BZh", "a packed archive: unpack it"),
)


def examine(path, numbers=False):
    """Look at a file or a folder of torch.distributed.checkpoint, and report. Nothing is run."""
    report = Report(os.fspath(path), numbers)
    try:
        examine_into(report)
    except Bad as error:
        report.wrong(str(error))
    except OSError as error:
        report.wrong(f"it cannot be read: {error.strerror or error}")
    except Exception as error:  # a spoiled file leads to any of them, RecursionError too
        report.wrong(f"damaged ({str(error) or type(error).__name__})")
    conclude(report)
    return report


def examine_into(report):
    about = os.stat(report.path)
    if stat.S_ISDIR(about.st_mode):
        if not is_distributed(report.path):
            raise Bad("a folder without a model file in it")
        return read_distributed(report)
    if not stat.S_ISREG(about.st_mode):
        raise Bad("a pipe, a device or a socket, no file: not touched")
    report.size = about.st_size
    with open(report.path, "rb") as file:
        head = file.read(512)
        readers = [reader for begins, reader in KINDS if re.match(begins, head, re.DOTALL)]
        if not readers:
            return read_rest(report, file, head)
        archive = readers[0](report, file)
        if report.numbers:
            find_nan(report, archive)


def is_distributed(folder):
    return file_size(os.path.join(folder, ".metadata")) is not None


def read_rest(report, file, head):
    """A file that is none of the formats: JSON, text, a pickle as text, or what else it is."""
    for begins, what in OTHERS:
        if re.match(begins, head, re.DOTALL | re.IGNORECASE):
            report.format = what
            if size := re.search(rb"\nsize (\d{1,20})\b", head):
                report.values["size of the file"] = size_of(int(size[1]))
            return
    if re.match(rb"\s*[{\[]", head) and report.size <= MAX_HEADER:
        file.seek(0)
        report.format = "JSON, not a model file"
        header = read_json(file.read()) if head.lstrip()[:1] == b"{" else {}
        if isinstance(header.get("weight_map"), dict):
            read_sharded(report, header["weight_map"])
    elif is_pickle(report, file):
        read_other_pickle(report, file)
    elif head and not re.search(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]", head):
        report.format = "text, not a model file"
    elif report.size < 20_000 and not head.strip(b"\0"):
        report.format = "only zeros: a download or a copy that failed"


def is_pickle(report, file):
    """A pickle without a mark at its beginning: it can be walked to the end, or would run code."""
    file.seek(0)
    names, whole = {}, False
    try:
        Machine(names).run(file)
        whole = file.tell() == report.size
    except Bad:
        pass
    return whole or any(judge(name) == "runs code" for name in names)


# ---------------------------------------------------------------- checks


def check_tensors(report, storages):
    """Tensors stay inside their storages, and storages carry no more than their tensors need."""
    used, owner = {}, {}
    for t in report.tensors:
        if t.storage is None:
            continue
        have = storages[t.storage] / width(t.dtype)
        if t.offset + t.span > have and t.elements:
            report.wrong(f"{t.name} reaches beyond the end of its storage")
        elif t.bytes > GIANT and t.elements > 2 * have:
            few = f"has {have:,.0f} (stride 0)"
            report.wrong(f"{t.name} claims {t.elements:,} elements and {few}")
        used.setdefault(t.storage, set()).add((t.offset, min(t.span, t.elements) * width(t.dtype)))
        owner[t.storage] = t.name
    wasted = {key: storages[key] - sum(n for _, n in parts) for key, parts in used.items()}
    wasted = {key: n for key, n in wasted.items() if n > max(1000, storages[key] // 10)}
    if wasted:
        key = max(wasted, key=wasted.get)
        carried = f"{owner[key]} is a view of {size_of(storages[key])}, all of which is in the file"
        report.remark(f"{carried}: save a clone()")


def check_crc(report, archive, entries):
    """Compare the CRC-32 of each entry, which torch.load does not do; for a second, or all."""
    deadline = time.monotonic() + (math.inf if report.numbers else CRC_SECONDS)
    right = {}
    for entry in sorted(entries, key=lambda each: each.file_size):
        right[entry] = crc_is_right(archive, entry, deadline)
    wrong = [entry.filename for entry in right if right[entry] is False]
    checked = sum(each is not None for each in right.values())
    report.crc = {"entries": len(entries), "checked": checked, "wrong": wrong}
    if entries and not any(entry.CRC for entry in entries):
        report.crc |= {"checked": 0, "wrong": []}
        report.remark("saved without checksums: damage cannot be seen")
    elif wrong:
        more = f" and {len(wrong) - 1} more" if wrong[1:] else ""
        report.wrong(f"damaged: the CRC of {wrong[0]}{more} is wrong")


def crc_is_right(archive, entry, deadline):
    """None if there is no time for it, or it is packed in a way unknown here."""
    if entry.compress_type not in READABLE:
        return None
    try:
        with archive.open(entry) as opened:
            while time.monotonic() < deadline:
                if not opened.read(CHUNK):  # at the end zipfile compares the CRC-32
                    return True
        return None
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, struct.error, zlib.error):
        return False


NAN = "holds nan or inf"
CODES = {"float64": "d", "float32": "f", "float16": "e", "complex64": "f", "complex128": "d"}
CODES["bfloat16"] = "f"  # its upper half


def find_nan(report, archive):
    """Read the numbers of every tensor of floating point, and name those with nan or inf."""
    seen = set()
    for t in report.tensors:
        place = (t.place, t.offset, t.span, t.dtype)
        if t.place is None or place in seen or t.dtype not in CODES:
            continue
        seen.add(place)
        name, begin = t.place
        with archive.open(name) if archive else open(name or report.path, "rb") as file:
            file.seek(begin + t.offset * width(t.dtype))
            numbers = chunks(file, t.span * width(t.dtype), t.dtype, report.order)
            # A sum is finite only if every number is. If it is not, they are looked at one by one.
            if not all(isfinite(sum(some)) or all(map(isfinite, some)) for some in numbers):
                mask = "mask" in t.name  # whose numbers are -inf on purpose
                (report.remark if mask else report.wrong)(f"{t.name} {NAN}")


def chunks(file, left, dtype, order):
    """The numbers of a tensor, a chunk at a time."""
    code = CODES[dtype]
    while left > 0 and (data := file.read(min(left, CHUNK))):
        left -= len(data)
        if dtype == "bfloat16":
            wide = bytearray(2 * len(data))
            wide[0 if order == ">" else 2 :: 4] = data[::2]
            wide[1 if order == ">" else 3 :: 4] = data[1::2]
            data = wide
        count = len(data) // struct.calcsize(code)
        yield struct.unpack(f"{order}{count}{code}", data[: count * struct.calcsize(code)])


def conclude(report):
    """What follows from all of it: how to open the file, and what the names mean."""
    dangerous = judged(report, "runs code")
    if dangerous:
        report.wrong(f"it names {dangerous[0]}, which runs code when the file is opened by pickle")
    for where in report.dicts[:20]:
        look_for_prefix(report, where)
    dtypes = sorted({t.dtype for t in report.tensors if t.dtype.startswith(FLOATS)})
    if len(dtypes) > 1 and report.format != "ONNX":  # whose constants have other dtypes
        report.remark(f"dtypes are mixed: {', '.join(dtypes)}")
    if report.model:
        report.open_with = how_to_open(report, dangerous)


def judged(report, *verdicts):
    return [name for name in report.names if judge(name) in verdicts]


def look_for_prefix(report, where):
    """What wraps a model puts its name before every key."""
    begin = f"{where}." if where else ""
    names = [t.name.removeprefix(begin) for t in under(report, where)]
    for prefix, reason in PREFIXES.items():
        if names and all(name.startswith(prefix) for name in names):
            place = f" of {where}" if where else ""
            report.remark(f'every key{place} begins with "{prefix}": {reason}')


def how_to_open(report, dangerous):
    if dangerous:
        return "nothing: don't open it, and don't trust where it came from"
    if report.broken and not all(text.endswith(NAN) for text in report.problems):
        return "nothing, as it is: take another copy, or see what looks wrong"
    if report.open_with or not report.format.startswith(("torch.save", "pickle")):
        return report.open_with
    call = "torch.load(path" + (', map_location="cpu"' if report.devices else "")
    if report.refused or judged(report, "refused"):
        call = "pickle.load(file)" if report.format == "pickle" else f"{call}, weights_only=False)"
        return f"{call}, only if you trust who wrote it"
    if names := judged(report, "harmless"):
        names += [f'type(numpy.dtype("{code}"))' for code in sorted(report.arrays)]
        return f"with torch.serialization.safe_globals([{', '.join(names)}]): {call})"
    return f"{call}, weights_only=True)"


# ---------------------------------------------------------------- words


def size_of(count):
    """Bytes in the unit that fits."""
    if count < 1000:
        return f"{count:,.0f} bytes"
    power = min(4, int(math.log10(count)) // 3)
    return f"{count / 1000**power:,.1f} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def counted(things, what):
    return f"{len(things):,} {what}{'s' if len(things) != 1 else ''}"


def clean(text):
    """Text from a file, fit for a terminal: what it does not print is written as an escape."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    shown = "".join(shown)
    return shown if len(shown) <= 240 else f"{shown[:239]}…"


def show(report):
    """The report as lines of text."""
    half = any(problem.startswith("half a file") for problem in report.problems)
    head = ["" if report.model else report.format, "it should hold " * half + report.kind]
    head += [counted(report.tensors, "tensor") if report.tensors else ""]
    head += [f"{report.parameters:,} parameters" if report.parameters is not None else ""]
    head += [size_of(report.size)]
    name = os.path.basename(report.path.rstrip("/")) or report.path
    lines = [clean(f"{name} · {', '.join(filter(None, head))}")]
    wrong = [f"  looks wrong  {clean(problem)}" for problem in report.problems[:8]]
    known = [f"  {key:<12} {clean(text)}" for key, text in about(report).items() if text]
    # What is broken comes first. Otherwise the remarks come last.
    return lines + (
        wrong + known + table(report) if report.broken else known + table(report) + wrong
    )


def about(report):
    name = json.dumps(os.path.basename(report.path), ensure_ascii=False)
    values = [f"{key} {value}" for key, value in report.values.items()]
    return {
        "format": report.format if report.model else "",
        "written by": report.written_by,
        "opens with": report.open_with.replace("path", name, 1) if report.model else "",
        "CRC": crc_in_words(**report.crc) if report.crc else "",
        "names": names_in_words(report),
        "counted": report.counted if report.parameters is not None else "",
        "values": "; ".join(values[:6]) + (f"; … {len(values) - 6} more" if values[6:] else ""),
    }


def crc_in_words(entries, checked, wrong):
    if wrong:
        return f"wrong in {len(wrong)} of {checked} entries"
    if checked == entries:
        return f"right in all {entries} entries" if entries else ""
    return f"right in {checked} of {entries} entries; --numbers checks all" if checked else ""


def names_in_words(report):
    """What torch.load makes of the names of a pickle."""
    bad = [f"{name} (runs code)" for name in judged(report, "runs code")]
    if report.format.startswith(("torch.save", "pickle")):
        bad += judged(report, "harmless", "refused")
    elif not bad:
        return ""
    if bad:
        more = f" and {len(bad) - 4} more" if bad[4:] else ""
        return f"torch.load refuses {', '.join(bad[:4])}{more}"
    short = [name.rpartition(".")[2] for name in report.names]
    last = f"refuses it: {report.refused}" if report.refused else "accepts all"
    return f"{', '.join(short[:4])}{', …' * bool(short[4:])}: torch.load {last}" if short else ""


def table(report):
    """The tensors as lines in columns. One that shares its numbers with another names it."""
    rows, seen = [], {}
    for t in report.tensors[:ROWS]:
        same = seen.setdefault((t.storage or t.name, t.offset, t.shape, t.stride), t.name)
        mark = f"= {clean(same)}" if same != t.name else ""
        shape = " × ".join(map(str, t.shape[:8])) or "a number"
        name = clean(t.name) or "the tensor"
        name = name if len(name) <= 50 else f"…{name[-49:]}"
        rows.append((name, shape, t.dtype, size_of(t.bytes), mark))
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    more = len(report.tensors) - ROWS
    return lines + ([f"  … {more:,} more"] if more > 0 else [])


def as_json(report):
    """The report as a dict for json.dumps: everything, nothing cut."""
    plain = ("path", "format", "written_by", "kind", "problems", "parameters", "crc", "open_with")
    return {name: getattr(report, name) for name in plain} | {
        "sound": report.model and not report.broken,
        "tensors": [
            {"name": t.name, "shape": list(t.shape), "dtype": t.dtype, "bytes": t.bytes,
             "storage": t.storage} for t in report.tensors
        ],
        "globals": [{"name": n, "allowed": judge(n) == "accepted"} for n in report.names],
        "values": {key: shown(value) for key, value in report.values.items()},
    }  # fmt: skip


def shown(value):
    """A value that JSON can say."""
    plain = isinstance(value, (str, bool, int)) or value is None
    return value if plain or (isinstance(value, float) and isfinite(value)) else str(value)


def say(text):
    """Print, also where it is cut short (| head) or cannot show every letter."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UnicodeEncodeError:
        print(text.encode("ascii", "replace").decode(), flush=True)


# ---------------------------------------------------------------- the command

USAGE = __doc__.partition("\n\n")[2].partition("\n\n")[0]


def main(argv):
    """Answer to files, or to a message. Returns the exit code.

    Of files: 0: sound; 1: something is wrong; 2: not a model file.
    Of a message: 0, or 2 if no entry of docs/errors.md fits.
    """
    options = {"--json", "--numbers"} & set(argv)
    words = [each for each in argv if each not in options]
    if {"-h", "--help"} & set(words) or (not words and sys.stdin.isatty()):
        say(USAGE)
        return 0
    paths = bool(words) and all(map(is_path, words))
    text = "".join(map(traceback_in, words)) if paths else " ".join(words)
    if paths and not text:
        return examine_all(words, options)
    text = answer(text or sys.stdin.buffer.read().decode("utf-8", "replace"))
    say(text)
    return 2 if text in (UNKNOWN, NO_PAGE) else 0


def traceback_in(path):
    """The text of a file (str) if it holds a traceback, else ""."""
    if not os.path.isfile(path):
        return ""
    with open(path, "rb") as file:
        text = file.read(MAX_HEADER).decode("utf-8", "replace")
    return text if re.search(r"^(Traceback \(most|[\w.]+Error: )", text, re.M) else ""


def is_path(word):
    """Whether a word of the command line is a file, there or not, and no message."""
    return os.path.lexists(word) or (word.endswith(SUFFIXES) and not re.search(r"\s", word))


def examine_all(paths, options):
    """Print the reports of files and folders. Returns the exit code."""
    reports = [report for path in paths for report in reports_of(path, "--numbers" in options)]
    if "--json" in options:
        found = [as_json(report) for report in reports]
        say(json.dumps(found[0] if len(found) == 1 else found, indent=1))
    else:
        say("\n\n".join("\n".join(show(report)) for report in reports))
    if any(report.model and report.broken for report in reports):
        return 1
    return 0 if all(report.model for report in reports) else 2


def reports_of(path, numbers):
    """One report for a file, several for a folder."""
    try:
        files = files_in(path)
    except OSError:  # no folder, or one that may not be read
        files = []
    reports = [examine(each, numbers) for each in files[:MAX_FILES] or [path]]
    if len(files) > MAX_FILES:
        rest = len(files) - MAX_FILES
        reports[-1].remark(f"{rest:,} more files in this folder are not looked at")
    return reports


def files_in(folder):
    """The model files of a folder and of its folders, sorted, without those that an index names."""
    found = []
    for place in [folder, *sorted(e.path for e in os.scandir(folder) if e.is_dir())][:1000]:
        if is_distributed(place):
            found.append(place)
            continue
        with os.scandir(place) as entries:
            paths = [entry.path for entry in islice(entries, 100_000)]
        found += [path for path in paths if path.endswith(SUFFIXES) and file_size(path) is not None]
    shards = set()
    for name in [each for each in found if each.endswith(".index.json")]:
        with open(name, "rb") as file:
            named = re.findall(rb'"([^"\\/]{1,200})"', file.read(MAX_HEADER))
        shards |= {os.path.join(os.path.dirname(name), os.fsdecode(each)) for each in named}
    return sorted(set(found) - shards)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
