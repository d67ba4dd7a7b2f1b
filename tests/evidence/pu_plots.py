#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of the tables of pu_study.py (needs matplotlib): pu_plots.py STUDY/results.csv OUT.png"""
import csv
import statistics
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first)

from pu_report import ORDER  # noqa: E402

COLOURS = {"naive": "#7f7f7f", "all": "#222222", "pu": "#d55e00"}


def family(scheme):
    return "all" if scheme.startswith("all") else "naive" if scheme.startswith("1:") else "pu"


def read(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def conditions_of(rows):
    found = {r["condition"] for r in rows if r["condition"] != "complete"}
    return sorted(found, key=lambda c: (c.split("-")[0] != "random", int(c.split("-")[1])))


# Marks beside the bars, whose thresholds come from the marked events as a user would choose them: (before the key, mark, colour, legend).
OTHER_THRESHOLDS = [("known_", "_", "#000000", "thresholds from complete marks"), ("quantile_", "D", "#0072b2", "threshold by quantile, true prior"),
                    ("pu_f1_", "^", "#009e73", "threshold by pu_f1, true prior")]


def draw(axis, rows, condition, key, name):
    """A bar per scheme: the mean over seeds, and each seed as a point; all labels as the line to reach."""
    names = [s for s in ORDER if not s.startswith("all") and any(r["scheme"] == s for r in rows)]
    for at, scheme in enumerate(names):
        values = [float(r[key]) for r in rows if r["condition"] == condition and r["scheme"] == scheme]
        if not values:
            continue
        axis.bar(at, statistics.mean(values), color=COLOURS[family(scheme)], alpha=0.55, width=0.7)
        axis.plot([at] * len(values), values, "o", color=COLOURS[family(scheme)], markersize=3.5)
        for before, mark, colour, legend in OTHER_THRESHOLDS:
            means = [float(r[before + key]) for r in rows if r["condition"] == condition and r["scheme"] == scheme and r.get(before + key)]
            if len(means) == len(values):  # of the same seeds, or they do not compare
                axis.plot([at + 0.22], [statistics.mean(means)], mark, color=colour, markersize=7 if mark == "_" else 4, markeredgewidth=1.5, label=legend)
    full = [float(r[key]) for r in rows if r["condition"] == "complete"]
    if full:
        axis.axhline(statistics.mean(full), color=COLOURS["all"], linewidth=1, linestyle="--")
        axis.text(len(names) - 0.5, statistics.mean(full) + 0.01, "all marked", fontsize=6, ha="right", va="bottom")
    axis.set_xticks(range(len(names)), [n.replace("imbalanced_", "imb. ") for n in names], rotation=60, ha="right", fontsize=7)
    axis.set_ylim(0, 1)
    axis.set_xlim(-0.6, len(names) - 0.4)
    axis.tick_params(axis="y", labelsize=7)
    axis.set_ylabel(name, fontsize=8)


def main():
    rows, conditions = read(sys.argv[1]), conditions_of(read(sys.argv[1]))
    figure, axes = plt.subplots(2, len(conditions), figsize=(2.6 * len(conditions) + 0.6, 4.6), squeeze=False, sharey="row", sharex="col")
    for column, condition in enumerate(conditions):
        kept = statistics.mean(float(r["kept"]) for r in rows if r["condition"] == condition)
        words = "at random" if condition.startswith("random") else "the bright ones"
        axes[0][column].set_title("%.0f %% of the events marked,\n%s" % (100 * kept, words), fontsize=8)
        draw(axes[0][column], rows, condition, "f1", "detection F1" if column == 0 else "")
        draw(axes[1][column], rows, condition, "dice", "Dice" if column == 0 else "")
    legend = {label: mark for axis in axes.flat for mark, label in zip(*axis.get_legend_handles_labels())}
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.legend(legend.values(), legend.keys(), loc="lower center", ncol=len(legend) or 1, fontsize=7, frameon=False)
    figure.savefig(sys.argv[2], dpi=110)


if __name__ == "__main__":
    main()
