"""The inputs of the golden cases: a second implementation of voxgrad's Random (Philox 4x32-10), in NumPy."""

import numpy as np

MASK = np.uint64(0xFFFFFFFF)


def philox(c, k0, k1):
    """Four uint64 arrays that hold 32-bit counters -> four 32-bit outputs."""
    for _ in range(10):
        a = np.uint64(0xD2511F53) * c[0]
        b = np.uint64(0xCD9E8D57) * c[2]
        s = np.uint64(32)
        c = [(b >> s) ^ c[1] ^ k0, b & MASK, (a >> s) ^ c[3] ^ k1, a & MASK]
        k0 = (k0 + np.uint64(0x9E3779B9)) & MASK
        k1 = (k1 + np.uint64(0xBB67AE85)) & MASK
    return c


def uniform(seed, stream, n):
    """The first n numbers of Random(seed, stream).uniform()."""
    position = np.arange(n, dtype=np.uint64)
    zero = np.zeros(n, dtype=np.uint64)
    words = philox([position, zero, zero + np.uint64(stream), zero],
                   np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32))
    bits = words[1] << np.uint64(32) | words[0]
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0 ** -53


def seed_of(name):
    """64-bit FNV-1a of a case's name."""
    h = 14695981039346656037
    for byte in name.encode():
        h = (h ^ byte) * 1099511628211 % 2 ** 64
    return h


def draw(name, stream, shape, low=-1.0, high=1.0, gap=0.0):
    """Uniform in [low, high), then pushed `gap` away from zero."""
    x = low + (high - low) * uniform(seed_of(name), stream, int(np.prod(shape, dtype=int)))
    if gap:
        x = x + np.where(x < 0, -gap, gap)
    return x.reshape(shape)
