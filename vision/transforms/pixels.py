"""Changes of colours, equal to Pillow's to the bit: arrays (N, H, W, C) uint8 in and out, NumPy's or CuPy's.

C is 3 or 1; a grey picture has no colours to change, and comes back as it is from those that would. A factor is one number for
all pictures or (N,), one each. Names and meaning are ``torchvision.transforms.functional``'s on PIL images.

Source: Pillow's ``ImageEnhance``, ``ImageOps``, ``Blend.c``, ``Convert.c`` and ``Filter.c``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.devices import module_of, move

Array = Any  # of NumPy or CuPy
_LEVELS = np.arange(256)


def _each(factor: Any, count: int) -> np.ndarray[Any, Any]:
    return np.broadcast_to(np.asarray(factor, np.float32).reshape(-1), (count,))


def look_up(images: Array, tables: Any) -> Array:
    """Each byte replaced by what stands at its place in a table.

    Args:
        images: (N, H, W, C).
        tables: (256,) uint8; or (N, C or 1, 256), one for each picture and channel.
    """
    xp = module_of(images)
    tables = xp.asarray(tables)
    images = images if xp is np else images.astype(np.int32)  # CuPy counts places in their own dtype
    if tables.ndim == 1:
        return xp.take(tables, images)
    if tables.shape[0] == tables.shape[1] == 1:
        return xp.take(tables[0, 0], images)
    rows = xp.arange(tables.shape[0] * tables.shape[1], dtype=np.int32).reshape(-1, 1, 1, tables.shape[1]) * 256
    return xp.take(tables, rows + images)


def _blend(low: Any, high: Any, alpha: Any) -> Any:
    """Pillow's ``Image.blend`` in its own float32 arithmetic: cut off, not rounded."""
    xp = module_of(high)
    low = low.astype(np.float32)
    return xp.clip(low + alpha * (high.astype(np.float32) - low), 0, 255).astype(np.uint8)


def _blended(low: Any, images: Array, factor: Any) -> Array:
    alpha = module_of(images).asarray(_each(factor, len(images)))
    return _blend(low, images, alpha.reshape(-1, 1, 1, 1))


def _tables(low: Any, factor: Any, count: int) -> np.ndarray[Any, Any]:
    """Tables of a blend of one level a picture with all levels."""
    levels = np.broadcast_to(np.asarray(low).reshape(-1, 1, 1), (count, 1, 1))
    return np.asarray(_blend(levels, _LEVELS, _each(factor, count).reshape(-1, 1, 1)))


def _grey(images: Array) -> Array:
    """(N, H, W, 3) -> (N, H, W, 1): ITU-R 601's luma in whole numbers."""
    wide = images.astype(np.int32)
    return ((wide[..., :1] * 19595 + wide[..., 1:2] * 38470 + wide[..., 2:] * 7471 + 0x8000) >> 16).astype(np.uint8)


def to_grayscale(images: Array) -> Array:
    """Without colours; the number of channels stays.

    Example:
        >>> to_grayscale(np.array([[[[255, 0, 0]]]], np.uint8)).ravel().tolist()
        [76, 76, 76]
    """
    return images if images.shape[3] == 1 else module_of(images).repeat(_grey(images), 3, axis=3)


def adjust_brightness(images: Array, factor: Any) -> Array:
    """Blended with black: 0 is black, 1 the picture, 2 twice as bright."""
    return look_up(images, _tables(0, factor, len(images)))


def adjust_contrast(images: Array, factor: Any) -> Array:
    """Blended with the mean of its greys: 0 is that grey, 1 the picture."""
    greys = images if images.shape[3] == 1 else _grey(images)
    sums = move(greys.sum(axis=(1, 2, 3), dtype=np.int64), "cpu")
    means = (sums / (images.shape[1] * images.shape[2]) + 0.5).astype(np.int64)
    return look_up(images, _tables(means, factor, len(images)))


def adjust_saturation(images: Array, factor: Any) -> Array:
    """Blended with its greys: 0 is grey, 1 the picture."""
    return images if images.shape[3] == 1 else _blended(_grey(images), images, factor)


def adjust_sharpness(images: Array, factor: Any) -> Array:
    """Blended with itself smoothed by 3 x 3 pixels: 0 is smooth, 1 the picture, 2 sharper."""
    return _blended(_smooth(images), images, factor)


def _smooth(images: Array) -> Array:
    """Pillow's SMOOTH: the middle counts 5, its neighbours 1; the outermost pixels stay."""
    smooth = images.copy()
    if min(images.shape[1:3]) < 3:
        return smooth
    side, middle = np.float32(1 / 13), np.float32(5 / 13)
    sums: Any = np.float32(0.5)
    height, width = images.shape[1:3]
    for row in (2, 1, 0):  # in the order of Pillow's sums
        line = images[:, row : height - 2 + row].astype(np.float32)
        left, here, right = (line[:, :, c : width - 2 + c] for c in range(3))
        sums = sums + (left * side + here * (middle if row == 1 else side) + right * side)
    smooth[:, 1:-1, 1:-1] = sums.clip(0, 255).astype(np.uint8)
    return smooth


def adjust_hue(images: Array, factor: Any) -> Array:
    """Hues turned by a share of the circle, from -0.5 to 0.5."""
    if images.shape[3] == 1:
        return images
    by = np.asarray(factor, np.float64).reshape(-1) * 255
    turned = np.broadcast_to(by, (len(images),)).astype(np.int64).astype(np.uint8)
    if isinstance(images, np.ndarray):  # seven times as fast, and the same bits
        return np.stack([_turned_by_pillow(image, by) for image, by in zip(images, turned, strict=True)])
    hsv = _hsv(images)
    hsv[..., 0] += module_of(images).asarray(turned).reshape(-1, 1, 1)
    return _rgb(hsv)


def _turned_by_pillow(image: Array, by: Any) -> Array:
    from PIL import Image

    hsv = np.array(Image.fromarray(image).convert("HSV"))
    hsv[..., 0] += by
    return np.asarray(Image.frombytes("HSV", image.shape[1::-1], hsv.tobytes()).convert("RGB"))


def _hsv(images: Array) -> Array:
    """Pillow's HSV: hue, saturation and value in bytes."""
    xp = module_of(images)
    high, low = images.max(axis=3), images.min(axis=3)
    span = (high - low).astype(np.float32)
    safe = xp.where(high == low, np.float32(1), span)
    r, g, b = ((high - images[..., c]).astype(np.float32) / safe for c in range(3))
    # C's literals are doubles: these sums are rounded to float32 once
    second, third = (2.0 + r.astype(np.float64) - b), (4.0 + g.astype(np.float64) - r)
    red, green = images[..., 0] == high, images[..., 1] == high
    hue = xp.where(red, (b - g).astype(np.float32), xp.where(green, second, third).astype(np.float32)).astype(np.float64)
    hue = xp.fmod(hue / 6.0 + 1.0, 1.0).astype(np.float32)
    share = span / xp.where(high == 0, np.float32(1), high.astype(np.float32))
    parts = [(v.astype(np.float64) * 255.0).astype(np.int32).clip(0, 255).astype(np.uint8) for v in (hue, share)]
    return xp.stack([*(xp.where(high == low, np.uint8(0), p) for p in parts), high], axis=-1)


def _rgb(hsv: Array) -> Array:
    xp = module_of(hsv)
    wide = hsv[..., 0].astype(np.float32).astype(np.float64) * 6.0 / 255.0
    sector = xp.floor(wide)
    rest = (wide - sector).astype(np.float32).astype(np.float64)
    share = (hsv[..., 1].astype(np.float32).astype(np.float64) / 255.0).astype(np.float32).astype(np.float64)
    value = hsv[..., 2].astype(np.float64)
    # the product of two floats is rounded to float32 before C takes it from 1.0
    product, other = (share * rest).astype(np.float32), share * (1.0 - rest)
    down = [value * (1.0 - share), value * (1.0 - product.astype(np.float64)), value * (1.0 - other)]
    p, q, t = (xp.floor(v + 0.5).clip(0, 255).astype(np.uint8) for v in down)
    v, sector = hsv[..., 2], sector.astype(np.int32) % 6
    orders = [(v, t, p), (q, v, p), (p, v, t), (p, q, v), (t, p, v), (v, p, q)]
    bands = [xp.select([sector == i for i in range(6)], [order[c] for order in orders]) for c in range(3)]
    return xp.where(hsv[..., 1:2] == 0, hsv[..., 2:], xp.stack(bands, axis=-1))


def posterize(images: Array, bits: Any) -> Array:
    """Only the ``bits`` highest bits of each byte are left."""
    kept = np.broadcast_to(np.asarray(bits, np.int64).reshape(-1, 1, 1), (len(images), 1, 1))
    return look_up(images, (_LEVELS & (256 - (1 << (8 - kept)))).astype(np.uint8))


def solarize(images: Array, threshold: Any) -> Array:
    """Bytes from ``threshold`` on are inverted."""
    edges = np.broadcast_to(np.asarray(threshold, np.float64).reshape(-1, 1, 1), (len(images), 1, 1))
    return look_up(images, np.where(edges > _LEVELS, _LEVELS, 255 - _LEVELS).astype(np.uint8))


def invert(images: Array) -> Array:
    """The negative."""
    return 255 - images


def _histograms(images: Array) -> np.ndarray[Any, Any]:
    """(N, C, 256)."""
    xp = module_of(images)
    count, channels = images.shape[0], images.shape[3]
    rows = xp.arange(count * channels, dtype=np.int64).reshape(count, 1, 1, channels) * 256
    found = xp.bincount((rows + images).ravel(), minlength=count * channels * 256)
    return np.asarray(move(found, "cpu")).reshape(count, channels, 256)


def autocontrast(images: Array) -> Array:
    """Each channel stretched so that its darkest byte is 0 and its brightest 255."""
    seen = _histograms(images) > 0
    low, high = seen.argmax(axis=2)[..., None], 255 - seen[..., ::-1].argmax(axis=2)[..., None]
    scale = 255.0 / np.maximum(high - low, 1)
    tables = (_LEVELS * scale + -low * scale).astype(np.int64).clip(0, 255)
    return look_up(images, np.where(high > low, tables, _LEVELS).astype(np.uint8))


def equalize(images: Array) -> Array:
    """Each channel's bytes mapped so that all are about equally frequent."""
    histograms = _histograms(images)
    last = 255 - (histograms[..., ::-1] > 0).argmax(axis=2)[..., None]
    step = (histograms.sum(axis=2, keepdims=True) - np.take_along_axis(histograms, last, 2)) // 255
    before = np.cumsum(histograms, axis=2) - histograms
    tables = (step // 2 + before) // np.maximum(step, 1)
    plain = (step == 0) | ((histograms > 0).sum(axis=2, keepdims=True) <= 1)
    return look_up(images, np.where(plain, _LEVELS, tables).clip(0, 255).astype(np.uint8))
