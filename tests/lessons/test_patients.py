"""What the exercises of lesson 16 examine: the messages fit the museum, and the file has its three faults."""

import patients
import pytest
import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

import doctor
import helper

CAUSES = {
    "A": "no-such-file",
    "B": "failed-finding-central-directory",
    "C": "global-numpy-scalar",
    "D": "mat1-mat2-dtype",
}


@pytest.mark.parametrize("letter", CAUSES)
def test_the_doctor_finds_the_cause_of_each_message(letter):
    entries = doctor.diagnose(patients.MESSAGES[letter])
    assert CAUSES[letter] in [entry.anchor for entry in entries]


def test_the_doctors_first_entry_is_not_always_the_cause():
    first = doctor.diagnose(patients.MESSAGES["A"])[0]
    assert first.anchor == "size-mismatch"


def test_the_file_has_three_faults_and_no_more(tmp_path):
    path = tmp_path / "patient.pth"
    patients.write_patient(path)
    names = get_unsafe_globals_in_checkpoint(path)
    assert names and all(name.startswith("numpy") for name in names)
    patient = torch.load(path, weights_only=False)
    assert (patient["epoch"], patient["loss"]) == (3, 0.25)
    good = torch.load(helper.trained_network(), map_location="cpu")
    assert set(patient["state_dict"]) == {f"module.{key}" for key in good}
    for key, tensor in good.items():
        saved = patient["state_dict"][f"module.{key}"]
        assert torch.equal(saved.t() if key == "hidden_layers.1.weight" else saved, tensor)
