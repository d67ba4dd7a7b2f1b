# SPDX-License-Identifier: BSD-3-Clause
"""Models that other people trained, on the data that they trained them on: real_models.py PROGRAM SOURCE_DIR

Files of ../shared (or of the folder that VOXGRAD_SHARED names) only: without it, skipped.
"""
import csv
import os
import pathlib
import subprocess
import sys

from run_parts import run_parts

PROGRAM, SOURCE = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])
REAL = pathlib.Path(os.environ.get("VOXGRAD_SHARED", SOURCE / "../shared")).resolve() / "data/real"


def run(folder, *words):
    done = subprocess.run([PROGRAM, *map(str, words), "--progress", "none"], text=True, capture_output=True, timeout=280, cwd=folder)
    if done.returncode != 0:
        raise AssertionError(f"{words}: {done.stderr}")
    return done


def stardist_finds_the_nuclei_of_its_training_crop(folder):
    """A ResNet of 128 rays, trained on volumes (x, y, z): the file's pages are its last axis, which --axes XYZ says."""
    run(folder, "predict", REAL / "volumes/zebrafish_forebrain.tif", "--model", REAL / "weights/stardist3d_nucleargcamp", "--axes", "XYZ", "--out", "found")
    run(folder, "evaluate", "found", "--truth", REAL / "volumes/zebrafish_forebrain_labels.tif", "--instances", "--out", "scores")
    with open(folder / "scores/instances.csv", newline="") as file:
        rows = {round(float(r["threshold"]), 1): r for r in csv.DictReader(file) if r["volume"] == "all" or r["volume"].startswith("zebrafish")}
    half = rows[0.5]
    assert int(half["n_true"]) == 370, half
    # 373 objects and F1 0.888 as docs/stardist_program.md has it; rounding differs between machines by an object or two.
    assert abs(int(half["n_pred"]) - 373) <= 3 and abs(float(half["f1"]) - 0.888) < 0.01, half
    return f"{half['n_pred']} objects, F1 {float(half['f1']):.3f} at IoU 0.5, {float(rows[0.7]['f1']):.3f} at 0.7"


def main():
    parts = [stardist_finds_the_nuclei_of_its_training_crop]
    if not (REAL / "weights/stardist3d_nucleargcamp").exists():
        print(f"skipped: ../shared is absent ({len(parts)} test of real models)")
        sys.exit(77)
    run_parts(parts)


main()
