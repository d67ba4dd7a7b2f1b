# SPDX-License-Identifier: BSD-3-Clause
"""Geometry of StarDist-3D as the Python package computes it, on small synthetic inputs: make.py, beside the files it writes.

Made with stardist 0.9.2, NumPy 2.4.6, SciPy 1.17.1 (pip install stardist)."""
import os

import numpy as np
from stardist import edt_prob, rays3d, star_dist3D
from stardist.matching import group_matching_labels, matching, matching_dataset

HERE = os.path.dirname(os.path.abspath(__file__))


def save(name, array):
    array = np.ascontiguousarray(array)
    kind = "<f8" if array.dtype == np.float64 else "<f4" if array.dtype == np.float32 else "<i8"
    np.save(os.path.join(HERE, name + ".npy"), array.astype(kind))


def rays():
    kinds = {"spiral20": rays3d.Rays_GoldenSpiral(20), "spiral96": rays3d.Rays_GoldenSpiral(96, anisotropy=(1.7, 1.08, 1.0)),
             "cartesian": rays3d.Rays_Cartesian(6, 4), "octo": rays3d.Rays_Octo(2), "tetra": rays3d.Rays_Tetra(3)}
    for name, made in kinds.items():
        save(f"rays_{name}_vertices", made.vertices.astype(np.float32))
        save(f"rays_{name}_faces", made.faces)
    dist = np.random.RandomState(1).uniform(2, 9, 20).astype(np.float32)
    save("rays_spiral20_dist", dist)
    save("rays_spiral20_volume", np.atleast_1d(kinds["spiral20"].volume(dist)).astype(np.float64))
    save("rays_spiral20_surface", np.atleast_1d(kinds["spiral20"].surface(dist)).astype(np.float64))


def ellipsoids(shape, count, radius, seed):
    """Ids with gaps; objects touch each other and the border, one has a single voxel."""
    random = np.random.RandomState(seed)
    labels = np.zeros(shape, np.uint16)
    z, y, x = np.indices(shape)
    for k in range(count):
        c, r = random.uniform(0, shape), random.uniform(1, radius, 3)
        labels[((z - c[0]) / r[0]) ** 2 + ((y - c[1]) / r[1]) ** 2 + ((x - c[2]) / r[2]) ** 2 <= 1] = 1 + 3 * k
    labels[0, 0, 0] = 500
    return labels


def targets():
    labels = ellipsoids((9, 14, 15), 8, 5, 4)
    save("targets_labels", labels)
    spiral = rays3d.Rays_GoldenSpiral(20, anisotropy=(1.7, 1.08, 1.0))
    for grid in (1, 1, 1), (2, 4, 1), (1, 2, 2):
        save("targets_dist_" + "".join(map(str, grid)), star_dist3D(labels, spiral, grid=grid))
    save("targets_prob", edt_prob(labels))
    save("targets_prob_anisotropic", edt_prob(labels, anisotropy=(1.7, 1.08, 1.0)))
    save("targets_prob_constant", edt_prob(np.full((4, 5, 6), 7), anisotropy=(2.0, 1.0, 1.5)))


COLUMNS = ("tp", "fp", "fn", "n_true", "n_pred", "precision", "recall", "accuracy", "f1", "mean_matched_score", "mean_true_score",
           "panoptic_quality")


def metrics():
    truth, thresholds = ellipsoids((10, 24, 25), 25, 5, 11), (0.1, 0.3, 0.5, 0.7)
    predicted = np.roll(ellipsoids((10, 24, 25), 25, 5, 11), (0, 1, 1), (0, 1, 2))
    predicted[predicted == 7] = 0                        # missed
    predicted[:, :3][truth[:, :3] == 0] += 1000          # invented, and split
    save("instances_truth", truth)
    save("instances_predicted", predicted)
    for criterion in "iou", "iot", "iop":
        rows = [[getattr(matching(truth, predicted, t, criterion), c) for c in COLUMNS] for t in thresholds]
        save("instances_" + criterion, np.array(rows, np.float64))
    empty = np.zeros_like(truth)
    pairs = [truth, truth, empty, empty], [predicted, empty, empty, predicted]
    for by_image in False, True:
        rows = [[getattr(s, c) for c in COLUMNS] for s in matching_dataset(*pairs, thresholds, by_image=by_image, show_progress=False)]
        save("instances_dataset_%d" % by_image, np.array(rows, np.float64))
    grouped = group_matching_labels([truth, predicted, np.roll(truth, 2, 2)])
    save("instances_grouped", np.stack(grouped).reshape(30, 24, 25))


if __name__ == "__main__":
    metrics()
    rays()
    targets()
