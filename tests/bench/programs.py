# SPDX-License-Identifier: BSD-3-Clause
"""How the measuring scripts start the programs that they compare, and what they keep."""
import json
import os
import shlex
import subprocess


class Failed(RuntimeError):
    """A program that did not end well; the text is the command and the end of its messages."""


def output_of(command, threads, **variables):
    """Standard output of `command` on `threads` threads. Debian's OpenBLAS listens to its variable only."""
    env = dict(os.environ, OPENBLAS_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads), **variables)
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failed("%s\nended with %d: %s" % (" ".join(command), done.returncode, done.stderr[-500:]))
    return done.stdout


def last_json(text):
    return json.loads([line for line in text.splitlines() if line.startswith("{")][-1])


def peer_step(config, script, threads, *options):
    """One run of a PyTorch twin. config: python (a command), format, jit, dtype, isa (oneDNN's limit, or "")."""
    command = shlex.split(config["python"]) + [script, "--threads", str(threads), "--format", config["format"], "--dtype", config["dtype"],
                                               "--json", "/dev/stdout"] + list(options) + (["--jit"] if config["jit"] else [])
    return last_json(output_of(command, threads, **({"ONEDNN_MAX_CPU_ISA": config["isa"]} if config["isa"] else {})))


def our_step(program, threads, *options, **variables):
    """One run of `voxgrad bench`."""
    return last_json(output_of([program, "bench", "--threads", str(threads), "--json"] + list(options), threads, **variables))


def step_ms(result, threads):
    """Median per step: processor time for one thread (other programs hardly disturb it), the clock for more."""
    return result["cpu_ms_median" if threads == 1 else "ms_median"]


def load_json(path, otherwise):
    if path and os.path.exists(path):
        with open(path) as file:
            return json.load(file)
    return otherwise


def save_json(path, value):
    if path:
        with open(path + ".part", "w") as file:
            json.dump(value, file, indent=1)
        os.replace(path + ".part", path)


def verdict(value, goals, higher=True):
    """"stretch", "goal", "must" or "missed" for (must, goal, stretch), "" without goals."""
    if goals is None:
        return ""
    for name, limit in zip(("stretch", "goal", "must"), reversed(goals)):
        if (value >= limit) if higher else (value <= limit):
            return name
    return "missed"
