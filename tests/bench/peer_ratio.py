#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ratio of PyTorch's time and memory to ours for whole steps of both networks, measured in turn on the same machine.

For every row each configuration of the peer (each --python, contiguous and channels-last, for inference the frozen
graph, for bf16 also oneDNN without AMX) runs first; the fastest then alternates with `voxgrad bench`, --pairs times.
Ratios are medians over the pairs of peer / ours: above 1 we are faster. One thread counts processor time, two the
clock: leave the machine alone. Results are kept in --json and merged, so that parts can be run again; the fastest
configurations are kept as well and not searched again (--search does). Without --peers: the table from --json.

  python3 tests/bench/peer_ratio.py --peers DIR --python python3 --python "chroot DEBIAN13 python3" --json ratios.json
  python3 tests/bench/peer_ratio.py --list --json ratios.json
  python3 tests/bench/peer_ratio.py --peers DIR --json ratios.json --only "stardist.*1 thread" --budget 300

DIR holds peer_unet_torch.py and peer_stardist_torch.py, the twins in PyTorch, as each --python sees the path.
"""
import argparse
import os
import re
import statistics
import sys
import time

from programs import Failed, load_json, our_step, peer_step, save_json, step_ms, verdict

MEMORY = (0.7, 0.5, 0.4)  # ours / theirs
PEAK = (0.8, 1.1, 1.4)    # share of the FP32 peak, U-Net training at batch 16
GOALS = {("unet3d", "train", "fp32"): (2.0, 2.8, 3.3), ("unet3d", "infer", "fp32"): (1.8, 2.7, 3.3),
         ("unet3d", "train", "bf16"): (1.3, 1.7, 2.2), ("unet3d", "infer", "bf16"): (1.0, 1.5, 2.0),
         ("stardist3d", "train", "fp32"): (1.3, 2.1, 2.7), ("stardist3d", "infer", "fp32"): (1.05, 1.7, 2.4)}
CASES = [  # by importance: network, mode, batch, crop, the peer's precision
    ("unet3d", "train", 8, "32", "fp32"), ("unet3d", "infer", 1, "64", "fp32"), ("stardist3d", "train", 1, "32,64,64", "fp32"),
    ("stardist3d", "infer", 1, "32,64,64", "fp32"), ("unet3d", "train", 16, "32", "fp32"), ("unet3d", "train", 4, "32", "fp32"),
    ("unet3d", "infer", 4, "64", "fp32"), ("unet3d", "train", 4, "32", "bf16"), ("unet3d", "infer", 1, "64", "bf16"),
    ("unet3d", "infer", 4, "64", "bf16"), ("stardist3d", "train", 1, "32,64,64", "bf16"), ("stardist3d", "infer", 1, "32,64,64", "bf16")]


class Row:
    def __init__(self, case, threads):
        self.case = case
        self.net, self.mode, self.batch, self.crop, self.dtype = case
        self.threads = threads
        self.name = "%s %s %s b%d %s %d thread%s" % (self.net, self.mode, self.crop if "," in self.crop else self.crop + "^3", self.batch,
                                                     self.dtype, threads, "s" if threads > 1 else "")
        self.goals = GOALS.get((self.net, self.mode, self.dtype))
        self.options = ["--mode", self.mode, "--batch", str(self.batch), "--crop", self.crop]

    def configurations(self, pythons):
        limits = ["", "AVX512_CORE_BF16"] if self.dtype == "bf16" else [""]
        forms = [("contiguous", False), ("channels_last", False)] + ([("contiguous", True)] if self.mode == "infer" else [])
        return [{"python": python, "format": form, "jit": jit, "dtype": self.dtype, "isa": isa}
                for python in pythons for form, jit in forms for isa in limits]

    def script(self, folder):
        return "%s/peer_%s_torch.py" % (folder.rstrip("/"), "unet" if self.net == "unet3d" else "stardist")


def same(one, other):
    return all(one[key] == other[key] for key in ("python", "format", "jit", "dtype", "isa"))


def fastest(row, a, kept):
    """The peer's best configuration, and what the others took or why they did not run.

    All run once, those within a third of the fastest a second time. Where the row is known for another number of
    threads, only what was within a third of the fastest there runs.
    """
    candidates = row.configurations(a.python)
    for threads in (1, 2):
        known = kept["best"].get(Row(row.case, threads).name) if threads != row.threads else None
        if known:
            close = [c for c in known["tried"] if c.get("ms", float("inf")) < 4 / 3 * known["config"]["ms"]]
            candidates = [c for c in candidates if any(same(c, other) for other in close)] or candidates
    tried = []

    def run(config):
        result = peer_step(config, row.script(a.peers), row.threads, *row.options, "--runs", "3", "--warmup", "1")
        return result["cpu_ms_min" if row.threads == 1 else "ms_min"]

    for config in candidates:
        try:
            tried.append(dict(config, ms=run(config) if len(candidates) > 1 else 0.0))
        except Failed as problem:
            tried.append(dict(config, failed=str(problem)[-200:]))
            print("  did not run: %s" % problem, file=sys.stderr)
    ran = [config for config in tried if "ms" in config]
    if not ran:
        raise Failed("no configuration of the peer ran for " + row.name)
    close = [config for config in ran if config["ms"] <= 4 / 3 * min(c["ms"] for c in ran)]
    for config in close if len(close) > 1 else []:
        config["ms"] = min(config["ms"], run(config))
    return min(ran, key=lambda config: config["ms"]), tried


def measure(row, config, a):
    theirs, mine = [], []
    for _ in range(a.pairs):
        theirs.append(peer_step(config, row.script(a.peers), row.threads, *row.options, "--runs", str(a.runs)))
        mine.append(our_step(a.program, row.threads, "--net", row.net, *row.options, "--runs", str(a.runs)))
    t, m = ([step_ms(r, row.threads) for r in results] for results in (theirs, mine))
    ratios = sorted(x / y for x, y in zip(t, m))
    return {"torch": theirs[0]["torch"], "format": config["format"], "jit": config["jit"], "isa": config["isa"],
            "peer_ms": statistics.median(t), "our_ms": statistics.median(m), "ratio": statistics.median(ratios),
            "low": ratios[0], "high": ratios[-1], "pairs": a.pairs, "runs": a.runs,
            "peer_mib": max(r["peak_rss_mib"] for r in theirs), "our_mib": max(r["peak_rss_mib"] for r in mine),
            "our_gflops": statistics.median(r["gflops"] for r in mine), "peak_fraction": statistics.median(r["peak_fraction"] for r in mine),
            "busy": statistics.median(r["cpu_ms_median"] / r["ms_median"] for r in mine), "when": time.strftime("%Y-%m-%d %H:%M")}


HEADER = ("| case | best PyTorch | its ms | our ms | ratio (lowest, highest pair) | goal | reached | its MiB | our MiB | memory | GFLOP/s | of FP32 peak |\n"
          "|---|---|---|---|---|---|---|---|---|---|---|---|")


def disturbed(row, r):
    """True when our threads did not get the processors to themselves."""
    return r["busy"] < (0.9 if row.threads == 1 else 0.75 * row.threads)


def line(row, r):
    peak = "%.2f" % r["peak_fraction"]
    if row.net == "unet3d" and row.mode == "train" and row.batch == 16:
        peak += " (%s)" % verdict(r["peak_fraction"], PEAK)
    memory = r["our_mib"] / r["peer_mib"]
    return "| %s%s | %s %s%s%s | %.1f | %.1f | %.2f (%.2f, %.2f) | %s | %s | %.0f | %.0f | %.2f (%s) | %.0f | %s |" % (
        row.name, " *" if disturbed(row, r) else "", r["torch"].split("+")[0], r["format"].replace("_", "-"), " frozen" if r["jit"] else "", " without AMX" if r["isa"] else "",
        r["peer_ms"], r["our_ms"], r["ratio"], r["low"], r["high"], "%.2f" % row.goals[1] if row.goals else "-",
        verdict(r["ratio"], row.goals) or "-", r["peer_mib"], r["our_mib"], memory, verdict(memory, MEMORY, higher=False), r["our_gflops"], peak)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--peers", help="folder of the PyTorch twins, as each --python sees it; without it nothing is measured")
    p.add_argument("--python", action="append", help="command that runs Python with torch (repeatable; default python3)")
    p.add_argument("--program", default="build/apps/voxgrad")
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--runs", type=int, default=5, help="timed steps per run")
    p.add_argument("--threads", type=int, action="append", help="thread counts (repeatable; default 1 and 2)")
    p.add_argument("--only", default="", help="only rows whose name this regular expression finds")
    p.add_argument("--budget", type=float, default=0, help="seconds: leave out rows that would end later")
    p.add_argument("--search", action="store_true", help="search the peer's fastest configuration again")
    p.add_argument("--json", default="", help="results and configurations, merged and kept")
    p.add_argument("--list", action="store_true", help="only list the rows, with the seconds that each took or may take")
    a = p.parse_args()
    a.python = a.python or ["python3"]
    kept = load_json(a.json, {"best": {}, "rows": {}, "seconds": {}})
    rows = [Row(case, threads) for case in CASES for threads in (a.threads or [1, 2])]
    rows = [row for row in rows if re.search(a.only, row.name)]

    def estimate(row):  # of the pairs; a search for the configuration comes on top
        return kept["seconds"].get(row.name, 9.0) * a.pairs

    if a.list:
        for row in rows:
            print("%6.0f s  %-46s %s" % (estimate(row), row.name, "" if row.name in kept["best"] else "+ search, about a minute"))
        print("%6.0f s  together, %d pairs each" % (sum(map(estimate, rows)), a.pairs))
        return 0
    start = time.time()
    print(HEADER, flush=True)
    for row in rows:
        if a.peers:
            if a.budget and time.time() - start + estimate(row) > a.budget:
                print("left out, no time: " + row.name, file=sys.stderr)
                continue
            try:
                if a.search or row.name not in kept["best"]:
                    best, tried = fastest(row, a, kept)
                    kept["best"][row.name] = {"config": best, "tried": tried}
                began = time.time()
                kept["rows"][row.name] = measure(row, kept["best"][row.name]["config"], a)
                kept["seconds"][row.name] = (time.time() - began) / a.pairs
                save_json(a.json, kept)
            except Failed as problem:
                print("left out: %s" % problem, file=sys.stderr)
                continue
        if row.name in kept["rows"]:
            print(line(row, kept["rows"][row.name]), flush=True)
    if any(row.name in kept["rows"] and disturbed(row, kept["rows"][row.name]) for row in rows):
        print("\n\\* other programs ran at the same time: repeat this row on an idle machine", flush=True)
    print("\nload average %.1f %.1f %.1f" % os.getloadavg(), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
