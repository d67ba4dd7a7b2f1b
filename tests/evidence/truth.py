# SPDX-License-Identifier: BSD-3-Clause
"""The share of positive voxels that simulated movies really hold: in whole movies, and in what training sees of their random crops."""
import csv
import os
import re
import struct
import zlib


def label_frames(path):
    """Height, width and one byte string per frame (255 or less per voxel) of a label TIFF as `voxgrad simulate` writes it:
    little-endian, unsigned 16 bit, deflate, one strip per page."""
    data = open(path, "rb").read()
    if data[:4] != b"II*\0":
        raise ValueError(path + ": is no little-endian TIFF file")
    at, frames, height, width = struct.unpack_from("<I", data, 4)[0], [], 0, 0
    while at:
        tags = {}
        count = struct.unpack_from("<H", data, at)[0]
        for i in range(count):
            tag, kind, _, value = struct.unpack_from("<HHII", data, at + 2 + 12 * i)
            tags[tag] = value & 0xFFFF if kind == 3 else value
        if (tags.get(258), tags.get(259), tags.get(278)) != (16, 8, tags[257]):
            raise ValueError(path + ": is not a label image of voxgrad simulate (16 bit, deflate, one strip per page)")
        height, width = tags[257], tags[256]
        raw = zlib.decompress(data[tags[273]:tags[273] + tags[279]])
        frames.append(bytes(a or b for a, b in zip(raw[0::2], raw[1::2])) if any(raw) else b"")
        at = struct.unpack_from("<I", data, at + 2 + 12 * count)[0]
    return height, width, frames


def positive_voxels(path):
    """(t, y, x) of every labelled voxel."""
    _, width, frames = label_frames(path)
    return [(t, hit.start() // width, hit.start() % width) for t, frame in enumerate(frames) for hit in re.finditer(rb"[^\0]", frame, re.S)]


def movie_share(folder, numbers, voxels):
    """Share of positive voxels in the movies with these numbers, from the truth tables."""
    total = 0
    for n in numbers:
        with open(os.path.join(folder, "%d-1_events.csv" % n)) as file:
            total += sum(int(row["voxels"]) for row in csv.DictReader(file))
    return total / (voxels * len(numbers))


def patch_weights(crop, patch):
    """How probable it is that a random patch of a crop holds a voxel, along one axis."""
    places = crop - patch + 1
    return [sum(start <= i < start + patch for start in range(places)) / places for i in range(crop)]


def crop_share(folder, samples, crop, patch):
    """Mean share of positive voxels in patches cut at random out of the unlabelled crops {neuron, coord} of a samples list."""
    weights, total = patch_weights(crop, patch), 0.0
    by_movie = {}
    for sample in samples:
        by_movie.setdefault(sample["neuron"], []).append(sample["coord"])
    for name, corners in by_movie.items():
        voxels = positive_voxels(os.path.join(folder, name + "-1_labels.tif"))
        for corner in corners:
            for voxel in voxels:
                inside = [v - c for v, c in zip(voxel, corner)]
                if all(0 <= i < crop for i in inside):
                    total += weights[inside[0]] * weights[inside[1]] * weights[inside[2]]
    return total / (len(samples) * patch ** 3)
