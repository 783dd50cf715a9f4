"""rasterise against what geometry says: areas, order in depth, no cracks, light, independence of threads."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from x2c_edge import _kernels
from x2c_edge.controls import SAFE_HIGH, SAFE_LOW
from x2c_edge.robot.face import AmecaFace, Scene

pytestmark = pytest.mark.usefixtures("every_variant")

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


def test_shading_is_that_of_a_float64_reference():
    """One lit, textured triangle that fills the picture. A level: what rounding to a byte may turn over."""
    rng = np.random.default_rng(5)
    vertices = np.array([[-3, -2.2, -1.5], [3.5, -1.8, -2.0], [0.2, 4, -2.5]], np.float32)
    shade = np.array([0.4, 0.9, 1.1], np.float32)
    uv = rng.uniform(-0.5, 6, (3, 2)).astype(np.float32)
    texture = rng.integers(0, 256, (5, 6, 4), dtype=np.uint8)
    directions = np.array([[0.3, 0.5, 1], [-1, 0.2, 0.4], [0.1, -1, 0.1], [0, 0.2, -1]])
    lights = np.hstack([directions, rng.uniform(0.1, 0.4, (4, 3))]).astype(np.float32)
    ambient = rng.uniform(0, 0.2, (2, 3)).astype(np.float32)
    image = draw(
        vertices, [[0, 1, 2]], shade=shade, uv=uv, texture=texture, lights=lights, ambient=ambient, samples=1
    )

    at = vertices.astype(np.float64)
    screen = np.stack([MIDDLE - FOCAL * at[:, 0] / at[:, 2], MIDDLE + FOCAL * at[:, 1] / at[:, 2]], 1)
    y, x = np.mgrid[:SIZE, :SIZE]
    edges = np.stack([screen[1] - screen[0], screen[2] - screen[0]], 1)
    weight = np.stack([x - screen[0, 0], y - screen[0, 1]], -1) @ np.linalg.inv(edges).T
    weight = np.concatenate([1 - weight.sum(-1, keepdims=True), weight], -1)
    assert (weight > 0).all()
    normal = np.cross(at[1] - at[0], at[2] - at[0])
    normal /= np.linalg.norm(normal)
    u, v = np.moveaxis(np.clip(weight @ uv, 0, [5, 4]), -1, 0)
    u0, v0 = u.astype(int), v.astype(int)
    u1, v1 = np.minimum(u0 + 1, 5), np.minimum(v0 + 1, 4)
    fu, fv = (u - u0)[..., None], (v - v0)[..., None]
    above = texture[v0, u0] * (1 - fu) + texture[v0, u1] * fu
    texel = (above * (1 - fv) + (texture[v1, u0] * (1 - fu) + texture[v1, u1] * fu) * fv) / 255
    shaded = weight @ shade
    gloss = texel[..., 3] * np.minimum(shaded, 1)
    sky = 0.5 + 0.5 * normal[1]
    diffuse = np.broadcast_to(ambient[1] + (ambient[0] - ambient[1]) * sky, (SIZE, SIZE, 3))
    specular = np.zeros((SIZE, SIZE, 3))
    for light in lights.astype(np.float64):
        towards = light[:3] / np.linalg.norm(light[:3])
        half = towards + np.array([0, 0, 1])
        half /= np.linalg.norm(half)
        lit = (normal @ towards + 0.25) / 1.25
        if lit > 0:
            s = max(normal @ half, 0)
            shine = 0.35 * gloss * (1 - gloss**2) * s**16 + 3 * gloss**3 * s**128
            diffuse = diffuse + light[3:] * lit
            specular = specular + light[3:] * shine[..., None]
    wanted = texel[..., :3] ** 2 * shaded[..., None] * diffuse + specular
    np.testing.assert_allclose(image, np.sqrt(np.minimum(wanted, 1)) * 255, atol=1)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_every_instruction_set_draws_the_same_picture(samples, every_variant):
    """To the last bit: a data set does not depend on the machine that made it."""
    face = AmecaFace(77, Scene.random(3), samples=samples)
    values = np.random.default_rng(2).uniform(SAFE_LOW, SAFE_HIGH)
    picture = face.render(values)
    _kernels.set_cpu_variant("baseline")
    np.testing.assert_array_equal(picture, face.render(values))


def test_threads_do_not_change_the_picture():
    rng = np.random.default_rng(1)
    vertices = rng.uniform(-0.5, 0.5, (300, 3)) - [0, 0, 2]
    triangles = rng.integers(0, 300, (500, 3))
    shade = rng.uniform(0, 1, 300).astype(np.float32)
    one = draw(vertices, triangles, shade=shade, gloss=200)
    three = draw(vertices, triangles, shade=shade, gloss=200, threads=3)
    assert one.any()
    np.testing.assert_array_equal(one, three)


def test_memory_that_runs_out_in_a_helper_is_a_memory_error():
    script = textwrap.dedent(
        """
        import resource
        import numpy as np
        from pathlib import Path
        from tests.kernels.test_rasterise import draw, square
        vertices, triangles = square(9.0)
        draw(vertices, triangles, threads=3)  # the helpers exist
        out = np.zeros((64, 8192, 3), np.uint8)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (6 << 20),) * 2)  # a band takes 8 MB
        try:
            bytearray(64 << 20)
            print("no limit")  # an emulator's
        except MemoryError:
            pass
        try:
            draw(vertices, triangles, out=out, samples=4, threads=3)
        except MemoryError:
            print("caught")
        """
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, text=True, capture_output=True)
    if "no limit" in done.stdout:
        pytest.skip("this system does not limit memory")
    assert done.stdout == "caught\n"


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
