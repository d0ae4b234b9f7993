"""Copy a zip file, and replace one of its entries, for lesson 13.

    python 13_replace_entry.py OLD NEW ENTRY FILE

NEW gets all entries of OLD. The one whose name ends with ENTRY gets the content of FILE.
"""

import sys
import zipfile
from pathlib import Path


def replace_entry(old_path, new_path, entry, file):
    """Write the copy; return a line that names the replaced entry."""
    with zipfile.ZipFile(old_path) as old, zipfile.ZipFile(new_path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(entry):
                content = Path(file).read_bytes()
                replaced = name
            new.writestr(name, content)
    return f"replaced {replaced}"


if __name__ == "__main__":
    print(replace_entry(*sys.argv[1:]))
