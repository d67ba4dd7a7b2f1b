#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How the time of a step grows with threads, batch, crop, width and instruction set: every cost must grow with its cause.

Each sweep changes one thing and prints time per step and per unit of work (ms per GFLOP of the convolutions, padding
counted). A line is flagged where a unit costs more than --slack times the cheapest of the sweep, or where threads
give less than 70 % of their number. Fixed costs per step (Adam, weights of deep layers) make small steps dearer: they
are named in docs/benchmarks.md.

  python3 tests/bench/scaling.py                          everything, a few minutes
  python3 tests/bench/scaling.py --sweep batch --net stardist3d --threads 1
"""
import argparse
import os
import sys

from programs import Failed, load_json, our_step, save_json, step_ms

BASE = {"unet3d": {"batch": 8, "crop": "32", "width": 8}, "stardist3d": {"batch": 1, "crop": "32,64,64", "width": 32}}
SWEEPS = {
    "unet3d": {"batch": [1, 2, 4, 8, 16, 32, 64, 128], "crop": ["32", "64", "96"], "width": [8, 16, 32, 64]},
    "stardist3d": {"batch": [1, 2, 4, 8], "crop": ["16,32,32", "32,64,64", "48,96,96"], "width": [8, 16, 32, 64]},
}


def cores():
    return len(os.sched_getaffinity(0))


def step(a, threads, isa="", **changed):
    case = dict(BASE[a.net], **changed)
    if "crop" in changed:
        case["batch"] = 1  # so that the largest crop fits
    options = ["--net", a.net, "--mode", a.mode, "--batch", str(case["batch"]), "--crop", str(case["crop"]), "--width", str(case["width"])]
    if "width" in changed and a.net == "unet3d":
        options += ["--depth", "4"]  # 64 channels and five stages have 415 million parameters
    return our_step(a.program, threads, *options, "--runs", str(a.runs), "--warmup", "1", **({"VOXGRAD_ISA": isa} if isa else {}))


def numbers(result, threads):
    ms = step_ms(result, threads)
    rate = result["gflop"] / ms * 1e3
    return {"ms": ms, "unit": ms / result["gflop"], "gflops": rate, "peak": rate / result["peak_gflops"], "mib": result["peak_rss_mib"]}


def show(title, rows, flag):
    print("\n**%s**\n\n| | ms per step | ms per GFLOP | GFLOP/s | of FP32 peak | MiB | |\n|---|---|---|---|---|---|---|" % title)
    for name, n in rows.items():
        if "failed" in n:
            print("| %s | did not run: %s | | | | | |" % (name, n["failed"]))
        else:
            print("| %s | %.1f | %.2f | %.0f | %.2f | %.0f | %s |" % (name, n["ms"], n["unit"], n["gflops"], n["peak"], n["mib"], flag(name, n)))
    sys.stdout.flush()


def sweep(a, name, threads, kept):
    rows = {}
    for value in SWEEPS[a.net][name]:
        try:
            rows[str(value)] = numbers(step(a, threads, **{name: value}), threads)
        except Failed as problem:
            rows[str(value)] = {"failed": str(problem).splitlines()[-1][:120]}
    cheapest = min(n["unit"] for n in rows.values() if "unit" in n)
    title = "%s %s, %s, %d thread%s" % (a.net, a.mode, name, threads, "s" if threads > 1 else "")
    show(title, rows, lambda _, n: "%.2f x the cheapest" % (n["unit"] / cheapest) if n["unit"] > a.slack * cheapest else "")
    kept[title] = rows


def sweep_threads(a, kept):
    counts = sorted({1, 2, 4, 8, 16, 32, 64, cores()})
    rows = {str(t): dict(numbers(step(a, t), 2)) for t in counts if t <= cores()}  # by the clock throughout
    one = rows["1"]["ms"]

    def flag(name, n):
        gain = one / n["ms"]
        return "%.2f x one thread%s" % (gain, "" if gain >= 0.7 * int(name) else ", less than 70 %")

    title = "%s %s, threads" % (a.net, a.mode)
    show(title, rows, flag)
    kept[title] = rows


def sweep_isa(a, kept):
    rows = {}
    for isa in ("avx512", "avx2", "scalar"):
        try:
            rows[isa] = numbers(step(a, 1, isa=isa), 1)
        except Failed as problem:
            rows[isa] = {"failed": str(problem).splitlines()[-1][:120]}
    title = "%s %s, instruction set, 1 thread" % (a.net, a.mode)
    show(title, rows, lambda _, n: "")
    kept[title] = rows


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", default="build/apps/voxgrad")
    p.add_argument("--net", choices=tuple(BASE), default="unet3d")
    p.add_argument("--mode", choices=("train", "infer"), default="train")
    p.add_argument("--sweep", action="append", choices=("threads", "isa", "batch", "crop", "width"), help="repeatable; default: all")
    p.add_argument("--threads", type=int, action="append", help="thread counts of the sweeps over the step (default: 1 and all)")
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--slack", type=float, default=1.25)
    p.add_argument("--json", default="", help="also keep the numbers in this file, merged")
    a = p.parse_args()
    kept = load_json(a.json, {})
    for name in a.sweep or ["threads", "isa", "batch", "crop", "width"]:
        if name == "threads":
            sweep_threads(a, kept)
        elif name == "isa":
            sweep_isa(a, kept)
        else:
            for threads in a.threads or sorted({1, cores()}):
                sweep(a, name, threads, kept)
        save_json(a.json, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
