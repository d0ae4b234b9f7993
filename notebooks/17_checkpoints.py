"""The functions of checkpoints.py under the names of the capstone."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from checkpoints import load, save
from checkpoints import restore as resume

__all__ = ["load", "resume", "save"]
