# SPDX-License-Identifier: BSD-3-Clause
"""What the checks of an installed tree share: commands that must succeed, texts that must be there, and the last line."""
import os
import shutil
import subprocess
import tempfile


class Problem(Exception):
    pass


def run(command, cwd=None, code=0, **environment):
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != code:
        raise Problem(f"{' '.join(command)} ended with {done.returncode}, expected {code}:\n{done.stdout[-3000:]}")
    return done.stdout


def expect(text, part):
    if part not in text:
        raise Problem(f"expected {part!r} in:\n{text[-3000:]}")


def compiler():
    return os.environ.get("CXX", "c++").split()


def run_checks(install, checks):
    """install(folder) gives the prefix that each check(folder, prefix) works with; returns the exit code."""
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as work:
        prefix = install(work)
        for check in checks:
            if "cmake" in check.__name__ and not shutil.which("cmake"):
                print(f"skipped: {check.__name__} (cmake is not here)")
                skipped += 1
                continue
            try:
                check(work, prefix)
                passed += 1
            except Problem as problem:
                print(f"{check.__name__}: {problem}")
                failed += 1
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0
