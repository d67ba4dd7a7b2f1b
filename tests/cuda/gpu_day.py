# SPDX-License-Identifier: BSD-3-Clause
"""cuda/gpu_day.sh without a card: gpu_day.py SOURCE_FOLDER. Stand-ins for nvidia-smi, the program and its tests play a machine with one;
what is tested is the script: stages, clocks, exit codes, the page."""
import json
import os
import stat
import subprocess
import sys
import tempfile

ROOT = sys.argv[1]
SCRIPT = os.path.join(ROOT, "cuda", "gpu_day.sh")
passed = failed = 0


def check(what, ok):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print("FAILED:", what)


def script(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n" + text)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


def run(folder, *words):
    environment = dict(os.environ, PATH=os.path.join(folder, "bin") + ":" + os.environ["PATH"], VOXGRAD_CUDNN_DIR="/nowhere")
    return subprocess.run(["bash", SCRIPT, "--out", os.path.join(folder, "out"), "--build", os.path.join(folder, "build"),
                           "--page", os.path.join(folder, "page.md"), *words], capture_output=True, text=True, env=environment)


def text_of(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


CARD = 'case "$1" in -L) echo "GPU 0: Stand-in (UUID: GPU-0)" ;; *) echo "Stand-in, 580.1, 1 MiB, 9.0, 1 MHz, 1 W" ;; esac\n'
PROGRAM = """case "$*" in
  *--version*) echo "voxgrad 0.0 (stand-in)" ;;
  *infer*) exit 1 ;;
  *bf16*) echo '{"event":"start"}'; echo '{"event":"result","ms_median":4.5,"samples_per_s":28444.4}' | sed 's/:"/: "/' ;;
  *) echo '{"event": "result", "ms_median": 20.0, "samples_per_s": 6400.0}' ;;
esac
"""

with tempfile.TemporaryDirectory() as folder:  # no card
    script(os.path.join(folder, "bin", "nvidia-smi"), 'echo "No devices were found"; exit 6\n')
    r = run(folder)
    check("without a card the script stops with 2", r.returncode == 2)
    check("it says why", "no usable GPU" in r.stderr and "Nothing was changed" in r.stderr)
    check("it writes no page", not os.path.exists(os.path.join(folder, "page.md")))

with tempfile.TemporaryDirectory() as folder:  # usage
    for words in (["--stage", "nothing"], ["--budget", "soon"], ["--what"], ["--out"]):
        r = run(folder, *words)
        check(f"{words} is a usage error", r.returncode == 2 and "gpu_day.sh:" in r.stderr)
    check("--help lists the options", "--budget" in run(folder, "--help").stdout)

with tempfile.TemporaryDirectory() as folder:  # a day on which inference fails
    script(os.path.join(folder, "bin", "nvidia-smi"), CARD)
    script(os.path.join(folder, "bin", "compute-sanitizer"), "exit 0\n")
    script(os.path.join(folder, "build", "apps", "voxgrad"), PROGRAM)
    for tests in ("test_gpu", "test_cuda"):
        script(os.path.join(folder, "build", "tests", "cuda", tests), "exit 0\n")
    r = run(folder)
    check("a failing part makes the exit status 1", r.returncode == 1)
    page, data = text_of(os.path.join(folder, "page.md")), json.loads(text_of(os.path.join(folder, "out", "gpu.json")))
    outcome = {s["stage"]: s["status"] for s in data["stages"] if s["stage"] != "benchmark"}
    check("the other stages ran", [outcome.get(s) for s in ("probe", "binary", "correctness", "sanitizer", "plans")] == ["ok"] * 5)
    check("times are on the page", "| train-bf16 | 4.500 | 28444 |" in page)
    check("goals are judged", "at most 10 ms | 4.50 ms | met |" in page and data["ours"]["train-fp32"]["ms_median"] == 20.0)
    check("what was not measured is said", "not measured" in page)
    check("nothing half-written", not any(name.endswith(".part") for name in os.listdir(folder)))
    r = run(folder, "--stage", "benchmark", "--budget", "3")
    check("without time left nothing starts", "no time left" in r.stdout)

print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed or not passed else 0)
