# SPDX-License-Identifier: BSD-3-Clause
"""The generator that these scripts and tests/metrics/draws.hpp share: x <- 1664525 x + 1013904223 mod 2^32."""
import numpy


def draws(seed, n):
    """n draws of 16 bits."""
    out = numpy.empty(n, numpy.int64)
    x = seed
    for i in range(n):
        x = (1664525 * x + 1013904223) % 2**32
        out[i] = x >> 16
    return out
