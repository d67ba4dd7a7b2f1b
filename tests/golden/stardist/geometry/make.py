# SPDX-License-Identifier: BSD-3-Clause
"""Geometry of StarDist-3D as the Python package computes it, on small synthetic inputs: make.py, beside the files it writes.

Made with stardist 0.9.2, csbdeep 0.8.2, NumPy 2.4.6, SciPy 1.17.1 (pip install stardist)."""
import os

import numpy as np
from csbdeep.internals.predict import tile_iterator
from scipy.ndimage import maximum_filter, zoom
from scipy.optimize import minimize_scalar
from stardist import edt_prob, rays3d, star_dist3D
from stardist.big import Block
from stardist.matching import group_matching_labels, matching, matching_dataset
from stardist.sample_patches import get_valid_inds
from stardist.utils import calculate_extents, fill_label_holes, mask_to_categorical

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


def patches():
    labels = ellipsoids((9, 14, 15), 5, 3, 8).astype(np.int64)
    save("patches_labels", labels)
    for name, patch in ("even", (4, 6, 8)), ("odd", (3, 1, 15)):
        centres = get_valid_inds(labels, patch, lambda y, p: maximum_filter(y, p, mode="constant") > 0)
        save("patches_" + name, np.stack(centres, 1) - np.array(patch) // 2)
    classes = {int(l): (None, 0, 1, 2)[k % 4] for k, l in enumerate(np.unique(labels[labels > 0]))}
    save("patches_class_of", np.array([(l, -1 if c is None else c) for l, c in classes.items()]))
    cut = labels[:8, :12, :12]
    save("patches_classes", zoom(mask_to_categorical(cut, 2, classes), (1 / 2, 1 / 2, 1 / 4, 1), order=0))
    rows = []
    for n in range(1, 40):
        for g in 1, 2, 4, 8:
            sampled = zoom(np.arange(n, dtype=np.float32), 1 / g, order=0).astype(int)
            rows += [[n, g, len(sampled), k, v] for k, v in enumerate(sampled)]
    save("patches_zoom", np.array(rows))


def images():
    labels = ellipsoids((9, 14, 15), 6, 5, 21).astype(np.int64)
    random = np.random.RandomState(3)
    labels[random.uniform(size=labels.shape) < 0.1] = 0
    save("holes_labels", labels)
    save("holes_filled", fill_label_holes(labels))
    save("extents", np.stack([calculate_extents(labels), calculate_extents([labels, labels[:5], labels[:, :7]])]).astype(np.float64))
    values = random.randint(0, 1000, 501).astype(np.float64)
    save("percentiles", np.concatenate([values, np.percentile(values, [0, 1, 25, 50, 99.8, 100])]))


def searches():
    """Rows: function, largest probability, number of thresholds tried, they in order (0 after that), result."""
    rows = []
    for kind, f in enumerate([lambda x: 1 - abs(x - 0.6), lambda x: float(round(8 * x)) % 3, lambda x: 0.25,
                              lambda x: 1 - (0.3 * (0.45 - x) if x < 0.45 else x - 0.45), lambda x: x]):
        for most in 0.97, 0.6, 0.31:
            tried = []

            def score(x):
                t = float(np.clip(x, most / 2, most))
                if t not in tried:
                    tried.append(t)
                return -(0.0 if t == most else f(t))
            found = minimize_scalar(score, method="golden", bracket=(most / 2, most), tol=1e-2, options={"maxiter": 20})
            rows.append([kind, most, len(tried)] + tried + [0.0] * (30 - len(tried)) + [found.x])
    save("searches", np.array(rows))


def tilings():
    """Rows: axis, tiles asked for, block, overlap, then read and write range of one tile."""
    rows = []
    for n, tiles, block, overlap in (64, 2, 4, 7), (128, 3, 8, 6), (200, 5, 8, 2), (88, 4, 8, 3), (64, 9, 8, 1), (40, 3, 8, 0), (8, 2, 8, 5):
        x, back = np.arange(n), np.empty(n, int)
        for tile, source, target in tile_iterator(x, tiles, block, overlap):
            rows.append([n, tiles, block, overlap, tile[0], tile[-1] + 1, target[0].start, target[0].stop or n])
            back[target] = tile[source]
        assert (back == x).all()
    save("tiles", np.array(rows))
    rows, random = [], np.random.RandomState(5)
    while len(rows) < 300:
        n, size, overlap, context, grid = [int(random.randint(a, b)) for a, b in ((20, 300), (8, 120), (0, 30), (0, 16), (1, 9))]
        try:
            blocks = Block.cover(n, size, overlap, context, grid, verbose=False)
        except AssertionError:
            continue
        for b in blocks:
            rows.append([n, size, overlap, context, grid, len(blocks), b.start, b.end, b.context_start, b.context_end])
    save("blocks", np.array(rows))


if __name__ == "__main__":
    patches()
    images()
    searches()
    tilings()
    metrics()
    rays()
    targets()
