// The only file that knows Python: it checks arguments, fills a job, releases the GIL, and calls.
#include <pybind11/pybind11.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "bindings/arguments.h"
#include "bindings/cuda_runtime.h"
#include "bindings/motion.h"
#include "core/crop_normalize.h"
#include "cpu/crop_normalize.h"
#include "cpu/raster.h"
#include "cpu/thread_pool.h"
#include "cpu/variants.h"
#if defined(X2C_WITH_CUDA)
#include "cuda/crop_normalize.h"
#include "cuda/device.h"
#endif

namespace {

// Byte offsets inside a frame are 32-bit integers.
constexpr py::ssize_t kMaxSide = 1 << 24;
constexpr py::ssize_t kMaxPixels = INT32_MAX / 3;
constexpr py::ssize_t kMaxRasterSide = 8192;

void set_frame(x2c::CropJob& job, const Array& frame, const std::string& format) {
    frame.expect_type("uint8");
    frame.expect_contiguous();
    const auto expect = [&frame](bool fits, const char* shape) {
        if (!fits) frame.reject_shape(shape);
    };
    py::ssize_t height = frame.rank() > 0 ? frame.size(0) : 0;
    if (format == "BGR" || format == "RGB") {
        job.format = x2c::PixelFormat::kPacked3;
        expect(frame.rank() == 3 && frame.size(2) == 3, "(H, W, 3)");
    } else if (format == "YUYV") {
        job.format = x2c::PixelFormat::kYuyv;
        expect(frame.rank() == 3 && frame.size(2) == 2 && frame.size(1) % 2 == 0, "(H, W, 2) with W even");
    } else if (format == "NV12") {
        job.format = x2c::PixelFormat::kNv12;
        expect(frame.rank() == 2 && height % 3 == 0 && frame.size(1) % 2 == 0,
               "(H*3/2, W) with H and W even");
        height = height / 3 * 2;
    } else {
        reject("format", "expected 'BGR', 'RGB', 'YUYV' or 'NV12', got '" + format + "'");
    }
    const py::ssize_t width = frame.size(1);
    expect(height > 0 && width > 0, "with at least one pixel");
    if (height >= kMaxSide || width >= kMaxSide || height * width >= kMaxPixels) {
        reject(frame.name(), "is larger than kernels address");
    }
    job.frame = static_cast<const std::uint8_t*>(frame.data());
    job.width = static_cast<std::int32_t>(width);
    job.height = static_cast<std::int32_t>(height);
}

void set_out(x2c::CropJob& job, const Array& out) {
    if (!out.has_type("float16")) out.expect_type("float32");
    out.expect_contiguous();
    out.expect_writable();
    if (out.rank() != 3 || out.size(0) != 3) out.reject_shape("(3, h, w)");
    if (out.size(1) >= kMaxSide || out.size(2) >= kMaxSide)
        reject(out.name(), "is larger than kernels address");
    job.out = out.data();
    job.half = out.has_type("float16");
    job.out_height = static_cast<std::int32_t>(out.size(1));
    job.out_width = static_cast<std::int32_t>(out.size(2));
}

// Device affines are not looked at here: that would wait for the device. The kernel samples black where
// they are not finite.
void set_affine(x2c::CropJob& job, const Array& affine) {
    affine.expect_type("float64");
    affine.expect_contiguous();
    if (affine.rank() != 2 || affine.size(0) != 2 || affine.size(1) != 3) affine.reject_shape("(2, 3)");
    if (affine.on_gpu()) return;
    const auto* values = static_cast<const double*>(affine.data());
    for (int i = 0; i < 6; ++i) {
        if (!std::isfinite(values[i])) reject(affine.name(), "must be finite");
        job.affine[i] = values[i];
    }
}

void crop_normalize(py::handle frame_argument, py::handle affine_argument, py::handle out_argument,
                    const std::string& format, const std::string& order, py::handle mean, py::handle std_,
                    int taps, int threads, std::uintptr_t stream) {
    const Array frame("frame", frame_argument);
    const Array affine("affine", affine_argument);
    const Array out("out", out_argument);
    x2c::CropJob job{};
    set_frame(job, frame, format);
    set_affine(job, affine);
    set_out(job, out);
    set_normalisation(job, format == "BGR" ? "BGR" : "RGB", order, mean, std_, 255.0);
    expect_range("taps", taps, 0, 16);
    expect_range("threads", threads, 1, x2c::kMaxThreads);
    job.taps = taps > 0 || affine.on_gpu() ? taps : x2c::taps_for(job.affine);
    if (job.out_width == 0 || job.out_height == 0) return;
    if (!frame.on_gpu()) {
        if (out.on_gpu()) reject("out", "is on the GPU but frame is not");
        if (affine.on_gpu()) reject("affine", "is on the GPU but frame is not");
        const py::gil_scoped_release unlocked;
        x2c::cpu::crop_normalize(job, threads);
        return;
    }
    if (!out.on_gpu()) reject("out", "is not on the GPU but frame is");
#if defined(X2C_WITH_CUDA)
    const auto* device_affine = affine.on_gpu() ? static_cast<const double*>(affine.data()) : nullptr;
    const py::gil_scoped_release unlocked;
    x2c::cuda::crop_normalize(job, device_affine, stream);
#else
    static_cast<void>(stream);
    reject("frame", "is on the GPU, but these kernels were built without CUDA");
#endif
}

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
    const py::gil_scoped_release unlocked;
    x2c::cpu::rasterise(job, threads);
}

int cuda_device_count() {
#if defined(X2C_WITH_CUDA)
    const py::gil_scoped_release unlocked;
    return x2c::cuda::device_count();
#else
    return 0;
#endif
}

constexpr bool cuda_built() {
#if defined(X2C_WITH_CUDA)
    return true;
#else
    return false;
#endif
}

constexpr std::pair<const char*, x2c::cpu::Variant> kVariants[] = {{"baseline", x2c::cpu::Variant::kBaseline},
                                                                   {"avx2", x2c::cpu::Variant::kAvx2}};

py::list cpu_variants() {
    py::list names;
    for (const auto& [name, variant] : kVariants) {
        if (x2c::cpu::supported(variant)) names.append(name);
    }
    return names;
}

std::string cpu_variant() {
    for (const auto& [name, variant] : kVariants) {
        if (variant == x2c::cpu::current_variant()) return name;
    }
    return "";
}

void set_cpu_variant(const std::string& wanted) {
    for (const auto& [name, variant] : kVariants) {
        if (wanted == name && x2c::cpu::supported(variant)) return x2c::cpu::set_variant(variant);
    }
    reject("name", "expected one of " + text(cpu_variants()) + ", got '" + wanted + "'");
}

constexpr const char* kCropNormalizeDoc =
    R"(Affine crop of a camera frame, normalised and planar: one pass over the pixels that are needed.

frame: uint8, C-contiguous, as in frames.Frame: BGR or RGB (H, W, 3), YUYV (H, W, 2), NV12 (H*3/2, W).
affine: (2, 3) float64; maps OUTPUT pixel (x, y, 1) to FRAME pixel; (0, 0) is a pixel's centre.
out: (3, h, w) float32 or float16, C-contiguous, overwritten:
    out[c] = (colour[c] / 255 - mean[c]) / std[c], c in `order`.

Sampling is bilinear; each corner outside the frame counts as RGB (0, 0, 0) before normalisation. With
taps = n, an output pixel is the mean of n x n samples spread evenly over it; 0 chooses as few as lie
at most 1.5 frame pixels apart, at most 4. YUYV and NV12 are BT.601
limited range; a luma pixel has the chroma sample of its pair or 2x2 block; Y, U and V are interpolated
and averaged over the taps, then converted, then clamped to 0..255.

threads: 1..64, the caller's included. Calls may come from several Python threads; the GIL is released.
GPU: frame and out (and affine, if it is to be read when the kernel runs) have __cuda_array_interface__;
the work is enqueued on `stream` (a cudaStream_t as int) of the current device and nothing waits.

Raises ValueError naming the argument, RuntimeError naming the CUDA call.)";

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

PYBIND11_MODULE(_kernels, module) {
    module.doc() = "Native kernels of x2c-edge (csrc/).";
    module.def("crop_normalize", &crop_normalize, kCropNormalizeDoc, py::arg("frame"), py::arg("affine"),
               py::arg("out"), py::kw_only(), py::arg("format") = "BGR", py::arg("order") = "RGB",
               py::arg("mean") = py::make_tuple(0.0, 0.0, 0.0),
               py::arg("std") = py::make_tuple(1.0, 1.0, 1.0), py::arg("taps") = 1, py::arg("threads") = 1,
               py::arg("stream") = 0);
    module.def("rasterise", &rasterise, kRasteriseDoc, py::arg("vertices"), py::arg("shade"), py::arg("uv"),
               py::arg("triangles"), py::arg("texture"), py::arg("out"), py::kw_only(), py::arg("lights"),
               py::arg("ambient"), py::arg("camera"), py::arg("samples") = 2, py::arg("threads") = 1);
    define_motion_kernels(module);
    define_cuda_runtime(module);
    module.def("cuda_built", &cuda_built, "Whether the CUDA kernels were compiled in.");
    module.def("cuda_device_count", &cuda_device_count, "Usable CUDA devices; 0 without a driver.");
    module.def("cpu_variants", &cpu_variants,
               "Instruction sets that the CPU kernels can use here: 'baseline', 'avx2'.");
    module.def("cpu_variant", &cpu_variant, "The one in use: the last of cpu_variants() unless it was set.");
    module.def("set_cpu_variant", &set_cpu_variant, py::arg("name"),
               "Choose one of cpu_variants() for the whole process; for tests and comparisons.");
}
