#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Time of the Python package stardist (its C++ with OpenMP) over ours, for targets and scores of one label volume.

  meson compile -C build stardist_targets
  python3 tests/bench/stardist_ratio.py --python ENV/bin/python --ours build/tests/bench/stardist_targets [--threads 1 2]

ENV: a virtual environment with `pip install stardist`. The volume is synthetic: 48x192x192 voxels, 190 ellipsoids, or
--labels FILE.npy. Both programs take turns, --pairs times, each reporting its fastest of --runs; the table holds medians.
One thread compares processor time, which other programs disturb least, more threads the clock. Results must agree."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

TASKS = {"distances 1,2,2": 5.0, "distances 1,1,1": 5.0, "probability": None, "matching": None}  # the goal, if any

THEIRS = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from stardist import Rays_GoldenSpiral, edt_prob, star_dist3D
from stardist.matching import matching
labels, runs = np.load(sys.argv[1]), int(sys.argv[2])
size = (1.7, 1.08, 1.0)
rays = Rays_GoldenSpiral(96, anisotropy=size)
moved = np.roll(labels.ravel(), 2).reshape(labels.shape)
tasks = {"distances 1,2,2": lambda: star_dist3D(labels, rays, grid=(1, 2, 2)), "distances 1,1,1": lambda: star_dist3D(labels, rays),
         "probability": lambda: edt_prob(labels, anisotropy=size),
         "matching": lambda: np.array([m.accuracy for m in matching(labels, moved, thresh=(0.3, 0.5, 0.7))])}
tasks["matching"]()  # compiled on its first call
for name, task in tasks.items():
    for _ in range(runs):
        cpu, wall = time.process_time(), time.perf_counter()
        result = task()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps({"task": name, "wall": wall, "cpu": cpu, "sum": float(result.sum(dtype=np.float64))}))
"""

SYNTHETIC = """
import sys
import numpy as np
shape, random = (48, 192, 192), np.random.RandomState(0)
labels = np.zeros(shape, np.uint16)
for k in range(190):
    c, r = random.uniform(0, shape), random.uniform((3.5, 5, 5), (6, 9, 9))
    low = np.maximum(np.floor(c - r), 0).astype(int)
    high = np.minimum(np.ceil(c + r) + 1, shape).astype(int)
    z, y, x = np.ogrid[low[0]:high[0], low[1]:high[1], low[2]:high[2]]
    inside = ((z - c[0]) / r[0]) ** 2 + ((y - c[1]) / r[1]) ** 2 + ((x - c[2]) / r[2]) ** 2 <= 1
    box = labels[low[0]:high[0], low[1]:high[1], low[2]:high[2]]
    box[inside & (box == 0)] = k + 1
np.save(sys.argv[1], labels)
"""


def fastest(command, threads):
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), NUMBA_NUM_THREADS=str(threads), TF_CPP_MIN_LOG_LEVEL="3")
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit("%s\nended with %d: %s" % (command[0], done.returncode, done.stderr[-500:]))
    best, key = {}, "cpu" if threads == 1 else "wall"
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            run = json.loads(line)
            if run["task"] not in best or run[key] < best[run["task"]][0]:
                best[run["task"]] = (run[key], run["sum"])
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="interpreter that has stardist")
    parser.add_argument("--ours", default="build/tests/bench/stardist_targets")
    parser.add_argument("--labels", help=".npy of uint16 [Z,Y,X]; default: synthetic")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        labels = options.labels or os.path.join(folder, "labels.npy")
        if not options.labels:
            subprocess.run([options.python, "-c", SYNTHETIC, labels], check=True)
        print("%-16s %7s %12s %12s %7s  %s" % ("task", "threads", "stardist ms", "voxgrad ms", "ratio", "goal"))
        for threads in options.threads:
            pairs = []
            for _ in range(options.pairs):
                pairs.append((fastest([options.python, "-c", THEIRS, labels, str(options.runs)], threads),
                              fastest([options.ours, labels, str(threads), str(options.runs)], threads)))
            for task, goal in TASKS.items():
                for theirs, ours in pairs:
                    if abs(theirs[task][1] - ours[task][1]) > 1e-6 * abs(theirs[task][1]):
                        sys.exit("%s: the results differ, their sum is %.9g, ours %.9g" % (task, theirs[task][1], ours[task][1]))
                ratio = statistics.median(theirs[task][0] / ours[task][0] for theirs, ours in pairs)
                verdict = "" if goal is None else "%g: %s" % (goal, "reached" if ratio >= goal else "missed")
                missed = missed or verdict.endswith("missed")
                print("%-16s %7d %12.1f %12.1f %7.1f  %s" % (task, threads, 1e3 * statistics.median(p[0][task][0] for p in pairs),
                                                             1e3 * statistics.median(p[1][task][0] for p in pairs), ratio, verdict), flush=True)
    return 1 if missed else 0


sys.exit(main())
