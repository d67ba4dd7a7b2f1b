# SPDX-License-Identifier: BSD-3-Clause
"""Writes the golden files beside it from scikit-image, scipy and scikit-learn; run: python make_golden.py

Volumes and scores are not stored: both sides draw them from the same generator, x <- 1664525 x + 1013904223 mod 2^32.
"""
import os
import platform
import warnings

import numpy
import scipy
import scipy.optimize
import skimage
import skimage.measure
import sklearn
import sklearn.metrics

from draws import draws

FOLDER = os.path.dirname(os.path.abspath(__file__))
VERSIONS = "# python %s numpy %s scipy %s scikit-image %s scikit-learn %s\n" % (
    platform.python_version(), numpy.__version__, scipy.__version__, skimage.__version__, sklearn.__version__)


def numbers(values):
    return " ".join("%.12g" % float(v) for v in values)


def write_components():
    """case T H W seed per_mille levels offset / count hash / one line per region."""
    cases = [(1, 7, 9, 1, 400, 1, 0), (5, 8, 6, 2, 150, 1, 0), (6, 10, 12, 3, 300, 3, 0), (9, 17, 13, 4, 60, 1, 0),
             (9, 17, 13, 5, 500, 4, 0), (12, 30, 40, 6, 40, 2, 1), (3, 3, 3, 7, 1000, 1, 0), (4, 5, 1, 8, 500, 1, 1)]
    with open(os.path.join(FOLDER, "components.txt"), "w") as f:
        f.write(VERSIONS)
        for case in cases:
            t, h, w, seed, per_mille, levels, offset = case
            d = draws(seed, t * h * w)
            volume = numpy.where(d % 1000 < per_mille, 1 + d // 1000 % levels, 0).reshape(t, h, w)
            intensity = draws(seed + 100, t * h * w).reshape(t, h, w) / 65536.0 - 0.5 * offset
            labels = skimage.measure.label(volume, connectivity=3)
            flat = labels.ravel().astype(object)
            hashed = int(sum((i + 1) * int(v) for i, v in enumerate(flat)))
            regions = skimage.measure.regionprops(labels, intensity_image=intensity)
            f.write("case " + " ".join(map(str, case)) + "\n%d %d\n" % (len(regions), hashed))
            for r in regions:
                lo, hi = r.bbox[:3], r.bbox[3:]
                weighted = r.centroid_weighted if r.image_intensity.sum() > 0 else r.centroid  # our guard
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    e = r.inertia_tensor_eigvals
                profile = r.image_intensity.sum(axis=(1, 2)) / (r.image.shape[1] * r.image.shape[2])
                f.write("%d %d %s %s %s %s %s\n" % (
                    r.label, r.area, " ".join(str(v) for v in (*lo, *hi)), numbers(r.centroid), numbers(weighted),
                    numbers((r.intensity_mean, r.intensity_max, r.intensity_min)),
                    numbers((*e, profile.sum(), profile.max(), profile.std()))))


def nearest(d, limit):
    rows, columns, pairs = set(), set(), []
    for k in numpy.argsort(d, axis=None, kind="stable"):
        i, j = divmod(int(k), d.shape[1])
        if d[i, j] > limit:
            break
        if i not in rows and j not in columns:
            rows.add(i)
            columns.add(j)
            pairs.append((i, j))
    return sorted(pairs)


def hungarian(d, limit):
    rows, columns = numpy.flatnonzero((d < limit).any(1)), numpy.flatnonzero((d < limit).any(0))
    a, b = scipy.optimize.linear_sum_assignment(numpy.log(d[numpy.ix_(rows, columns)] + 1e-6))
    return [(int(rows[i]), int(columns[j])) for i, j in zip(a, b) if d[rows[i], columns[j]] < limit]


def write_matching():
    """points n m / n + m lines / nearest k pairs / hungarian k pairs; and: cost r c / r lines / the column of rows."""
    random = numpy.random.RandomState(7)
    with open(os.path.join(FOLDER, "matching.txt"), "w") as f:
        f.write(VERSIONS)
        for n, m, side in [(1, 1, 5), (3, 8, 12), (12, 5, 15), (20, 20, 18), (30, 45, 25), (40, 25, 60), (25, 25, 8)]:
            truth, predicted = numpy.round(random.rand(n, 3) * side, 3), numpy.round(random.rand(m, 3) * side, 3)
            d = numpy.sqrt(((truth[:, None] - predicted[None]) ** 2).sum(-1))
            f.write("points %d %d\n" % (n, m))
            for p in (*truth, *predicted):
                f.write("%.3f %.3f %.3f\n" % tuple(p))
            for pairs in (nearest(d, 6), hungarian(d, 6)):
                f.write(" ".join(str(v) for v in (len(pairs), *sum(pairs, ()))) + "\n")
        for r, c, high in [(1, 1, 9), (4, 4, 3), (6, 9, 2), (9, 6, 4), (12, 12, 6), (15, 20, 100), (20, 8, 5), (25, 25, 9)]:
            cost = random.randint(-high, high + 1, (r, c))
            a, b = scipy.optimize.linear_sum_assignment(cost)
            column = -numpy.ones(r, int)
            column[a] = b
            f.write("cost %d %d\n" % (r, c))
            for row in cost:
                f.write(" ".join(map(str, row)) + "\n")
            f.write(" ".join(map(str, column)) + "\n")


def write_curves():
    """seed n steps per_mille threshold average_precision roc_auc; scores are float32 (draw mod steps) / steps."""
    with open(os.path.join(FOLDER, "curves.txt"), "w") as f:
        f.write(VERSIONS)
        for seed, n, steps, per_mille in [(1, 50, 5, 300), (2, 400, 20, 100), (3, 1000, 65536, 50), (4, 1000, 100, 500),
                                          (5, 30, 2, 500), (6, 300, 1, 300), (7, 2000, 37, 10)]:
            scores = ((draws(seed, n) % steps) / numpy.float64(steps)).astype(numpy.float32)
            other = draws(seed + 100, n) % 1000
            labels = other < per_mille * (0.5 + scores)  # scores carry some information
            p, r, thresholds = sklearn.metrics.precision_recall_curve(labels, scores)
            best = thresholds[numpy.argmin(numpy.sqrt((1 - p) ** 2 + (1 - r) ** 2))]
            f.write("%d %d %d %d %s\n" % (seed, n, steps, per_mille, numbers((
                best, sklearn.metrics.average_precision_score(labels, scores),
                sklearn.metrics.roc_auc_score(labels, scores)))))


write_components()
write_matching()
write_curves()
print(VERSIONS.strip())
