# SPDX-License-Identifier: BSD-3-Clause
"""The parts of a test script, one after the other, and the line that the sum of all tests reads."""
import contextlib
import pathlib
import sys
import tempfile


class Skip(Exception):
    """Why a part cannot be run here."""


@contextlib.contextmanager
def fresh_folder():
    with tempfile.TemporaryDirectory() as name:
        yield pathlib.Path(name)


def run_parts(parts, place=fresh_folder):
    """Gives each part what `place`, which makes a context, holds; prints what a part returns. Ends the program: 1 if a part failed, 77 if all were skipped."""
    passed = failed = skipped = 0
    for part in parts:
        try:
            with place() as here:
                said = part(here)
            if said:
                print(f"{part.__name__}: {said}")
            passed += 1
        except Skip as why:
            print(f"skipped: {part.__name__} ({why})")
            skipped += 1
        except Exception as error:  # noqa: BLE001
            print(f"{part.__name__}: {type(error).__name__}: {error}")
            failed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 77 if skipped and not passed else 0)
