# SPDX-License-Identifier: BSD-3-Clause
"""The Slurm scripts and the modulefile of docs/cluster, without Slurm: cluster.py SOURCE

A stand-in for `voxgrad` writes down its arguments and the signals it gets; one for `scontrol` does the same.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

FOLDER = os.path.join(sys.argv[1], "docs", "cluster")
PROGRAM = """#!/usr/bin/env bash
echo "${0##*/} $*" >> "$CALLS"
if [ -n "${HANG:-}" ]; then
  trap 'echo TERM >> "$CALLS"; exit 143' TERM
  echo ready >> "$CALLS"
  for _ in $(seq 300); do sleep 0.1; done
fi
exit "${CODE:-0}"
"""


class Place:
    """A folder with the stand-ins in front of PATH."""

    def __init__(self, work):
        self.work, self.calls = work, os.path.join(work, "calls")
        for name in ("voxgrad", "scontrol"):
            path = os.path.join(work, name)
            with open(path, "w") as file:
                file.write(PROGRAM if name == "voxgrad" else PROGRAM.replace("HANG", "NEVER"))
            os.chmod(path, 0o755)

    def start(self, script, *words, **more):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        environment.update(CALLS=self.calls, PATH=self.work + ":" + os.environ["PATH"], VOXGRAD_SLURM=FOLDER, **more)
        return subprocess.Popen(["bash", os.path.join(FOLDER, script), *words], env=environment, cwd=self.work,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, script, *words, **more):
        done = self.start(script, *words, **more)
        errors = done.communicate(timeout=60)[1]
        return done.returncode, errors

    def lines(self):
        return open(self.calls).read().splitlines() if os.path.exists(self.calls) else []


def expect(found, wanted):
    if found != wanted:
        raise AssertionError(f"found {found!r}, expected {wanted!r}")


def train(place):
    expect(place.run("train.slurm", "data.h5", "models/a", "--steps", "7", SLURM_CPUS_PER_TASK="3")[0], 0)
    expect(place.lines(), ["voxgrad train data.h5 --out models/a --resume auto --threads 3 --steps 7"])


def train_status(place):
    expect(place.run("train.slurm", "data.h5", "models/a", CODE="2")[0], 2)


def train_copies_the_data(place):
    disk = os.path.join(place.work, "disk")
    os.mkdir(disk)
    open(os.path.join(place.work, "data.h5"), "w").close()
    expect(place.run("train.slurm", "data.h5", "m", SLURM_TMPDIR=disk, SLURM_CPUS_PER_TASK="1")[0], 0)
    expect(place.lines(), [f"voxgrad train {disk}/data.h5 --out m --resume auto --threads 1"])
    expect(os.path.exists(os.path.join(disk, "data.h5")), True)


def train_out_of_time(place):
    job = place.start("train.slurm", "data.h5", "m", HANG="1", SLURM_JOB_ID="77", SLURM_CPUS_PER_TASK="1")
    for _ in range(200):
        if "ready" in place.lines():
            break
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    job.communicate(timeout=60)
    expect(job.returncode, 143)
    expect(sorted(place.lines()[2:]), ["TERM", "scontrol requeue 77"])


def train_needs_arguments(place):
    code, errors = place.run("train.slurm")
    expect((code != 0, "usage: train.slurm DATA.h5 MODEL_FOLDER" in errors, place.lines()), (True, True, []))


def seeds(place):
    code, errors = place.run("seeds.slurm", os.path.join(FOLDER, "runs.txt"), "data.h5", SLURM_ARRAY_TASK_ID="2",
                             SLURM_CPUS_PER_TASK="8")
    expect((code, errors), (0, ""))
    expect(place.lines(), ["voxgrad train data.h5 --out models/complete_1-0_43 --resume auto --threads 8 --config "
                           "configs/complete_1-0.yaml --seed 43"])


def seeds_beyond_the_list(place):
    code, errors = place.run("seeds.slurm", os.path.join(FOLDER, "runs.txt"), "data.h5", SLURM_ARRAY_TASK_ID="99")
    expect((code, place.lines()), (2, []))
    expect("runs.txt: line 99 is not 'CONFIG SEED'" in errors, True)


def predict(place):
    expect(place.run("predict.slurm", "m", "movies", "out", "--mode", "fast", SLURM_CPUS_PER_TASK="2")[0], 0)
    expect(place.lines(), ["voxgrad predict movies --recursive --model m --out out --threads 2 --mode fast"])


def modulefile(place):
    """Run by Tcl with the module commands written down."""
    script = "foreach name {conflict module-whatis prepend-path} { proc $name args \"puts \\\"$name \\$args\\\"\" }\n"
    script += f"source {{{os.path.join(FOLDER, 'voxgrad.modulefile')}}}\n"
    done = subprocess.run(["tclsh"], input=script, text=True, capture_output=True, env={**os.environ, "HOME": "/h"})
    expect(done.stderr, "")
    expect("prepend-path PATH /h/voxgrad/bin" in done.stdout.splitlines(), True)
    expect("prepend-path MANPATH /h/voxgrad/share/man" in done.stdout.splitlines(), True)


def main():
    passed = failed = skipped = 0
    for check in (train, train_status, train_copies_the_data, train_out_of_time, train_needs_arguments, seeds,
                  seeds_beyond_the_list, predict, modulefile):
        if check is modulefile and not shutil.which("tclsh"):
            print("skipped: modulefile (tclsh is not here)")
            skipped += 1
            continue
        try:
            with tempfile.TemporaryDirectory() as work:
                check(Place(work))
            passed += 1
        except (AssertionError, IndexError, subprocess.TimeoutExpired) as problem:
            print(f"{check.__name__}: {problem!r}")
            failed += 1
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


sys.exit(main())
