#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The page of a GPU day: gpu_page.py FOLDER PAGE. Reads what gpu_day.sh left in FOLDER, writes gpu.json there and PAGE."""
import datetime
import json
import os
import subprocess
import sys

GOALS = [  # bench, field, at most or at least, text
    ("train-bf16", "ms_median", 10.0, "a training step of batch 128, 32^3, bf16: at most 10 ms"),
    ("train-bf16", "ms_median", 5.0, "the same: at most 5 ms"),
    ("stardist-train-bf16", "ms_median", 5.0, "a training step of StarDist-3D, batch 64, 32^3, bf16: at most 5 ms"),
]
RATIOS = [("train-bf16", 2.0, "training at least twice as fast as the best PyTorch run here"),
          ("infer-bf16", 2.0, "inference of 64^3 at least twice as fast as the best PyTorch run here")]


def read(folder, name):
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def commit(root):
    run = subprocess.run(["git", "-C", root, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    return run.stdout.strip() or "unknown"


def milliseconds(result):
    for key in ("ms_median", "median_ms", "ms"):
        if isinstance(result.get(key), (int, float)):
            return float(result[key])
    return None


def collect(folder):
    stages, ours, theirs = [], {}, {}
    for line in read(folder, "records.jsonl").splitlines():
        record = json.loads(line)
        if "stage" in record:
            stages.append(record)
        elif record["who"] == "voxgrad":
            ours[record["bench"]] = record["result"]
        else:
            theirs.setdefault(record["bench"], []).append((milliseconds(record["result"]), record["options"]))
    best = {name: min((run for run in runs if run[0] is not None), default=None) for name, runs in theirs.items()}
    return stages, ours, {name: run for name, run in best.items() if run}


def goals(ours, best):
    rows = []
    for bench, field, limit, text in GOALS:
        value = ours.get(bench, {}).get(field)
        rows.append((text, "not measured" if value is None else f"{value:.2f} ms", None if value is None else value <= limit))
    for bench, limit, text in RATIOS:
        mine = milliseconds(ours.get(bench, {}))
        if mine is None or bench not in best:
            rows.append((text, "not measured", None))
        else:
            rows.append((text, f"{best[bench][0] / mine:.2f} times", best[bench][0] >= limit * mine))
    return rows


def page(folder, root):
    stages, ours, best = collect(folder)
    now = datetime.date.today().isoformat()
    lines = ["# What ran on a GPU", "",
             f"Made by `cuda/gpu_day.sh` on {now}, commit {commit(root)}. Times are medians on the card with the data on it.", "",
             "| card, driver, memory, capability, clock, power | " + read(folder, "card.csv").replace("\n", "; ") + " |", "|---|---|", "",
             "```", read(folder, "version.txt"), "```", "", "## Goals", "", "| goal | measured | |", "|---|---|---|"]
    rows = goals(ours, best)
    lines += [f"| {text} | {value} | {'-' if met is None else 'met' if met else 'missed'} |" for text, value, met in rows]
    lines += ["", "## Times", "", "| | ms | samples/s | PyTorch, best | ratio |", "|---|---|---|---|---|"]
    for name, result in ours.items():
        mine, rate = milliseconds(result), result.get("samples_per_s")
        peer = best.get(name)
        peer_text = f"{peer[0]:.2f} ms ({peer[1]})" if peer else "-"
        ratio = f"{peer[0] / mine:.2f}" if peer and mine else "-"
        lines.append(f"| {name} | {mine:.3f} | {rate:.0f} | {peer_text} | {ratio} |" if mine and rate else f"| {name} | - | - | {peer_text} | - |")
    lines += ["", "## Stages", "", "| stage | outcome | s | |", "|---|---|---|---|"]
    lines += [f"| {s['stage']} | {s['status']} | {s['seconds']} | {s['text']} |" for s in stages]
    data = {"date": now, "commit": commit(root), "card": read(folder, "card.csv"), "version": read(folder, "version.txt"),
            "stages": stages, "ours": ours, "peer_best": {k: {"ms": v[0], "options": v[1]} for k, v in best.items()},
            "goals": [{"goal": t, "measured": v, "met": m} for t, v, m in rows]}
    return "\n".join(lines) + "\n", data


def write(path, text):
    """Whole or not at all."""
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".part", path)


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    folder, target = sys.argv[1:]
    if not os.path.exists(os.path.join(folder, "records.jsonl")):
        print(f"gpu_page.py: {folder} has no records.jsonl, which gpu_day.sh writes", file=sys.stderr)
        return 1
    text, data = page(folder, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    write(os.path.join(folder, "gpu.json"), json.dumps(data, indent=1) + "\n")
    write(target, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
