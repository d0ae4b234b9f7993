"""The catalogue of lesson 16, against what the lesson says of its exhibits; and that nothing false can hang there."""

import re

import museum
import pytest
import torch
from notebook_tools import NOTEBOOKS, read
from torch import nn

import fc_model
import helper

NOTEBOOK = next(path for path in NOTEBOOKS if path.stem.startswith("16_"))


@pytest.fixture(autouse=True)
def no_exhibits(monkeypatch):
    monkeypatch.setattr(museum, "raised", {})


def rows():
    """{room: [(pieces of messages, lesson), ...]} of the tables in the notebook's rooms."""
    found, room = {}, None
    for cell in read(NOTEBOOK).cells:
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else ():
            if heading := re.match(r"## (\d+)\. ", line):
                room = int(heading[1])
            if line.startswith("|") and (
                lesson := re.search(r"\[(\d\d)(?:§\d+)?\]\([\w.]+\)\|$", line)
            ):
                label = line.split("|")[1]
                pieces = re.findall(r"`([^`]+)`", label) if room < 11 else [f"silent: {label}"]
                found.setdefault(room, []).append((pieces, lesson[1]))
    return found


def belongs(piece, label):
    """Whether what a table shows is the label, a part of it, or more of the message than the label."""
    parts = [part for part in re.split(r" ?… ?", piece) if part]
    return any(part in label or label in part for part in parts)


def test_each_exhibit_has_a_row_in_its_room_with_its_lesson():
    tables = rows()
    for label, (room, lesson) in museum.INDEX.items():
        lessons = {
            other
            for pieces, other in tables[room]
            if any(belongs(piece, label) for piece in pieces)
        }
        assert lesson in lessons, f"room {room}, lesson {lesson}: no row for {label!r}"


def test_each_row_is_about_an_exhibit_of_its_room():
    for room, table in rows().items():
        labels = [label for label, place in museum.INDEX.items() if place[0] == room]
        for pieces, _ in table:
            assert any(belongs(piece, label) for piece in pieces for label in labels), (
                f"room {room}: {pieces}"
            )


def test_sections_are_the_rooms_and_lessons_are_files():
    headings = [re.match(r"## (\d+)\. (.*)", cell.source) for cell in read(NOTEBOOK).cells]
    titles = {int(heading[1]): heading[2] for heading in headings if heading}
    assert titles == {1: "The hall", **museum.ROOMS, 14: "The last round"}
    assert all((NOTEBOOK.parent / name).is_file() for name in museum.LESSONS.values())
    assert {lesson for _, lesson in museum.INDEX.values()} <= museum.LESSONS.keys()


def fail(message):
    raise RuntimeError(message)


def test_what_is_visited_is_kept(capsys):
    museum.visit(4, {"size mismatch for": lambda: fail("… size mismatch for weight …")})
    assert museum.raised == {"size mismatch for": "RuntimeError: … size mismatch for weight …"}
    assert museum.types(4) == {"RuntimeError"} and museum.types(5) == set()
    assert capsys.readouterr().out.split() == ["RuntimeError", "…", "size", "mismatch", "for"]


@pytest.mark.parametrize(
    "room, action, complaint",
    [
        (4, lambda: None, "no error was raised"),
        (4, lambda: fail("another text"), "is not in"),
        (5, lambda: fail("size mismatch for weight"), "hangs in room 4"),
    ],
)
def test_nothing_false_is_kept(room, action, complaint):
    with pytest.raises(AssertionError, match=complaint):
        museum.visit(room, {"size mismatch for": action})


def test_a_test_that_does_not_tell_the_broken_from_the_mended_is_refused():
    museum.reveal("an older file", bool, 0, 1)
    assert museum.raised == {"silent: an older file": (False, True)}
    for broken, mended in ((0, 0), (1, 1), (1, 0)):
        with pytest.raises(AssertionError, match="an older file"):
            museum.reveal("an older file", bool, broken, mended)
    with pytest.raises(AssertionError, match="not in the catalogue"):
        museum.reveal("an unknown fault", bool, 0, 1)


def test_a_message_is_looked_up_by_any_piece_of_it():
    assert museum.look_up("RuntimeError: size mismatch for 0.weight: copying …") == {
        "size mismatch for": (4, "03")
    }
    assert museum.look_up("no such message") == {}


def test_a_checkpoint_is_found_whatever_its_first_field():
    for checkpoint in ({"epoch": 3, "state_dict": {}}, {"input_size": 4, "model_state_dict": {}}):
        with pytest.raises(RuntimeError) as error:
            nn.Linear(1, 1).load_state_dict(checkpoint)
        assert 'state_dict"' in museum.look_up(str(error.value))
    with pytest.raises(RuntimeError) as error:
        nn.Linear(1, 1).load_state_dict({"layer.weight": torch.ones(1, 1)})
    assert 'state_dict"' not in museum.look_up(str(error.value))


def test_a_flipped_bit_is_not_called_cut_short(tmp_path):
    model, path = fc_model.Network(4, 3, [8]), tmp_path / "a.pth"
    fc_model.save_checkpoint(model, path)
    data = path.read_bytes()
    for spoiled, label in (
        (museum.flip(data, model.output.bias), "Bad CRC-32"),
        (data[:99], "File is not a zip file"),
    ):
        path.write_bytes(spoiled)
        with pytest.raises(fc_model.CheckpointError) as error:
            fc_model.load_checkpoint(path)
        assert list(museum.look_up(str(error.value))) == [label]


def test_a_full_disk_takes_a_thousand_bytes():
    disk = museum.FullDisk()
    disk.write(bytes(1000))
    for size in (1, 5000):
        with pytest.raises(OSError, match="No space left"):
            disk.write(bytes(size))
    with pytest.raises(OSError, match="No space left"):
        museum.FullDisk().write(bytes(5000))


def test_pairs_have_lost_what_their_words_say():
    words = [frozenset(words) for words, _, _ in museum.pairs()]
    assert len(set(words[:16])) == 16 and len(words) == 21
    for words, one, other in museum.pairs():
        differ = {
            "numbers": not helper.same_weights(one, other),
            "settings": str(one) != str(other),
            "frozen": [p.requires_grad for p in one.parameters()]
            != [p.requires_grad for p in other.parameters()],
            "mode": [m.training for m in one.modules()] != [m.training for m in other.modules()],
        }
        assert words == {word for word, differs in differ.items() if differs}


def test_one_bit_is_flipped(tmp_path):
    tensor = torch.tensor([0.5, -2.0, 1.0])
    torch.save(tensor, tmp_path / "a.pt")
    data = (tmp_path / "a.pt").read_bytes()
    flipped = museum.flip(data, tensor)
    assert sum((one ^ other).bit_count() for one, other in zip(data, flipped)) == 1 and len(
        data
    ) == len(flipped)
    (tmp_path / "a.pt").write_bytes(flipped)
    assert torch.load(tmp_path / "a.pt").tolist() == [0.5, 2.0, 1.0]


def test_each_of_the_sick_has_one_cure():
    state_dict = nn.Sequential(nn.Linear(1, 10), nn.ReLU(), nn.Linear(10, 1)).state_dict()
    cures = {
        letter: [cure for cure in museum._CURES if museum.helps(cure, state)]
        for letter, state in museum.sick(state_dict).items()
    }
    assert cures == {"A": ["rename"], "B": ["unpack"], "C": ["deepen"], "D": ["unwrap"]}
    assert not museum.helps("pray", state_dict) and museum.HINTS.keys() == cures.keys()
