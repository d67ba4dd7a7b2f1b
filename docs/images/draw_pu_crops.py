#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Draws pu_crops.svg, the picture of docs/pu.md: draw_pu_crops.py > pu_crops.svg"""
import math

MARKED, HIDDEN, REST, NOTHING, CENTRED, RANDOM = "#d55e00", "#f3c9ab", "#cfe3f1", "#f4f4f4", "#7b3fa0", "#0072b2"
EVENTS = [(92, 66, True), (214, 118, False), (120, 196, True), (262, 212, False), (60, 144, False)]  # x, y, annotated
out = []


def text(x, y, words, size=13, anchor="start", more=""):
    out.append(f"<text x='{x}' y='{y}' font-size='{size}' text-anchor='{anchor}' fill='#222' {more}>{words}</text>")


def box(x, y, width, height, fill, stroke="none", more=""):
    out.append(f"<rect x='{x}' y='{y}' width='{width}' height='{height}' fill='{fill}' stroke='{stroke}' {more}/>")


def event(x, y, marked, radius=11):
    fill = f"fill='{MARKED}'" if marked else f"fill='{HIDDEN}' stroke='{MARKED}' stroke-dasharray='3 2'"
    out.append(f"<ellipse cx='{x}' cy='{y}' rx='{radius * 1.2:.1f}' ry='{radius}' {fill}/>")


def movie(x0, y0, side):
    text(x0, y0 - 12, "Which crops: the samples list", 15, more="font-weight='bold'")
    box(x0, y0, side, side, "#333")
    for phase, level in ((0.0, 70), (1.7, 132), (3.1, 204)):  # dendrites
        points = " ".join(f"{x0 + i:.0f},{y0 + level + 14 * math.sin(i / 47 + phase):.0f}" for i in range(0, side + 1, 6))
        out.append(f"<polyline points='{points}' fill='none' stroke='#777' stroke-width='9'/>")
    for x, y, marked in EVENTS:
        event(x0 + x, y0 + y, marked)
    for x, y, marked in EVENTS:
        if marked:
            box(x0 + x - 32, y0 + y - 32, 64, 64, "none", CENTRED, "stroke-width='3'")
    for x, y in ((188, 92), (22, 176), (196, 24), (148, 108)):
        box(x0 + x, y0 + y, 64, 64, "none", RANDOM, "stroke-width='3' stroke-dasharray='7 4'")


def crop(x0, y0, blobs, rest, hidden, cell=15, n=8):
    """Voxels of a crop. blobs: (row, column, annotated)."""
    for i in range(n):
        for j in range(n):
            fill = rest
            for row, column, marked in blobs:
                if (i - row) ** 2 + (j - column) ** 2 <= 2.3:
                    fill = MARKED if marked else hidden
            box(x0 + j * cell, y0 + i * cell, cell, cell, fill, "#fff")
    return n * cell


def legend(x, y, fill, words, stroke="#999", dashed=False):
    box(x, y - 11, 14, 14, fill, stroke, "stroke-dasharray='3 2'" if dashed else "")
    text(x + 21, y, words)


def main():
    out.append("<svg xmlns='http://www.w3.org/2000/svg' width='1060' height='430' font-family='sans-serif'>")
    box(0, 0, 1060, 430, "white")
    movie(20, 44, 290)
    for row, (fill, words, dashed) in enumerate(((MARKED, "event that somebody marked", False), (HIDDEN, "event that nobody marked", True))):
        legend(22, 357 + 20 * row, fill, words, MARKED, dashed)
    box(22, 388, 14, 14, "none", CENTRED, "stroke-width='3'")
    text(43, 400, "crop around a marked event")
    box(22, 411, 14, 14, "none", RANDOM, "stroke-width='3' stroke-dasharray='4 2'")
    text(43, 423, "random crop")

    text(360, 32, "How voxels count: a PU risk", 15, more="font-weight='bold'")
    centred, random = [(3.5, 3.5, True), (7, 0.5, False)], [(1, 6, True), (6, 2, False)]
    side = crop(360, 66, centred, NOTHING, NOTHING)
    text(360, 58, "around an event")
    crop(500, 66, random, REST, HIDDEN)
    text(500, 58, "random crop")
    legend(360, 66 + side + 26, MARKED, "one of the positives (in both crops)")
    legend(360, 66 + side + 48, REST, "a sample of everything, with the orange and pale")
    text(381, 66 + side + 65, "ones of random crops: its mean is the term")
    text(381, 66 + side + 82, "“everything is negative”, corrected by the prior")
    legend(360, 66 + side + 104, NOTHING, "does not count: crops around events hold too")
    text(381, 66 + side + 121, "many positives to be a sample of everything")
    text(360, 66 + side + 152, "prior = share of voxels of random crops in", 13, more="font-weight='bold'")
    text(360, 66 + side + 169, "events, marked or not: 1:1 and 1:64 have the same", 13, more="font-weight='bold'")

    text(770, 32, "The published scheme, MSE", 15, more="font-weight='bold'")
    for x, words, blobs in ((770, "around an event", centred), (910, "random crop", random)):
        crop(x, 66, blobs, "#9a9a9a", "#9a9a9a", 15, 8)
        text(x, 58, words)
    legend(770, 66 + side + 26, MARKED, "target 1")
    legend(770, 66 + side + 48, "#9a9a9a", "target 0, also in events that nobody")
    text(791, 66 + side + 65, "marked: scores sink to the share of")
    text(791, 66 + side + 82, "marked events among all positives,")
    text(791, 66 + side + 99, "and with more random crops further")
    out.append("</svg>")
    print("\n".join(out))


main()
