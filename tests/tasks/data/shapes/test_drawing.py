from __future__ import annotations

import numpy as np
import pytest

from ltrp_bench.tasks.data.shapes.drawing import OUTLINES, STUFF, TEXTURES, hsv, outline_area, paint, power_noise

AXIS = np.linspace(-2, 2, 401)
U, V = np.meshgrid(AXIS, AXIS)
COLORS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("disc", np.pi),
        ("square", 4.0),
        ("bar", 2.9),
        ("ring", np.pi * (1.1**2 - 0.5**2)),
        ("triangle", 1.8**2 / 3**0.5),
    ],
)
def test_areas_of_outlines(name: str, area: float) -> None:
    assert outline_area(name) == pytest.approx(area, rel=0.01)


@pytest.mark.parametrize("name", OUTLINES)
def test_outlines_fit_their_window(name: str) -> None:
    """The world draws an outline in a window of 1.6 units of scale around its center."""
    inside = OUTLINES[name](U, V)
    assert inside.any() and np.hypot(U, V)[inside].max() < 1.6


@pytest.mark.parametrize(
    ("texture", "at", "color"),
    [
        ("plain", (0.5, 0.5), 0),
        ("halves", (0.5, 0.0), 1),
        ("halves", (-0.5, 0.0), 0),
        ("quarters", (0.5, 0.5), 0),
        ("quarters", (0.5, -0.5), 1),
        ("rim", (0.9, 0.0), 1),
        ("rim", (0.5, 0.0), 0),
        ("spots", (0.0, 0.0), 1),
        ("spots", (0.35, 0.0), 0),
        ("core", (0.0, 0.0), 1),
        ("core", (0.6, 0.0), 0),
        ("bands", (0.0, 0.5), 0),
        ("bands", (0.0, 0.0), 1),
        ("bands", (0.0, -0.5), 2),
        ("gradient", (-1.0, 0.0), 0),
        ("gradient", (1.0, 0.0), 1),
    ],
)
def test_textures(texture: str, at: tuple[float, float], color: int) -> None:
    u, v = (np.array([[value]]) for value in at)
    np.testing.assert_allclose(paint(texture, "disc", u, v, COLORS)[0, 0], COLORS[color], atol=1e-9)


def test_every_texture_is_tested_and_others_are_refused() -> None:
    assert len(TEXTURES) == len(OUTLINES) == 8
    with pytest.raises(ValueError, match="unknown texture 'fur'"):
        paint("fur", "disc", U, V, COLORS)


def test_noise_has_unit_spread_and_the_spectrum_it_says() -> None:
    noise = power_noise(np.random.default_rng(0), 128, 1.5, 8)
    assert noise.shape == (8, 128, 128)
    np.testing.assert_allclose(noise.mean((1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(noise.std((1, 2)), 1)
    power = (np.abs(np.fft.rfft2(noise)) ** 2).mean(0)
    f = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128)[None])
    band = (f > 0.03) & (f < 0.4)
    slope = np.polyfit(np.log(f[band]), np.log(power[band]), 1)[0]
    assert slope == pytest.approx(-3.0, abs=0.15)


@pytest.mark.parametrize("stuff", STUFF)
def test_stuff_depends_on_the_generator_alone(stuff) -> None:  # type: ignore[no-untyped-def]
    y, x = np.mgrid[0:32, 0:32] + 0.5
    one, same = (stuff(np.random.default_rng(3), x, y) for _ in range(2))
    assert one.shape == (32, 32) and np.array_equal(one, same)


@pytest.mark.parametrize(
    ("color", "rgb"),
    [((0, 1, 1), (1, 0, 0)), ((1 / 3, 1, 1), (0, 1, 0)), ((2 / 3, 1, 0.5), (0, 0, 0.5)), ((0.2, 0, 0.7), (0.7,) * 3)],
)
def test_hsv(color: tuple[float, float, float], rgb: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(hsv(*color), rgb, atol=1e-12)
