#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ratio of PyTorch's time to ours for the reference U-Net, measured in turn on the same machine.

For every row all configurations of the peer (each --python, contiguous and channels-last, and for inference the
frozen graph) run once; the fastest one then alternates with `voxgrad bench`, --pairs times. Printed are medians over
the pairs and the ratio peer / ours (above 1: we are faster). The peer is a script that builds the same network in
PyTorch and appends one JSON line per run to --json FILE.

  python3 tests/bench/unet_ratio.py --peer peer_unet_torch.py --program build/apps/voxgrad
  python3 tests/bench/unet_ratio.py --peer /bench/peer_unet_torch.py --python python3 --python "chroot /opt/trixie python3"
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile

ROWS = [("train", 8, 32, 2), ("train", 8, 32, 1), ("infer", 1, 64, 2), ("infer", 1, 64, 1), ("infer", 4, 64, 2),
        ("train", 4, 32, 2), ("train", 16, 32, 2)]


def run(command, threads):
    env = dict(os.environ, OPENBLAS_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError("%s\n%s" % (" ".join(command), done.stderr[-800:]))
    return done.stdout


def peer(python, script, mode, batch, crop, threads, runs, form, jit):
    command = shlex.split(python) + [script, "--mode", mode, "--batch", str(batch), "--crop", str(crop), "--threads", str(threads),
                                     "--runs", str(runs), "--format", form, "--json", "/dev/stdout"] + (["--jit"] if jit else [])
    out = run(command, threads)
    return json.loads([line for line in out.splitlines() if line.startswith("{")][-1])


def ours(program, mode, batch, crop, threads, runs):
    out = run([program, "bench", "--net", "unet3d", "--mode", mode, "--batch", str(batch), "--crop", str(crop), "--threads",
               str(threads), "--runs", str(runs), "--json"], threads)
    return json.loads(out.splitlines()[-1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--peer", required=True, help="the PyTorch twin, as each --python sees its path")
    p.add_argument("--python", action="append", help="command that runs Python with torch (repeatable; default python3)")
    p.add_argument("--program", default="build/apps/voxgrad")
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--runs", type=int, default=5, help="timed steps per run")
    p.add_argument("--rows", type=int, default=len(ROWS), help="only the first N rows")
    p.add_argument("--json", default="", help="also write all rows to this file")
    a = p.parse_args()
    pythons = a.python or ["python3"]
    rows = []
    print("| case | best PyTorch | its ms | our ms | ratio | its MiB | our MiB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for mode, batch, crop, threads in ROWS[: a.rows]:
        best = None
        for python in pythons:
            for form, jit in [("contiguous", False), ("channels_last", False)] + ([("contiguous", True)] if mode == "infer" else []):
                r = peer(python, a.peer, mode, batch, crop, threads, 3, form, jit)
                if best is None or r["ms_median"] < best[0]["ms_median"]:
                    best = (r, python, form, jit)
        _, python, form, jit = best
        theirs, mine = [], []
        for _ in range(a.pairs):
            theirs.append(peer(python, a.peer, mode, batch, crop, threads, a.runs, form, jit))
            mine.append(ours(a.program, mode, batch, crop, threads, a.runs))
        t, m = (statistics.median(r["ms_median"] for r in s) for s in (theirs, mine))
        ratio = statistics.median(x["ms_median"] / y["ms_median"] for x, y in zip(theirs, mine))
        row = {"mode": mode, "batch": batch, "crop": crop, "threads": threads, "torch": theirs[0]["torch"], "format": form, "jit": jit,
               "peer_ms": t, "our_ms": m, "ratio": ratio, "peer_mib": max(r["peak_rss_mib"] for r in theirs),
               "our_mib": max(r["peak_rss_mib"] for r in mine)}
        rows.append(row)
        print("| %s %d^3 b%d, %d thr | %s %s%s | %.1f | %.1f | %.2f | %.0f | %.0f |" % (
            mode, crop, batch, threads, row["torch"], form, " frozen" if jit else "", t, m, ratio, row["peer_mib"], row["our_mib"]), flush=True)
    if a.json:
        with open(a.json, "w") as out:
            json.dump(rows, out, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
