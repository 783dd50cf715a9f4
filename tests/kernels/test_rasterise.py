"""rasterise against what geometry says: areas, order in depth, no cracks, light, independence of threads."""

from __future__ import annotations

import numpy as np
import pytest

from x2c_edge import _kernels

SIZE = 48
FOCAL = 48.0  # at distance 1, half a unit reaches from the middle to the edge of the picture
MIDDLE = (SIZE - 1) / 2


def draw(vertices, triangles, /, *, out=None, colour=(255, 255, 255), gloss=0, **changes):
    """White light from the camera's side of strength 1, so that a facing white surface is 255."""
    vertices = np.asarray(vertices, np.float32)
    count = len(vertices)
    out = np.zeros((SIZE, SIZE, 3), np.uint8) if out is None else out
    arguments = {
        "vertices": vertices,
        "shade": np.ones(count, np.float32),
        "uv": np.zeros((count, 2), np.float32),
        "triangles": np.asarray(triangles, np.int32),
        "texture": np.full((1, 1, 4), (*colour, gloss), np.uint8),
        "out": out,
        "lights": np.array([[0, 0, 1, 1, 1, 1]], np.float32),
        "ambient": np.zeros((2, 3), np.float32),
        "camera": (FOCAL, MIDDLE, MIDDLE),
    } | changes
    _kernels.rasterise(**arguments)
    return arguments["out"]


def square(half, z=-1.0):
    return [[-half, half, z], [-half, -half, z], [half, -half, z], [half, half, z]], [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_a_whole_square_is_flat_and_its_border_is_exact(samples):
    image = draw(*square(0.25), samples=samples)
    assert (image[12:36, 12:36] == 255).all()
    assert image.astype(int).sum() == 24 * 24 * 3 * 255


def test_anti_aliasing_gives_the_area():
    vertices = [[0.0, 0.31, -1], [-0.37, -0.23, -1], [0.29, -0.11, -1]]
    image = draw(vertices, [[0, 1, 2]], samples=4) / 255.0
    (ax, ay, _), (bx, by, _), (cx, cy, _) = vertices
    area = abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2 * FOCAL**2
    assert np.square(image[..., 0]).sum() == pytest.approx(area, rel=0.01)  # linear light


def test_the_nearer_surface_wins_in_any_order():
    near, far = square(0.1, -1.0), square(0.4, -2.0)
    both = np.array(near[0] + far[0], np.float32)
    shade = np.array([1.0] * 4 + [0.25] * 4, np.float32)
    front, back = np.array(near[1]), np.array(far[1]) + 4
    first = draw(both, np.concatenate([front, back]), shade=shade)
    second = draw(both, np.concatenate([back, front]), shade=shade)
    np.testing.assert_array_equal(first, second)
    assert first[24, 24, 0] == 255
    assert first[24, 16, 0] == 128  # a quarter of the light


def test_a_mesh_of_random_points_has_no_cracks():
    rng = np.random.default_rng(3)
    n = 30
    x, y = np.meshgrid(np.linspace(-0.7, 0.7, n), np.linspace(0.7, -0.7, n))
    jitter = rng.uniform(-0.015, 0.015, (2, n, n))
    vertices = np.stack([x + jitter[0], y + jitter[1], rng.uniform(-1.01, -1.0, (n, n))], -1).reshape(-1, 3)
    grid = np.arange(n * n).reshape(n, n)
    a, b, d, e = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
    triangles = np.concatenate(
        [np.stack([a, d, e], -1).reshape(-1, 3), np.stack([a, e, b], -1).reshape(-1, 3)]
    )
    green = np.zeros((SIZE, SIZE, 3), np.uint8)
    green[..., 1] = 255
    image = draw(vertices, triangles, colour=(255, 0, 255), out=green, samples=4)
    assert (image[..., 1] == 0).all()


def test_background_stays_where_nothing_is_drawn():
    rng = np.random.default_rng(0)
    background = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    image = draw(*square(0.25), out=background.copy())
    image[12:36, 12:36] = background[12:36, 12:36]
    np.testing.assert_array_equal(image, background)


def test_the_inside_is_dark_and_things_behind_the_camera_are_not_drawn():
    vertices, triangles = square(0.25)
    assert draw(vertices, np.array(triangles)[:, ::-1].copy()).max() < 25
    assert not draw(np.array(vertices) * [1, 1, -1], triangles).any()
    assert not draw(np.add(vertices, [50, 0, 0]), triangles).any()
    assert not draw(np.array(vertices) * np.nan, triangles).any()


def test_light_falls_with_the_angle_and_texture_is_interpolated():
    vertices, triangles = square(0.25)
    side = draw(vertices, triangles, lights=np.array([[1, 0, 0, 1, 1, 1]], np.float32))
    assert side[24, 24, 0] == round(255 * np.sqrt(0.2))  # wrapped: (0 + 0.25) / 1.25
    texture = np.zeros((1, 2, 4), np.uint8)
    texture[0, 1, :3] = 255
    uv = np.array([[0, 0], [0, 0], [1, 0], [1, 0]], np.float32)
    ramp = draw(vertices, triangles, texture=texture, uv=uv)[24, 12:36, 0].astype(float)
    np.testing.assert_allclose(ramp, 255 * (np.arange(24) + 0.5) / 24, atol=1)


def test_threads_do_not_change_the_picture():
    rng = np.random.default_rng(1)
    vertices = rng.uniform(-0.5, 0.5, (300, 3)) - [0, 0, 2]
    triangles = rng.integers(0, 300, (500, 3))
    shade = rng.uniform(0, 1, 300).astype(np.float32)
    one = draw(vertices, triangles, shade=shade, gloss=200)
    three = draw(vertices, triangles, shade=shade, gloss=200, threads=3)
    assert one.any()
    np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("vertices", np.zeros((4, 2), np.float32)),
        ("vertices", np.zeros((4, 3))),
        ("shade", np.ones(3, np.float32)),
        ("uv", np.zeros((4, 3), np.float32)),
        ("triangles", np.array([[0, 1, 4]], np.int32)),
        ("triangles", np.array([[0, 1, -1]], np.int32)),
        ("triangles", np.array([[0, 1, 2]], np.int64)),
        ("texture", np.zeros((2, 2, 3), np.uint8)),
        ("texture", np.zeros((0, 2, 4), np.uint8)),
        ("out", np.zeros((SIZE, SIZE, 4), np.uint8)),
        ("out", np.zeros((SIZE, SIZE, 6), np.uint8)[..., ::2]),
        ("lights", np.zeros((5, 6), np.float32)),
        ("ambient", np.zeros((3, 2), np.float32)),
        ("camera", (1.0, 2.0)),
        ("camera", (np.nan, 0, 0)),
        ("samples", 5),
        ("threads", 0),
    ],
)
def test_what_does_not_fit_is_named(argument, value):
    with pytest.raises(ValueError, match=f"^{argument}: "):
        draw(*square(0.25), **{argument: value})
