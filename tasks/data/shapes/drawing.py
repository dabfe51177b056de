"""Outlines, object textures and background textures of `shapes`, in NumPy with float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

Array = np.ndarray
Rng = np.random.Generator


def _disc(u: Array, v: Array) -> Array:
    return np.hypot(u, v) < 1


def _square(u: Array, v: Array) -> Array:
    return np.maximum(np.abs(u), np.abs(v)) < 1


def _triangle(u: Array, v: Array) -> Array:
    return (v > -0.6) & (np.sqrt(3) * np.abs(u) + v < 1.2)


def _star(u: Array, v: Array) -> Array:
    angle = np.mod(np.arctan2(v, u), 2 * np.pi / 5) - np.pi / 5
    return np.hypot(u, v) * (1 + 1.1 * (1 - np.abs(angle) / (np.pi / 5))) < 1.25


def _cross(u: Array, v: Array) -> Array:
    a, b = np.abs(u), np.abs(v)
    return (np.minimum(a, b) < 0.38) & (np.maximum(a, b) < 1.05)


def _ring(u: Array, v: Array) -> Array:
    r = np.hypot(u, v)
    return (r < 1.1) & (r > 0.5)


def _crescent(u: Array, v: Array) -> Array:
    return (np.hypot(u + 0.2, v) < 1.05) & (np.hypot(u - 0.65, v) > 0.75)


def _bar(u: Array, v: Array) -> Array:
    return (np.abs(u) < 1.45) & (np.abs(v) < 0.5)


OUTLINES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "crescent": _crescent,
    "bar": _bar,
}


@lru_cache(maxsize=len(OUTLINES))
def outline_area(name: str) -> float:
    """Area of an outline in its own units, by which all can be drawn at the same area."""
    axis = np.linspace(-2, 2, 801)
    u, v = np.meshgrid(axis, axis)
    return float(OUTLINES[name](u, v).mean() * 16)


def paint(texture: str, outline: str, u: Array, v: Array, colours: Array) -> Array:
    """Colors of an object at its own coordinates.

    Args:
        texture: one of `TEXTURES`.
        outline: one of `OUTLINES`; a rim follows it.
        u, v: [h, w] object coordinates; |u| and |v| are about 1 at the edge.
        colours: [3, 3] first, second and third RGB color in [0, 1].

    Returns:
        [h, w, 3] RGB in [0, 1].
    """
    first, second = colours[0], colours[1]
    where: Array
    if texture == "plain":
        where = np.zeros(u.shape, bool)
    elif texture == "halves":
        where = u > 0
    elif texture == "rim":
        where = ~OUTLINES[outline](u / 0.68, v / 0.68)
    elif texture == "quarters":
        where = (u > 0) ^ (v > 0)
    elif texture == "spots":
        where = np.hypot(np.mod(u + 0.35, 0.7) - 0.35, np.mod(v + 0.35, 0.7) - 0.35) < 0.21
    elif texture == "core":
        where = np.hypot(u + 0.45 * (outline == "crescent"), v) < 0.48
    elif texture == "bands":
        band = np.where(v > 0.33, 0, np.where(v > -0.33, 1, 2))
        return colours[band]
    elif texture == "gradient":
        t = np.clip(0.5 + 0.55 * u, 0, 1)[..., None]
        return first * (1 - t) + second * t
    else:
        raise ValueError(f"unknown texture {texture!r}")
    return np.where(where[..., None], second, first)


TEXTURES = ("plain", "halves", "rim", "quarters", "spots", "gradient", "bands", "core")


@lru_cache(maxsize=4)
def _frequencies(size: int) -> Array:
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    f[0, 0] = 1.0 / size
    return f


def power_noise(rng: Rng, size: int, exponent: float, planes: int) -> Array:
    """Noise with the amplitude spectrum 1 / f^exponent; natural images have an exponent of about 1.

    Field, "Relations between the statistics of natural images and the response properties of cortical cells", JOSA A
    1987.

    Returns:
        [planes, size, size], each plane with zero mean and unit standard deviation.
    """
    spectrum = np.fft.rfft2(rng.standard_normal((planes, size, size)))
    spectrum *= _frequencies(size) ** -exponent
    spectrum[:, 0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(size, size))
    return noise / noise.std(axis=(1, 2), keepdims=True)


def _stripes(rng: Rng, x: Array, y: Array) -> Array:
    period, angle, phase = rng.uniform(4, 11), rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period) + phase)
    return np.clip(wave * rng.uniform(1, 4), -1, 1)


def _checks(rng: Rng, x: Array, y: Array) -> Array:
    period, angle = rng.uniform(6, 14), rng.uniform(0, np.pi)
    a = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period))
    b = np.sin((y * np.cos(angle) - x * np.sin(angle)) * (2 * np.pi / period))
    return np.clip(6 * a * b, -1, 1)


def _grain(rng: Rng, x: Array, y: Array) -> Array:
    return rng.standard_normal(x.shape) * 0.8


def _foliage(rng: Rng, x: Array, y: Array) -> Array:
    size = len(x)
    f, centre = _frequencies(size), rng.uniform(0.08, 0.2)
    band = np.exp(-((np.log(f / centre) / 0.5) ** 2))
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * band, s=(size, size))
    return np.clip(1.2 * noise / noise.std(), -1.3, 1.3)


def _smooth(rng: Rng, x: Array, y: Array) -> Array:
    return np.zeros(x.shape)


STUFF = (_stripes, _checks, _grain, _foliage, _smooth)


def hsv(h: float, s: float, v: float) -> Array:
    """[3] RGB in [0, 1] of hue, saturation and value in [0, 1]."""
    k = np.mod(np.array([5.0, 3.0, 1.0]) + 6 * h, 6)
    return v * (1 - s * np.clip(np.minimum(k, 4 - k), 0, 1))
