// The generated face as the mapping network's input.
#include <cstdint>
#include <string>

#include "../cpu/face_to_mapping.h"
#include "../cpu/thread_pool.h"
#include "arguments.h"
#include "module.h"
#if defined(X2C_WITH_CUDA)
#include "../cuda/motion.h"
#endif

namespace x2c::bindings {

namespace {

void face_to_mapping(py::handle image_argument, py::handle out_argument, const std::string& resize,
                     const std::string& order, py::handle mean, py::handle std_, int threads,
                     std::uintptr_t stream) {
    const Array image("image", image_argument);
    const Array out("out", out_argument);
    expect_same_device({&image, &out});
    x2c::FaceToMappingJob job{};
    job.image_half = is_half(image);
    job.out_half = is_half(out);
    image.expect_contiguous();
    expect_output(out);
    for (const Array* array : {&image, &out}) {
        const bool fits = array->rank() == 3 && array->size(0) == 3;
        for (int axis = 1; axis < 3; ++axis) {
            if (!fits || array->size(axis) < 1 || array->size(axis) > x2c::kMaxResizeSide)
                array->reject_shape("(3, H, W) with sides in 1.." + std::to_string(x2c::kMaxResizeSide));
        }
    }
    if (resize != "area" && resize != "bilinear")
        reject("resize", "expected 'area' or 'bilinear', got '" + resize + "'");
    const auto kind = resize == "area" ? x2c::Resize::kArea : x2c::Resize::kBilinear;
    job.y = {static_cast<std::int32_t>(image.size(1)), static_cast<std::int32_t>(out.size(1)), kind};
    job.x = {static_cast<std::int32_t>(image.size(2)), static_cast<std::int32_t>(out.size(2)), kind};
    set_normalisation(job, "RGB", order, mean, std_, 1.0);
    expect_range("threads", threads, 1, x2c::kMaxThreads);
    job.image = image.data();
    job.out = out.data();
    dispatch(
        image, [&] { x2c::cpu::face_to_mapping(job, threads); }, X2C_ON_GPU(face_to_mapping(job, stream)));
    static_cast<void>(stream);
}

constexpr const char* kFaceToMappingDoc =
    R"(The generated face as the mapping network's input, without the 8-bit step in between.

image: (3, H, W) float32 or float16, RGB in 0..1 (not clipped). out: (3, h, w) float32 or float16:
    out[c] = (resized[c] - mean[c]) / std[c], c in `order`. Sides are 1..2048.
resize: "area", the mean over what an output pixel covers (OpenCV's INTER_AREA when shrinking), or
    "bilinear", antialiased: a triangle as wide as two output pixels, or two input pixels when enlarging;
    half-pixel centres.

Everything is C-contiguous, and the two do not overlap; arithmetic is float32. threads: 1..64, the result
does not depend on it. Both arrays on the CPU or both on the GPU (enqueued on `stream`).
Raises ValueError naming the argument, RuntimeError naming the CUDA call.)";

}  // namespace

void define_mapping(py::module_& module) {
    const auto arg = [](const char* name) { return py::arg(name); };
    module.def("face_to_mapping", &face_to_mapping, kFaceToMappingDoc, arg("image"), arg("out"),
               py::kw_only(), arg("resize") = "area", arg("order") = "BGR",
               arg("mean") = py::make_tuple(0.0, 0.0, 0.0), arg("std") = py::make_tuple(1.0, 1.0, 1.0),
               arg("threads") = 1, arg("stream") = 0);
}

}  // namespace x2c::bindings
