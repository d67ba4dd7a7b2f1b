#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ratio of PyTorch's time to ours per convolution layer of both networks: forward, data gradient, weight gradient.

The peer runs with each --python in both memory formats, then ours, --rounds times; the best rate of every program
counts, and the ratio is to the fastest configuration of the peer for that layer and pass. Above 1 we are faster.
One thread counts processor time. The rows are kept in --json; without --peer the table is printed from there.

  ninja -C build tests/bench/bench_conv_layers
  python3 tests/bench/conv_ratio.py --peer DIR/peer_conv_layers_torch.py --python python3 --python "chroot DEBIAN13 python3"
"""
import argparse
import re
import shlex
import sys

from programs import load_json, output_of, save_json, verdict

PASSES = ("forward", "data gradient", "weight gradient")
NUMBER = r"\s+([0-9.]+)"
PEER_LINE = re.compile(r"^(conv\w* .*?@\S+)" + 3 * (NUMBER + r"\(\s*[0-9.]+\)\s+[0-9.]+"))
OUR_LINE = re.compile(r"^(conv\w* .*?@\S+)" + 3 * (NUMBER + r"\s+[0-9.]+ ms"))


def goals_of(layer, stardist):
    """Must, goal and stretch of each pass, where there are any."""
    kind, _, _, channels, place = re.match(r"(\S+) (\d+)x (\d+)->(\d+) @(\d+)", layer).groups()
    inputs = int(re.search(r"(\d+)->", layer).group(1))
    channels, place = int(channels), int(place)
    if kind != "conv":
        return (None,) * 3
    if stardist:
        return ((1.0, 1.8, 2.4),) * 3 if min(inputs, channels) >= 32 else (None,) * 3
    if place == 32 and channels == 8 and inputs >= 8:
        return (1.9, 2.9, 3.4), (1.1, 1.7, 1.9), (2.0, 3.0, 3.5)
    if place in (16, 8) and channels in (16, 32):
        return ((1.1, 1.8, 2.4),) * 3
    if place <= 4 and channels >= 64:
        return ((1.1, 1.3, 2.0),) * 3
    return (None,) * 3


def rates(pattern, text):
    """Layer -> GFLOP/s of the three passes."""
    return {found.group(1): [float(found.group(i)) for i in (2, 3, 4)] for found in map(pattern.match, text.splitlines()) if found}


def best(into, name, new):
    for layer, values in new.items():
        row = into.setdefault(layer, {}).setdefault(name, [0, 0, 0])
        row[:] = [max(pair) for pair in zip(row, values)]


def measure(a):
    rows, stardist = {}, []
    for _ in range(a.rounds):
        for layers in ("unet", "stardist"):
            if a.set not in (layers, "all"):
                continue
            for python in a.python:
                for form in ("contiguous", "channels_last"):
                    text = output_of(shlex.split(python) + [a.peer, "--threads", str(a.threads), "--format", form, "--set", layers,
                                                            "--budget", str(a.seconds)], a.threads)
                    best(rows, "%s %s" % (text.split()[1], form.replace("_", "-")), rates(PEER_LINE, text))
            ours = rates(OUR_LINE, output_of([a.program, "--threads", str(a.threads), "--set", layers, "--seconds", str(a.seconds)], a.threads))
            best(rows, "ours", ours)
            if layers == "stardist":
                stardist = list(ours)
    return {"threads": a.threads, "rounds": a.rounds, "rows": rows, "stardist": stardist}


def table(kept):
    print("| layer, %d thread%s | " % (kept["threads"], "s" if kept["threads"] > 1 else "") +
          " | ".join("%s: PyTorch, ours GFLOP/s | ratio (reached)" % p for p in PASSES) + " |")
    print("|" + "---|" * 7)
    for layer, row in kept["rows"].items():
        peers = {name: values for name, values in row.items() if name != "ours"}
        if "ours" not in row or not peers:
            continue  # a layer that only one side measures
        goals, cells = goals_of(layer, layer in kept["stardist"]), []
        for i in range(3):
            theirs = max(values[i] for values in peers.values())
            ratio = row["ours"][i] / theirs
            reached = verdict(ratio, goals[i])
            cells.append("%.0f, %.0f | %.2f%s" % (theirs, row["ours"][i], ratio, " (%s)" % reached if reached else ""))
        print("| %s | %s |" % (layer, " | ".join(cells)))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--peer", help="the peer's script, as each --python sees its path; without it nothing is measured")
    p.add_argument("--python", action="append", help="command that runs Python with torch (repeatable; default python3)")
    p.add_argument("--program", default="build/tests/bench/bench_conv_layers")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--set", choices=("unet", "stardist", "all"), default="all")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--seconds", type=float, default=0.1, help="per layer and pass")
    p.add_argument("--json", default="", help="keep the rates in this file")
    a = p.parse_args()
    a.python = a.python or ["python3"]
    kept = measure(a) if a.peer else load_json(a.json, None)
    if kept is None:
        p.error("nothing to print: give --peer to measure, or a --json file that exists")
    if a.peer:
        save_json(a.json, kept)
    table(kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
