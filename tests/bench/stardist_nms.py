# SPDX-License-Identifier: BSD-3-Clause
"""Suppression and drawing against the Python package's compiled extension, run by run in turns.

    python tests/bench/stardist_nms.py --bench build/tests/bench/bench_stardist_nms --large bench_large.h5 --work FOLDER

One thread compares processor time, which other programs disturb least; more (--threads 2) the clock. Needs stardist and
h5py (pip install stardist h5py). bench_large.h5: 190 ellipsoids with smooth and rough candidates; without --large only
synthetic candidates are compared. Prints a table in Markdown."""
import argparse
import os
import re
import statistics
import subprocess
import sys
import time

import numpy as np

ANISOTROPY = (1.7, 1.08, 1.0)


def load(prefix):
    scores = np.fromfile(prefix + "_scores.f32", np.float32)
    return scores, np.fromfile(prefix + "_points.f32", np.float32).reshape(-1, 3), \
        np.fromfile(prefix + "_dist.f32", np.float32).reshape(len(scores), -1)


def peer(prefix, threshold):
    """Child process: times the package on one case."""
    import stardist
    from stardist.geometry import polyhedron_to_label
    from stardist.nms import non_maximum_suppression_3d_sparse
    scores, points, dist = load(prefix)
    rays = stardist.Rays_GoldenSpiral(dist.shape[1], anisotropy=ANISOTROPY)
    clock = time.process_time if os.environ["OMP_NUM_THREADS"] == "1" else time.perf_counter
    start = clock()
    kept = non_maximum_suppression_3d_sparse(dist, scores, points, rays, nms_thresh=threshold, verbose=False)[3]
    middle = clock()
    shape = tuple(int(v) + 13 for v in points[kept].max(0))
    polyhedron_to_label(dist[kept], points[kept], rays, shape, verbose=False)
    print(stardist.__version__, middle - start, clock() - middle)
    np.asarray(kept, np.int64).tofile(prefix + "_peer.i64")


def large_cases(path, work):
    """The candidates that the file describes: distances of its labels with a ripple of 5 %."""
    import h5py
    from stardist import Rays_GoldenSpiral
    from stardist.geometry import star_dist3D
    with h5py.File(path) as f:
        full = star_dist3D(f["label"][:], Rays_GoldenSpiral(96, anisotropy=ANISOTROPY), grid=(1, 2, 2))
        for name in ("smooth", "rough"):
            points = f["points_" + name][:]
            d = full[points[:, 0], points[:, 1] // 2, points[:, 2] // 2].astype(float)
            phase = 0.7 * np.arange(len(points))[:, None] + (1.3 * np.arange(96)[None] if name == "rough" else 0)
            prefix = os.path.join(work, name)
            np.maximum(1e-3, d * (1 + 0.05 * np.sin(phase))).astype(np.float32).tofile(prefix + "_dist.f32")
            points.astype(np.float32).tofile(prefix + "_points.f32")
            f["prob_" + name][:].astype(np.float32).tofile(prefix + "_scores.f32")
            yield prefix


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", default="build/tests/bench/bench_stardist_nms")
    parser.add_argument("--large")
    parser.add_argument("--work", default=".")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threshold", default="0.3")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--synthetic", type=int, nargs="*", default=[5000])
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(options.peer, float(options.threshold))
    prefixes = list(large_cases(options.large, options.work)) if options.large else []
    for n in options.synthetic:
        prefixes.append(os.path.join(options.work, f"synthetic{n}"))
        subprocess.run([options.bench, "--repeat", "1", "--save", prefixes[-1], str(n)], check=True, stdout=subprocess.DEVNULL)
    environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads), CUDA_VISIBLE_DEVICES="")
    print("| case | candidates | survivors | package, s | ours, s | ratio (lowest, highest) | drawing: package, s | ours, s | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for prefix in prefixes:
        theirs, ours = [], []
        for _ in range(options.runs):
            out = subprocess.run([sys.executable, __file__, "--peer", prefix, "--threshold", options.threshold], check=True,
                                 capture_output=True, text=True, env=environment).stdout.split()
            theirs.append([float(v) for v in out[-2:]])
            out = subprocess.run([options.bench, "--threads", str(options.threads), "--repeat", "1", "--threshold",
                                  options.threshold, prefix], check=True, capture_output=True, text=True).stdout
            ours.append([float(v) for v in re.findall(rf"([\d.]+) s {'CPU' if options.threads == 1 else 'wall'}", out)])
        kept, wanted = (np.fromfile(prefix + end, np.int64) for end in ("_kept.i64", "_peer.i64"))
        ratios = [t[0] / o[0] for t, o in zip(theirs, ours)]
        middle = [[statistics.median(r[k] for r in rows) for k in (0, 1)] for rows in (theirs, ours)]
        same = "" if np.array_equal(kept, wanted) else f" (package: {len(wanted)}, {len(set(kept) ^ set(wanted))} differ)"
        print(f"| {os.path.basename(prefix)} | {len(load(prefix)[0])} | {len(kept)}{same} | {middle[0][0]:.2f} | {middle[1][0]:.3f} | "
              f"{statistics.median(ratios):.0f} ({min(ratios):.0f}, {max(ratios):.0f}) | {middle[0][1]:.2f} | {middle[1][1]:.3f} | "
              f"{middle[0][1] / middle[1][1]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
