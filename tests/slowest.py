# SPDX-License-Identifier: BSD-3-Clause
"""Names the five files that took longest to compile, from ninja's log of the build folder."""
import os
import sys

log = os.path.join(sys.argv[1], ".ninja_log")
seconds = {}
if os.path.exists(log):
    for line in open(log):
        fields = line.rstrip("\n").split("\t")
        if len(fields) >= 4 and fields[3].endswith(".o"):
            seconds[fields[3]] = (int(fields[1]) - int(fields[0])) / 1000
slowest = sorted(seconds.items(), key=lambda item: -item[1])[:5]
print("Slowest to compile:", ", ".join(f"{os.path.basename(name)} {time:.0f} s" for name, time in slowest) or "nothing")
