#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How well learning from incomplete annotations works, measured on simulated movies whose truth is known.

    pu_study.py --program build/apps/voxgrad --out study            # everything (docs/pu.md says how long)
    pu_study.py --program build/apps/voxgrad --out study --small    # a few minutes, to see that it runs
    pu_study.py --program ... --out study --task 3/16               # one of 16 parts, for a job array
    pu_study.py --program ... --out study --thresholds              # of finished runs: thresholds that need no negatives
    pu_study.py --out study --report                                # the tables only, from what is there

Events are left out of the training and validation labels, at random or the faint ones first; small U-Nets are trained on what is left, by
each scheme; thresholds are chosen on the validation movies as a user would (with their incomplete labels) and, to tell what part of a
loss the threshold has, on their truth; test movies are scored against the truth. Every run is one file in OUT/runs: what is there is not
done again. Python's standard library only.
"""
import argparse
import itertools
import json
import os
import subprocess
import sys
import threading

import pu_report
import pu_thresholds
import truth

# name: (complete labels?, loss, random crops per event, more options)
SCHEMES = {
    "all-1:0": (True, "mse", 0, []),
    "all-1:4": (True, "mse", 4, []),
    "1:0": (False, "mse", 0, []),
    "1:1": (False, "mse", 1, []),
    "1:4": (False, "mse", 4, []),
    "1:16": (False, "mse", 16, []),
    "1:64": (False, "mse", 64, []),
    "upu": (False, "upu", 4, []),
    "nnpu": (False, "nnpu", 4, []),
    "imbalanced_nnpu": (False, "imbalanced_nnpu", 4, []),
    "abs_pu": (False, "abs_pu", 4, ["--prior-prime", "0.4"]),
}
KEPT = [25, 50, 75]
RULE = {25: "9", 50: "6.6", 75: "4.8"}  # of `simulate --annotation intensity`: keeps about these shares, the bright ones

DEFAULT = {"movies": (8, 2, 3), "size": (96, 128, 128), "steps": 800, "batch": 8, "patch": 16, "crop": 32, "rate": "0.003"}
SMALL = dict(DEFAULT, movies=(2, 1, 1), size=(72, 128, 128), steps=20)


def samples_file(ratio):
    return "training-samples_complete%s.json" % ("" if ratio <= 8 else "_64" if ratio <= 64 else "_256")


class Study:
    def __init__(self, a):
        self.out, self.program, self.threads, self.sizes = a.out, a.program, a.threads, SMALL if a.small else DEFAULT
        self.processor_seconds, self.making = threading.local(), threading.RLock()

    def voxgrad(self, *words):
        """Runs a subcommand and returns the fields of its result."""
        command = [self.program, *map(str, words), "--json"]
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines = [line for line in p.stdout if line.startswith("{")]
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        self.processor_seconds.value = getattr(self.processor_seconds, "value", 0) + usage.ru_utime + usage.ru_stime
        last = json.loads(lines[-1]) if lines else {}
        if p.returncode != 0:
            raise RuntimeError("%s\nended with %d: %s" % (" ".join(command), p.returncode, last.get("message", "no message")))
        return last

    # ---- movies: OUT/data/<seed>/{complete,truth,random-25,...}, each made whole or not at all

    def part(self, seed, name, make):
        path = os.path.join(self.out, "data", str(seed), name)
        with self.making:
            if not os.path.exists(path):
                unfinished = "%s.%s.%d" % (path, os.uname().nodename, os.getpid())
                subprocess.run(["rm", "-rf", unfinished], check=True)
                os.makedirs(unfinished)
                made = make(unfinished)
                with open(os.path.join(unfinished, "made.json"), "w") as file:
                    json.dump(made, file)
                try:
                    os.rename(unfinished, path)
                except OSError:  # another process was faster; its data are the same
                    subprocess.run(["rm", "-rf", unfinished], check=True)
        with open(os.path.join(path, "made.json")) as file:
            return path, json.load(file)

    def simulate(self, folder, seed, counts, *more):
        train, valid, test = counts
        return self.voxgrad("simulate", "--out", folder, "--seed", seed, "--train", train, "--valid", valid, "--test", test,
                            "--size", ",".join(map(str, self.sizes["size"])), "--event-rate", 16, "--amplitude", 1.2, "--dendrites", 12,
                            "--threads", self.threads, "--overwrite", *more)

    def truth_of(self, seed):
        """The same movies as test movies, which come with truth tables and label images."""
        path, _ = self.part(seed, "truth", lambda folder: self.simulate(folder, seed, (0, 0, sum(self.sizes["movies"]))))
        return os.path.join(path, "testset", "truth")

    def labels(self, seed, condition):
        """A data set with its samples lists. condition: complete, random-25 ... bright-75."""
        kind, kept = (condition + "-100").split("-")[:2]
        how = {"complete": [], "random": ["--annotation", "censored", "--censor", 1 - int(kept) / 100],
               "bright": ["--annotation", "intensity", "--rule-threshold", RULE.get(int(kept))]}[kind]
        train, valid, test = self.sizes["movies"]

        def make(folder):
            made = self.simulate(folder, seed, (train, valid, test if kind == "complete" else 0), *how)
            data = os.path.join(folder, "dataset.h5")
            self.voxgrad("sample", data, "--out", folder, "--seed", seed, "--sets", "complete", "--ratios", "0,1,4,16,64")
            with open(os.path.join(folder, samples_file(4))) as file:
                crops = json.load(file)["complete-1:4"]["negative"]["train"]
            voxels = self.sizes["size"][0] * self.sizes["size"][1] * self.sizes["size"][2]
            folder = self.truth_of(seed)
            made["prior_crops"] = truth.crop_share(folder, crops, self.sizes["crop"], self.sizes["patch"])
            made["prior_valid"] = truth.movie_share(folder, range(train + 1, train + valid + 1), voxels)
            return made

        return self.part(seed, condition, make)

    # ---- one run

    def folder(self, name):
        path = os.path.join(self.out, name)
        os.makedirs(path, exist_ok=True)
        return path

    def model(self, condition, scheme, seed):
        return os.path.join(self.out, "models", "%s_%s_%d" % (condition, scheme.replace(":", "-"), seed))

    def scores(self, results, complete, threshold, out):
        return self.voxgrad("evaluate", results, "--truth", os.path.join(complete, "testset", "truth"), "--from", "probability",
                            "--threshold", threshold, "--out", out, "--overwrite")["total"]

    def run(self, seed, condition, scheme):
        all_labels, loss, ratio, more = SCHEMES[scheme]
        complete, _ = self.labels(seed, "complete")
        folder, made = self.labels(seed, condition)
        data, s = os.path.join(folder, "dataset.h5"), self.sizes
        model = self.model(condition, scheme, seed)
        results = os.path.join(model, "test")
        if loss != "mse":
            more = ["--loss", loss, "--prior", made["prior_crops"], *more]
        self.processor_seconds.value = 0  # of the run, not of the data
        threads = ["--threads", self.threads]
        self.voxgrad("train", data, "--out", model, "--overwrite", "--seed", seed, "--steps", s["steps"], "--batch-size", s["batch"],
                     "--patch-size", s["patch"], "--learning-rate", s["rate"], "--valid-interval", s["steps"],
                     "--samples", os.path.join(folder, samples_file(ratio)), "--set", "training_config.samples_pu.unlabeled=%d" % ratio,
                     "--set", "training_config.crop_size=%d" % s["crop"], "--set", "model_config.n_layer=2",
                     "--set", "training_config.schedule.name=cosine", *more, *threads)
        # The last weights of the cosine schedule: nothing is selected by a validation loss, which differs between schemes.
        latest = ["--model", model, "--latest", "--mode", "fast", *threads]
        try:
            prior = self.voxgrad("prior", data, *latest)
        except RuntimeError:  # no estimate: too few labelled voxels score above the others
            prior = {"labelled_share": None, "prior": None}
        given = self.voxgrad("optimize", data, "--objective", "both", "--skip-empty", *latest)
        known = given if all_labels else self.voxgrad("optimize", os.path.join(complete, "dataset.h5"), "--objective", "both", "--skip-empty", *latest)
        self.voxgrad("predict", os.path.join(complete, "testset", "raw-input"), "--out", results, "--overwrite", "--no-labels", "--no-overlay",
                     "--no-preview", "--no-rois", "--no-traces", *latest)
        row = {"condition": condition, "scheme": scheme, "seed": seed, "kept": made["train_annotated"] / made["train_events"],
               "events": made["train_annotated"], "prior_given": made["prior_crops"], "prior_true": made["prior_valid"],
               "prior_labelled": prior["labelled_share"], "prior_estimate": prior["prior"]}
        for name, thresholds in (("", given), ("known_", known)):
            detection = self.scores(results, complete, thresholds["detection"], os.path.join(results, "evaluation"))
            segmentation = self.scores(results, complete, thresholds["segmentation"], os.path.join(results, "evaluation"))
            row.update({name + "threshold_detection": thresholds["detection"], name + "threshold_segmentation": thresholds["segmentation"],
                        name + "f1": detection["det-f1-score"], name + "precision": detection["det-precision"],
                        name + "recall": detection["det-recall"], name + "dice": segmentation["seg-dice"]})
        row["processor_seconds"] = round(self.processor_seconds.value, 1)
        return row


def tasks_of(a):
    conditions = ["%s-%d" % (kind, kept) for kept, kind in itertools.product(a.kept, a.kinds)]
    complete = [s for s in a.schemes if SCHEMES[s][0]]
    censored = [s for s in a.schemes if not SCHEMES[s][0]]
    return ([("complete", scheme, seed) for seed in a.seeds for scheme in complete]
            + [(condition, scheme, seed) for condition in conditions for seed in a.seeds for scheme in censored])


def said_of_run(row):
    return "F1 %.3f (%.3f with known thresholds), Dice %.3f, %.0f s of processor time" % (
        row["f1"], row["known_f1"], row["dice"], row["processor_seconds"])


def said_of_thresholds(row):
    return "F1 " + ", ".join("%s %s" % (name, "-" if row[name + "_f1"] is None else "%.3f" % row[name + "_f1"])
                             for name in pu_thresholds.CRITERIA)


def work(queue, lock, failures, path_of, make, said):
    """Takes tasks from the queue until it is empty; each is one file, and what is there is not done again."""
    while True:
        with lock:
            if not queue:
                return
            condition, scheme, seed = queue.pop(0)
        path = path_of(condition, scheme, seed)
        if os.path.exists(path):
            continue
        try:
            row = make(condition, scheme, seed)
            with open(path + ".part", "w") as file:
                json.dump(row, file, indent=1)
            os.replace(path + ".part", path)
            print("%-10s %-16s seed %d: %s" % (condition, scheme, seed, said(row)), flush=True)
        except (RuntimeError, OSError, KeyError) as error:
            failures.append(error)
            print("%s %s seed %d failed: %s" % (condition, scheme, seed, error), file=sys.stderr, flush=True)


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--program", default="voxgrad", help="the built program")
    p.add_argument("--out", required=True, help="folder of the study; finished runs in it are kept")
    p.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="each has its own movies and first weights (default 1 2 3)")
    p.add_argument("--kept", type=int, nargs="+", choices=KEPT, default=KEPT, help="percent of the events that stay annotated")
    p.add_argument("--kinds", nargs="+", choices=["random", "bright"], default=["random", "bright"], help="which events stay annotated")
    p.add_argument("--schemes", nargs="+", choices=list(SCHEMES), default=list(SCHEMES))
    p.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    p.add_argument("--threads", type=int, default=1, help="threads of each")
    p.add_argument("--task", default="1/1", help="I/N: only every N-th run, from the I-th, for job arrays")
    p.add_argument("--small", action="store_true", help="tiny movies and few steps: shows that the study runs, not what it finds")
    p.add_argument("--thresholds", action="store_true", help="no new runs: of finished ones, thresholds that need no negatives")
    p.add_argument("--report", action="store_true", help="only the tables")
    return p.parse_args()


def steps(a, study):
    """The tasks of this part, the file of each, what makes it, and what is said of it."""
    part, parts = map(int, a.task.split("/"))
    file_in = lambda folder: lambda *task: pu_report.run_file(study.folder(folder), *task)  # noqa: E731
    run_file, tasks = file_in("runs"), tasks_of(a)[part - 1::parts]
    if not a.thresholds:
        return tasks, run_file, lambda condition, scheme, seed: study.run(seed, condition, scheme), said_of_run

    def thresholds(*task):
        with open(run_file(*task)) as file:
            return pu_thresholds.measure(study, json.load(file))

    return [t for t in tasks if os.path.exists(run_file(*t))], file_in("thresholds"), thresholds, said_of_thresholds


def main():
    a = arguments()
    if not a.report:
        (queue, *how), lock, failures = steps(a, Study(a)), threading.Lock(), []
        workers = [threading.Thread(target=work, args=(queue, lock, failures, *how)) for _ in range(a.jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if failures:
            return 1
    pu_report.write_tables(a.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
