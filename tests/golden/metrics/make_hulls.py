# SPDX-License-Identifier: BSD-3-Clause
"""Writes hulls.txt beside it: voxels in the convex hull of objects, from scikit-image; run: python make_hulls.py

Volumes are not stored: both sides draw them from the same generator (draws.py) or from the ellipsoid's equation.
"""
import os
import platform
import warnings

import numpy
import scipy
import skimage
import skimage.measure

from draws import draws

FOLDER = os.path.dirname(os.path.abspath(__file__))


def ellipsoid(extent, radii):
    """Voxels of a tilted ellipsoid in the middle; all numbers are exact in binary."""
    t, y, x = (i - (n - 1) / 2 for i, n in zip(numpy.indices(extent), extent))
    return ((t + x / 4) / radii[0])**2 + (y / radii[1])**2 + ((x - y / 2) / radii[2])**2 <= 1


def hulls(labels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # flat objects: an empty hull
        return [int(r.area_convex) for r in skimage.measure.regionprops(labels)]


with open(os.path.join(FOLDER, "hulls.txt"), "w") as f:
    f.write("# python %s numpy %s scipy %s scikit-image %s\n" % (
        platform.python_version(), numpy.__version__, scipy.__version__, skimage.__version__))
    f.write("# random T H W seed per_mille levels, voxels in the hull of each object\n")
    for case in [(6, 10, 12, 3, 300, 3), (9, 17, 13, 4, 60, 1), (9, 17, 13, 5, 500, 4), (12, 30, 40, 6, 80, 2),
                 (3, 3, 3, 7, 1000, 1), (4, 5, 1, 8, 500, 1), (20, 20, 20, 9, 90, 1)]:
        t, h, w, seed, per_mille, levels = case
        d = draws(seed, t * h * w)
        volume = numpy.where(d % 1000 < per_mille, 1 + d // 1000 % levels, 0).reshape(t, h, w)
        found = hulls(skimage.measure.label(volume, connectivity=3))
        f.write("random %s %d %s\n" % (" ".join(map(str, case)), len(found), " ".join(map(str, found))))
    f.write("# ellipsoid T H W radii, voxels in the hull\n")
    for extent, radii in [((9, 11, 13), (3, 4, 5)), ((16, 48, 48), (5, 15, 20)), ((40, 60, 60), (16, 24, 22))]:
        f.write("ellipsoid %s %s %d\n" % (" ".join(map(str, extent)), " ".join(map(str, radii)),
                                          hulls(ellipsoid(extent, radii).astype(int))[0]))
