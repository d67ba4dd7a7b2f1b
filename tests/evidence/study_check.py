# SPDX-License-Identifier: BSD-3-Clause
"""The study of pu_study.py at its smallest, once from nothing and once resumed, with its thresholds: study_check.py VOXGRAD"""
import csv
import os
import subprocess
import sys
import tempfile

import truth

HERE = os.path.dirname(os.path.abspath(__file__))


def study(out, *more):
    command = [sys.executable, os.path.join(HERE, "pu_study.py"), "--program", sys.argv[1], "--out", out, "--small", "--seeds", "1", "--kept", "75",
               "--kinds", "random", "--schemes", "all-1:0", "abs_pu", *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise AssertionError("the study ended with %d: %s" % (done.returncode, done.stderr))
    return done.stdout


def close(found, wanted, tolerance):
    if abs(found - wanted) > tolerance * abs(wanted):
        raise AssertionError("found %r, expected %r" % (found, wanted))


def rows_of(out):
    with open(os.path.join(out, "results.csv")) as file:
        return {row["scheme"]: row for row in csv.DictReader(file)}


def runs_and_resumes(out):
    study(out)
    rows = rows_of(out)
    assert sorted(rows) == ["abs_pu", "all-1:0"], rows
    complete, censored = rows["all-1:0"], rows["abs_pu"]
    close(float(complete["kept"]), 1, 1e-12)
    assert 0.5 <= float(censored["kept"]) < 1, censored["kept"]
    # With complete labels the labelled share that `voxgrad prior` counts is the truth that the tables of the simulator give.
    close(float(complete["prior_labelled"]), float(complete["prior_true"]), 1e-6)
    assert float(censored["prior_labelled"]) <= float(censored["prior_true"]), censored
    for row in rows.values():
        assert all(0 <= float(row[key]) <= 1 for key in ("f1", "dice", "known_f1", "known_dice")), row
    assert study(out).count("seed 1:") == 0, "finished runs were done again"


def tree(folder):
    """{path: modification time and content} of every file."""
    return {path: (os.stat(path).st_mtime_ns, open(path, "rb").read())
            for at, _, files in os.walk(folder) for path in (os.path.join(at, name) for name in files)}


def thresholds_without_negatives(out):
    """After runs_and_resumes: of the kept networks, without training again or touching them."""
    kept = tree(os.path.join(out, "models"))
    assert study(out, "--thresholds").count("seed 1:") == 2, "not one line per finished run"
    assert tree(os.path.join(out, "models")) == kept, "a kept model was written to"
    assert sorted(os.listdir(os.path.join(out, "thresholds"))) == ["complete_all-1-0_1.json", "random-75_abs_pu_1.json"]
    for row in rows_of(out).values():
        for name in ("pu_f1", "quantile", "lee_liu"):
            assert row[name + "_f1"] == "" or 0 <= float(row[name + "_f1"]) <= 1, row
        assert 0 <= float(row["pu_f1_threshold"]) <= 1, row
        # The prior is the true one of the validation movies for the first three, an estimate for the others.
        assert row["pu_f1_auto_threshold"] == "" or float(row["prior_auto"]) > 0, row
    with open(os.path.join(out, "thresholds.md")) as file:
        assert len(file.read().splitlines()) == 6 + 1 + 4, "F1 and Dice of two kinds of schemes, and a table with two rows"
    assert study(out, "--thresholds").count("seed 1:") == 0, "known thresholds were chosen again"


def random_patches(out):
    """The share in random patches, from weights, against the patches one by one."""
    labels = os.path.join(out, "data", "1", "truth", "testset", "truth")
    crop, patch = 12, 8
    voxels = set(truth.positive_voxels(os.path.join(labels, "1-1_labels.tif")))
    assert voxels, "the first movie has no event"
    t, y, x = sorted(voxels)[len(voxels) // 2]
    corner = [max(0, t - 5), max(0, y - 6), max(0, x - 4)]
    total = count = 0
    for dt in range(crop - patch + 1):
        for dy in range(crop - patch + 1):
            for dx in range(crop - patch + 1):
                start = [corner[0] + dt, corner[1] + dy, corner[2] + dx]
                total += sum(all(s <= v < s + patch for s, v in zip(start, voxel)) for voxel in voxels)
                count += patch ** 3
    close(truth.crop_share(labels, [{"neuron": "1", "coord": corner}], crop, patch), total / count, 1e-9)


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as work:
        out = os.path.join(work, "study")
        for test in (runs_and_resumes, thresholds_without_negatives, random_patches):
            try:
                test(out)
                passed += 1
            except AssertionError as error:
                failed += 1
                print("%s: %s" % (test.__name__, error))
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
