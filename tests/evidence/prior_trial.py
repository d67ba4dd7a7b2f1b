#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How far `train --prior auto` is from the truth, on simulated movies of full size with as few events as real ones.

    prior_trial.py --program build/apps/voxgrad --out trial            # about ten minutes of processor time
    prior_trial.py --program build/apps/voxgrad --out trial --small    # to see that it runs

A part of the events loses its mark, at random or the faint ones first; a small U-Net is trained with abs_pu, which estimates its prior on random
crops of the validation movies; the last prior is compared with the share of positive voxels that these movies really hold. One line per run in
OUT/prior.csv; what is there is not done again. Python's standard library only.
"""
import argparse
import csv
import json
import os
import subprocess
import sys

import truth

LABELS = {"complete": [], "random-50": ["--annotation", "censored", "--censor", 0.5], "random-25": ["--annotation", "censored", "--censor", 0.75],
          "bright": ["--annotation", "intensity", "--rule-threshold", 9]}
DEFAULT = {"movies": (2, 2), "size": (300, 512, 512), "rate": 1.1, "steps": 800, "patch": 32, "batch": 8, "warmup": 400, "interval": 100}
SMALL = dict(DEFAULT, movies=(1, 1), size=(72, 128, 128), rate=16, steps=6, patch=16, warmup=2, interval=2)


def voxgrad(program, *words):
    done = subprocess.run([program, *map(str, words), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    last = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])
    if done.returncode != 0:
        raise RuntimeError("%s: %s" % (words[0], last.get("message", done.stderr)))
    return last


def run(a, s, seed, labels, crops):
    folder = os.path.join(a.out, "%s_%d" % (labels, seed))
    train, valid = s["movies"]
    size = ",".join(map(str, s["size"]))
    how = ["--seed", seed, "--size", size, "--event-rate", s["rate"], "--threads", a.threads, "--overwrite"]
    if not os.path.exists(os.path.join(folder, "truth")):  # the same movies as test movies, which come with truth tables
        voxgrad(a.program, "simulate", "--out", os.path.join(folder, "truth.part"), "--train", 0, "--valid", 0, "--test", train + valid, *how)
        os.rename(os.path.join(folder, "truth.part"), os.path.join(folder, "truth"))
    voxels = s["size"][0] * s["size"][1] * s["size"][2]
    share = truth.movie_share(os.path.join(folder, "truth", "testset", "truth"), range(train + 1, train + valid + 1), voxels)
    data = os.path.join(folder, "data", "dataset.h5")
    if not os.path.exists(data):
        voxgrad(a.program, "simulate", "--out", os.path.join(folder, "data.part"), "--train", train, "--valid", valid, "--test", 0, *how, *LABELS[labels])
        voxgrad(a.program, "sample", os.path.join(folder, "data.part", "dataset.h5"), "--out", os.path.join(folder, "data.part"), "--seed", seed,
                "--sets", "complete", "--ratios", "4")
        os.rename(os.path.join(folder, "data.part"), os.path.join(folder, "data"))
    model = os.path.join(folder, "model_%d" % crops)
    settings = {"samples_pu.unlabeled": 4, "pu.prior_warmup": s["warmup"], "pu.prior_interval": s["interval"], "pu.prior_crops": crops,
                "crop_size": 2 * s["patch"], "schedule.name": "cosine"}
    voxgrad(a.program, "train", data, "--out", model, "--overwrite", "--seed", seed, "--steps", s["steps"], "--batch-size", s["batch"],
            "--patch-size", s["patch"], "--learning-rate", 0.003, "--valid-interval", s["steps"], "--loss", "abs_pu", "--prior", "auto",
            "--prior-prime", 0.4, "--samples", os.path.join(folder, "data", "training-samples_complete.json"), "--threads", a.threads,
            "--set", "model_config.n_layer=2", *[word for key, value in settings.items() for word in ("--set", "training_config.%s=%s" % (key, value))])
    row = {"labels": labels, "seed": seed, "crops": crops, "truth": share, "estimates": 0, "labelled": "", "prior": "", "ratio": "", "low": "", "high": ""}
    path = os.path.join(model, "prior.csv")
    if os.path.exists(path):  # no draw of crops may have held two labelled events
        with open(path) as file:
            last = list(csv.DictReader(file))
        row.update(estimates=len(last), labelled=last[-1]["labelled"], prior=last[-1]["prior"], low=last[-1]["low"], high=last[-1]["high"],
                   ratio=float(last[-1]["prior"]) / share)
    return row


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--program", default="voxgrad")
    p.add_argument("--out", required=True, help="folder of the trial; finished runs in it are kept")
    p.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    p.add_argument("--labels", nargs="+", choices=list(LABELS), default=list(LABELS))
    p.add_argument("--crops", type=int, nargs="+", default=[128, 1024], help="held-out crops per estimate")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--small", action="store_true", help="tiny movies and few steps")
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    path, rows = os.path.join(a.out, "prior.csv"), []
    if os.path.exists(path):
        with open(path) as file:
            rows = list(csv.DictReader(file))
    for seed in a.seeds:
        for labels in a.labels:
            for crops in a.crops:
                if any((r["labels"], int(r["seed"]), int(r["crops"])) == (labels, seed, crops) for r in rows):
                    continue
                rows.append(run(a, SMALL if a.small else DEFAULT, seed, labels, crops))
                with open(path + ".part", "w", newline="") as file:
                    table = csv.DictWriter(file, list(rows[0]))
                    table.writeheader()
                    table.writerows(rows)
                os.replace(path + ".part", path)
                print(rows[-1], flush=True)


if __name__ == "__main__":
    sys.exit(main())
