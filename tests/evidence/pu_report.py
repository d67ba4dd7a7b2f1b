# SPDX-License-Identifier: BSD-3-Clause
"""Tables of pu_study.py: one row per run (results.csv), mean and spread over seeds (results.md, thresholds.md)."""
import csv
import glob
import json
import os
import statistics

ORDER = ["all-1:0", "all-1:4", "1:0", "1:1", "1:4", "1:16", "1:64", "upu", "nnpu", "imbalanced_nnpu", "abs_pu"]


def run_file(folder, condition, scheme, seed):
    return os.path.join(folder, "%s_%s_%d.json" % (condition, scheme.replace(":", "-"), seed))


def read_runs(out):
    """One dictionary per run; with what is in thresholds/ of it, if anything."""
    rows = []
    for path in sorted(glob.glob(os.path.join(out, "runs", "*.json"))):
        with open(path) as file:
            rows.append(json.load(file))
        chosen = os.path.join(out, "thresholds", os.path.basename(path))
        if os.path.exists(chosen):
            with open(chosen) as file:
                rows[-1].update(json.load(file))
    rows.sort(key=lambda r: (r["condition"] != "complete", r["condition"], ORDER.index(r["scheme"]), r["seed"]))
    return rows


def groups(rows):
    """{(condition, scheme): rows of all seeds}, in the order of the tables."""
    out = {}
    for row in rows:
        out.setdefault((row["condition"], row["scheme"]), []).append(row)
    return out


def spread(values, form="%.2f"):
    """Mean and standard deviation over seeds; one or two values as they are."""
    values = [v for v in values if v is not None]
    if len(values) < 3:
        return ", ".join(form % v for v in values) or "-"
    return form % statistics.mean(values) + " ± " + form % statistics.stdev(values)


def prior_ratio(row):
    return None if row["prior_estimate"] is None else row["prior_estimate"] / row["prior_true"]


def markdown(rows):
    lines = ["| labels | scheme | seeds | detection F1 | precision | recall | F1, thresholds from truth | Dice | Dice, thresholds from truth | prior: estimate / truth |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for (condition, scheme), of in groups(rows).items():
        kept = statistics.mean(r["kept"] for r in of)
        cells = ["%s (%.0f %%)" % (condition.split("-")[0], 100 * kept), scheme, str(len(of))]
        for key in ("f1", "precision", "recall", "known_f1", "dice", "known_dice"):
            cells.append(spread([r[key] for r in of]))
        cells.append(spread([prior_ratio(r) for r in of]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


WAYS = {"": "reference", "known_": "from truth", "pu_f1_": "pu_f1", "quantile_": "quantile", "lee_liu_": "lee_liu", "pu_f1_auto_": "pu_f1, prior auto",
        "quantile_auto_": "quantile, prior auto"}


def thresholds_summary(rows):
    """Means over schemes of a kind and all seeds, of detection F1 and of Dice, by how the threshold was chosen."""
    kinds = {"all marks": ORDER[:2], "`1:0`, `1:1`, `1:4`": ORDER[2:5], "`imbalanced_nnpu`, `abs_pu`": ORDER[9:], "the other four": ORDER[5:9]}
    lines = ["| labels | schemes | networks | of |" + "".join(" %s |" % head for head in WAYS.values()), "|---" * (4 + len(WAYS)) + "|"]
    measured = [r for r in rows if "pu_f1_f1" in r]
    for condition in dict.fromkeys(r["condition"] for r in measured):
        for kind, schemes in kinds.items():
            of = [r for r in measured if r["condition"] == condition and r["scheme"] in schemes]
            for what, head in (("f1", "F1"), ("dice", "Dice")) if of else ():
                means = [[r[way + what] for r in of if r[way + what] is not None] for way in WAYS]
                cells = [condition.replace("-", " ") + (" %" if "-" in condition else ""), kind, str(len(of)), head]
                lines.append("| " + " | ".join(cells + ["%.2f" % statistics.mean(m) if m else "-" for m in means]) + " |")
    return "\n".join(lines) + "\n"


def thresholds_markdown(rows):
    """Detection F1 and Dice by how the threshold was chosen, of runs of which that was measured; all criteria are in results.csv."""
    ways = {way: head for way, head in WAYS.items() if way not in ("lee_liu_", "quantile_auto_")}
    lines = ["| labels | scheme | seeds |" + "".join(" %s: %s |" % (what, head) for what in ("F1", "Dice") for head in ways.values()),
             "|---" * (3 + 2 * len(ways)) + "|"]
    for (condition, scheme), of in groups([r for r in rows if "pu_f1_f1" in r]).items():
        cells = ["%s (%.0f %%)" % (condition.split("-")[0], 100 * statistics.mean(r["kept"] for r in of)), scheme, str(len(of))]
        cells += [spread([r[way + what] for r in of]) for what in ("f1", "dice") for way in ways]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_csv(file, rows):
    table = csv.DictWriter(file, list({key: None for row in rows for key in row}))
    table.writeheader()
    table.writerows({key: "%.6g" % value if isinstance(value, float) else value for key, value in row.items()} for row in rows)


def write_tables(out):
    rows = read_runs(out)
    if not rows:
        raise SystemExit(out + ": no finished run in runs/")
    for name, write in (("results.csv", write_csv), ("results.md", lambda file, of: file.write(markdown(of))),
                        ("thresholds.md", lambda file, of: file.write(thresholds_summary(of) + "\n" + thresholds_markdown(of)))):
        part = os.path.join(out, "%s.%s.%d" % (name, os.uname().nodename, os.getpid()))  # tasks of an array may finish at the same time
        with open(part, "w", newline="") as file:
            write(file, rows)
        os.replace(part, os.path.join(out, name))
    print("%d runs: %s" % (len(rows), os.path.join(out, "results.md")))
