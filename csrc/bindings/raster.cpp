// The virtual robot's renderer.
#include "../cpu/raster.h"

#include <cstdint>
#include <string>

#include "../cpu/thread_pool.h"
#include "arguments.h"
#include "module.h"

namespace x2c::bindings {

namespace {

constexpr py::ssize_t kMaxRasterSide = 8192;

// Indices are checked here, once a call, so that the kernel need not.
void set_mesh(x2c::RasterJob& job, const Array& vertices, const Array& shade, const Array& uv,
              const Array& triangles) {
    const auto expect = [](const Array& array, const char* type, bool fits, const char* shape) {
        array.expect_type(type);
        array.expect_contiguous();
        if (array.on_gpu()) reject(array.name(), "must be on the CPU");
        if (!fits) array.reject_shape(shape);
    };
    expect(vertices, "float32", vertices.rank() == 2 && vertices.size(1) == 3, "(V, 3)");
    const py::ssize_t count = vertices.size(0);
    expect(shade, "float32", shade.rank() == 1 && shade.size(0) == count, "(V,) with V as in vertices");
    expect(uv, "float32", uv.rank() == 2 && uv.size(0) == count && uv.size(1) == 2,
           "(V, 2) with V as in vertices");
    expect(triangles, "int32", triangles.rank() == 2 && triangles.size(1) == 3, "(T, 3)");
    if (count > kMaxPixels) reject(vertices.name(), "is larger than kernels address");
    if (triangles.size(0) > kMaxPixels) reject(triangles.name(), "is larger than kernels address");
    job.vertices = static_cast<const float*>(vertices.data());
    job.shade = static_cast<const float*>(shade.data());
    job.uv = static_cast<const float*>(uv.data());
    job.triangles = static_cast<const std::int32_t*>(triangles.data());
    job.vertex_count = static_cast<std::int32_t>(count);
    job.triangle_count = static_cast<std::int32_t>(triangles.size(0));
    for (py::ssize_t i = 0; i < 3 * triangles.size(0); ++i) {
        if (job.triangles[i] < 0 || job.triangles[i] >= job.vertex_count) {
            reject(triangles.name(), "vertex " + std::to_string(job.triangles[i]) + " is not in 0.." +
                                         std::to_string(job.vertex_count - 1));
        }
    }
}

void set_lighting(x2c::RasterJob& job, const Array& lights, const Array& ambient) {
    for (const Array* array : {&lights, &ambient}) {
        array->expect_type("float32");
        array->expect_contiguous();
        if (array->on_gpu()) reject(array->name(), "must be on the CPU");
    }
    if (lights.rank() != 2 || lights.size(0) > x2c::kMaxLights || lights.size(1) != 6) {
        lights.reject_shape("(L, 6) with L at most " + std::to_string(x2c::kMaxLights));
    }
    if (ambient.rank() != 2 || ambient.size(0) != 2 || ambient.size(1) != 3) ambient.reject_shape("(2, 3)");
    job.lights = static_cast<const float*>(lights.data());
    job.light_count = static_cast<std::int32_t>(lights.size(0));
    job.ambient = static_cast<const float*>(ambient.data());
}

void rasterise(py::handle vertices_argument, py::handle shade_argument, py::handle uv_argument,
               py::handle triangles_argument, py::handle texture_argument, py::handle out_argument,
               py::handle lights_argument, py::handle ambient_argument, py::handle camera, int samples,
               int threads) {
    const Array vertices("vertices", vertices_argument);
    const Array shade("shade", shade_argument);
    const Array uv("uv", uv_argument);
    const Array triangles("triangles", triangles_argument);
    const Array texture("texture", texture_argument);
    const Array out("out", out_argument);
    const Array lights("lights", lights_argument);
    const Array ambient("ambient", ambient_argument);
    x2c::RasterJob job{};
    set_mesh(job, vertices, shade, uv, triangles);
    set_lighting(job, lights, ambient);
    for (const Array* image : {&texture, &out}) {
        const bool is_out = image == &out;
        image->expect_type("uint8");
        image->expect_contiguous();
        if (image->on_gpu()) reject(image->name(), "must be on the CPU");
        if (image->rank() != 3 || image->size(2) != (is_out ? 3 : 4) || image->size(0) < 1 ||
            image->size(1) < 1) {
            image->reject_shape(is_out ? "(H, W, 3)" : "(h, w, 4)");
        }
        if (image->size(0) > kMaxRasterSide || image->size(1) > kMaxRasterSide) {
            reject(image->name(), "is larger than kernels address");
        }
    }
    out.expect_writable();
    const auto optics = three_numbers("camera", camera);
    expect_range("samples", samples, 1, 4);
    expect_range("threads", threads, 1, x2c::kMaxThreads);
    job.texture = static_cast<const std::uint8_t*>(texture.data());
    job.texture_height = static_cast<std::int32_t>(texture.size(0));
    job.texture_width = static_cast<std::int32_t>(texture.size(1));
    job.out = static_cast<std::uint8_t*>(out.data());
    job.height = static_cast<std::int32_t>(out.size(0));
    job.width = static_cast<std::int32_t>(out.size(1));
    job.focal = static_cast<float>(optics[0]);
    job.centre_x = static_cast<float>(optics[1]);
    job.centre_y = static_cast<float>(optics[2]);
    job.samples = samples;
    const Unlocked unlocked;
    x2c::cpu::rasterise(job, threads);
}

constexpr const char* kRasteriseDoc =
    R"(Draws a textured triangle mesh over a picture: z-buffer, per-sample normals, anti-aliased.

vertices: (V, 3) float32 in view space: x right, y up, z towards the camera, which is at the origin; only
    triangles wholly in front of it (z < 0) are drawn. Smooth normals are made from the mesh itself.
shade: (V,) float32, multiplies the surface's colour. uv: (V, 2) float32, column and row of the texture in
    texels, (0, 0) the first one's centre. triangles: (T, 3) int32, anticlockwise as seen from outside;
    the other side is drawn nearly black.
texture: (h, w, 4) uint8: colour in the order of `out`, gamma 2, and gloss.
out: (H, W, 3) uint8, holds the background and receives the picture.
lights: (L, 6) float32, L <= 4: direction towards the light, colour (linear, order of `out`).
ambient: (2, 3) float32: linear light from above and from below.
camera: focal length, centre column, centre row, in pixels of `out`; (0, 0) is a pixel's centre.
samples: 1..4 a side of every pixel. threads: 1..64; the picture does not depend on it.

Everything is C-contiguous and on the CPU; the GIL is released. Raises ValueError naming the argument.)";

}  // namespace

void define_raster(py::module_& module) {
    module.def("rasterise", &rasterise, kRasteriseDoc, py::arg("vertices"), py::arg("shade"), py::arg("uv"),
               py::arg("triangles"), py::arg("texture"), py::arg("out"), py::kw_only(), py::arg("lights"),
               py::arg("ambient"), py::arg("camera"), py::arg("samples") = 2, py::arg("threads") = 1);
}

}  // namespace x2c::bindings
