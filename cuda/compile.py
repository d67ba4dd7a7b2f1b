#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""compile.py LOG FOLDER NVCC ARGUMENTS...: runs nvcc and keeps what the gates read (tests/cuda/gates.py).

LOG gets what ptxas says of every kernel (-Xptxas=-v), of which only the rest is printed; FOLDER the intermediate code."""
import os
import subprocess
import sys

log, folder, *command = sys.argv[1:]
os.makedirs(folder, exist_ok=True)
for name in os.listdir(folder):
    os.remove(os.path.join(folder, name))
run = subprocess.run([*command, "-Xptxas=-v", "--keep", "--keep-dir", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
with open(log, "w") as f:
    f.write(run.stdout)
for line in run.stdout.splitlines():
    if "bytes stack frame" not in line and not line.startswith("ptxas info"):
        print(line)
for name in os.listdir(folder):
    if not name.endswith(".ptx"):
        os.remove(os.path.join(folder, name))
sys.exit(run.returncode)
