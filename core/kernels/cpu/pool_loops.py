"""The compiled loops of maximum pooling, over channels-last arrays."""

from __future__ import annotations

from .compiled import njit

_jit = njit(nogil=True, cache=True, error_model="numpy")


@_jit
def maxima(x, rows, columns, best, index, lo, hi):
    """Rows lo..hi of the N * HO rows of best and index; NaN counts as the largest, of equal elements the first."""
    width, channels = x.shape[2], x.shape[3]
    ho, wo = best.shape[1], best.shape[2]
    for t in range(lo, hi):
        n, oy = t // ho, t % ho
        for ox in range(wo):
            top, here = best[n, oy, ox], index[n, oy, ox]
            for i in range(rows.shape[1]):
                for j in range(columns.shape[1]):
                    iy, ix = rows[oy, i], columns[ox, j]
                    pixel, flat = x[n, iy, ix], iy * width + ix
                    if i == 0 and j == 0:
                        for c in range(channels):
                            top[c] = pixel[c]
                            here[c] = flat
                    else:
                        for c in range(channels):
                            v = pixel[c]
                            better = v > top[c] or v != v
                            top[c] = v if better else top[c]
                            here[c] = flat if better else here[c]


@_jit
def scatter(g, places, out, lo, hi):
    """g (N, L, C) added at places (N, L, C) of out (N, S, C), for the images lo..hi."""
    for n in range(lo, hi):
        for k in range(g.shape[1]):
            for c in range(g.shape[2]):
                out[n, places[n, k, c], c] += g[n, k, c]
