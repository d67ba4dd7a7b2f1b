# SPDX-License-Identifier: BSD-3-Clause
"""The total of tests/run.sh is honest: crashes, silence and skips are counted. sum_check.py SOURCE"""
import json
import os
import subprocess
import sys
import tempfile

SUM = os.path.join(sys.argv[1], "tests", "sum.py")


def total(tests, status=0):
    """(last line, exit code) of sum.py for programs given as (stdout, result, exit code)."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        for number, (stdout, result, code) in enumerate(tests):
            entry = {"name": "voxgrad:examples / t" if stdout == EXAMPLE else f"t{number}", "stdout": stdout, "result": result, "returncode": code}
            file.write(json.dumps({key: value for key, value in entry.items() if value is not None}) + "\n")
        file.flush()
        done = subprocess.run([sys.executable, SUM, file.name, str(status)], text=True, capture_output=True)
    return done.stdout.splitlines()[-1], done.returncode


EXAMPLE = "what an example prints\n"
GOOD = ("3 passed, 0 failed\n", "OK", 0)
CASES = [
    ("all pass", [GOOD, ("noise\n12 passed, 0 failed\n", "OK", 0)], 0, ("15 passed, 0 failed", 0)),
    ("the last line counts", [("1 passed, 0 failed\n2 passed, 0 failed\n", "OK", 0)], 0, ("2 passed, 0 failed", 0)),
    ("failed cases", [GOOD, ("4 passed, 2 failed\n", "FAIL", 2)], 1, ("7 passed, 2 failed", 1)),
    ("a crash before the line", [GOOD, ("some output\n", "FAIL", -11)], 1, ("3 passed, 1 failed", 1)),
    ("a crash after the line", [("3 passed, 0 failed\n", "FAIL", -6)], 1, ("3 passed, 1 failed", 1)),
    ("a time-out", [GOOD, (None, "TIMEOUT", -15)], 1, ("3 passed, 1 failed", 1)),
    ("silence in spite of success", [(None, "OK", 0)], 0, ("0 passed, 1 failed", 1)),
    ("a filter that matched nothing", [("No test cases matched\n0 passed, 0 failed\n", "FAIL", 2)], 1,
     ("0 passed, 1 failed", 1)),
    ("skips", [GOOD, (None, "SKIP", 77), ("1 passed, 0 failed, 2 skipped\n", "OK", 0)], 0,
     ("4 passed, 0 failed, 3 skipped", 0)),
    ("cases that were left out", [("warning:\n  skipped: no data here\n\n3 passed, 0 failed\n", "OK", 0)], 0,
     ("3 passed, 0 failed, 1 skipped", 0)),
    ("examples count by their exit code", [(EXAMPLE, "OK", 0), (EXAMPLE, "FAIL", 1)], 1, ("1 passed, 1 failed", 1)),
    ("nothing ran", [], 0, ("0 passed, 1 failed", 1)),
    ("meson itself failed", [GOOD], 1, ("3 passed, 1 failed", 1)),
]

failures = 0
for name, tests, status, wanted in CASES:
    found = total(tests, status)
    if found != wanted:
        print(f"{name}: found {found}, expected {wanted}")
        failures += 1
print(f"{len(CASES) - failures} passed, {failures} failed")
sys.exit(1 if failures else 0)
