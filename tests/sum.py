# SPDX-License-Identifier: BSD-3-Clause
"""Adds up the test cases of all test programs from Meson's testlog.json: sum.py LOG EXIT_CODE_OF_MESON_TEST

Each program ends with "N passed, M failed"; programs of suite "examples" count by their exit code. Any other that printed no such line, or failed in spite of it, counts as one failed
test; exit code 77 is a skip, and so is each line "skipped: REASON", which a case prints that lacks what it needs. The total is the last line; the exit code is 1 if anything failed or nothing ran.
"""
import json
import os
import re
import sys

SKIPPED = re.compile(r"^\s*(skipped: .*)")
LINE = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")


def skips(test):
    found = map(SKIPPED.match, (test.get("stdout") or "").splitlines())
    return [match.group(1) for match in found if match]


def counts(test):
    """(passed, failed, skipped) of one program, and a reason where it is not just its own line."""
    lines = [LINE.match(line.strip()) for line in (test.get("stdout") or "").splitlines()]
    lines = [line for line in lines if line]
    if test["result"] == "SKIP":
        return 0, 0, 1, "skipped"
    if not lines and ":examples / " in test["name"]:  # plain programs: their exit code is the result
        return (1, 0, 0, "") if test["result"] == "OK" else (0, 1, 0, f"{test['result']}, exit code {test['returncode']}")
    if not lines:
        return 0, 1, 0, f"no line 'N passed, M failed' ({test['result']}, exit code {test['returncode']})"
    passed, failed, skipped = (int(number or 0) for number in lines[-1].groups())
    skipped = max(skipped, len(skips(test)))
    if test["result"] != "OK" and failed == 0:
        return passed, 1, skipped, f"{test['result']}, exit code {test['returncode']}"
    return passed, failed, skipped, "" if failed == 0 else f"{failed} failed"


def main():
    path, status = sys.argv[1], int(sys.argv[2])
    tests = [json.loads(line) for line in open(path)] if os.path.exists(path) else []
    total = [0, 0, 0]
    for test in tests:
        *numbers, reason = counts(test)
        total = [a + b for a, b in zip(total, numbers)]
        for line in skips(test):
            print(f"{test['name']}: {line}")
        if reason:
            print(f"{test['name']}: {reason}")
    if not tests:
        print("No test ran.")
        total[1] += 1
    elif status != 0 and total[1] == 0:
        print(f"meson test ended with {status}.")
        total[1] += 1
    print(f"{total[0]} passed, {total[1]} failed" + (f", {total[2]} skipped" if total[2] else ""))
    return 1 if total[1] else 0


sys.exit(main())
