# SPDX-License-Identifier: BSD-3-Clause
"""Suppression and drawing of StarDist-3D as the Python package does them, on synthetic candidates: make.py, beside its files.

Made with stardist 0.9.2, NumPy 2.4.6 (pip install stardist), one thread: OMP_NUM_THREADS=1 python make.py"""
import os

import numpy as np
from stardist.geometry import polyhedron_to_label
from stardist.nms import non_maximum_suppression_3d, non_maximum_suppression_3d_sparse
from stardist.rays3d import Rays_GoldenSpiral

HERE = os.path.dirname(os.path.abspath(__file__))


def save(name, array):
    array = np.ascontiguousarray(array)
    np.save(os.path.join(HERE, name + ".npy"), array.astype("<f4" if array.dtype.kind == "f" else "<i8"))


def candidates(random, rays, count, axes, rough):
    """Ellipsoids of a few sizes in a small volume, ray by ray, with a ripple on their surface."""
    centres = random.uniform(6, 26, (count, 3)).round()
    half = random.uniform(0.7, 1.2, (count, 3)) * np.asarray(axes)
    reach = 1 / np.sqrt(((rays.vertices[None] / half[:, None]) ** 2).sum(-1))
    return centres.astype(np.float32), (reach * random.uniform(1 - rough, 1 + rough, reach.shape)).astype(np.float32)


def main():
    rays = Rays_GoldenSpiral(32, anisotropy=(1.7, 1.0, 1.0))
    save("vertices", rays.vertices.astype(np.float32))
    save("faces", rays.faces)
    random = np.random.RandomState(7)
    for name, rough in (("smooth", 0.03), ("rough", 0.25)):
        points, dist = candidates(random, rays, 60, (4, 7, 7), rough)
        prob = (random.permutation(60) / 61 + 0.01).astype(np.float32)
        save(name + "_points", points)
        save(name + "_dist", dist)
        save(name + "_prob", prob)
        for t in (0.1, 0.3, 0.5):
            kept = non_maximum_suppression_3d_sparse(dist, prob, points, rays, nms_thresh=t, verbose=False)[3]
            save(f"{name}_kept_{t}", np.asarray(kept))
        for mode in ("full", "kernel", "hull", "bbox"):
            save(f"{name}_labels_{mode}", run_lengths(polyhedron_to_label(dist[:6], points[:6] + 0.25, rays, (26, 26, 28),
                                                                          prob=prob[:6], mode=mode, verbose=False)))
        save(name + "_labels_overlap", run_lengths(polyhedron_to_label(dist[:6], points[:6] + 0.25, rays, (26, 26, 28),
                                                                      prob=prob[:6], overlap_label=-3, verbose=False)))
    shape = (7, 8, 8)
    prob = random.permutation(np.prod(shape)).reshape(shape).astype(np.float32) / np.prod(shape)
    dist = random.uniform(2, 4, shape + (32,)).astype(np.float32)
    points, scores, kept = non_maximum_suppression_3d(dist, prob, rays, grid=(1, 2, 2), b=2, nms_thresh=0.3, prob_thresh=0.6,
                                                      verbose=False)
    save("dense_prob", prob)
    save("dense_dist", dist)
    save("dense_points", points)
    save("dense_scores", scores)


def run_lengths(labels):
    """Pairs (label, voxels) along the flattened image."""
    flat = labels.reshape(-1).astype(np.int64)
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    return np.stack([flat[starts], np.diff(np.r_[starts, flat.size])], 1)


if __name__ == "__main__":
    main()
