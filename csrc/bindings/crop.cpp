// The crop from a camera's frame.
#include <cmath>
#include <cstdint>
#include <string>

#include "../core/crop_normalize.h"
#include "../cpu/crop_normalize.h"
#include "../cpu/thread_pool.h"
#include "arguments.h"
#include "module.h"
#if defined(X2C_WITH_CUDA)
#include "../cuda/crop_normalize.h"
#endif

namespace x2c::bindings {

namespace {

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
        const Unlocked unlocked;
        x2c::cpu::crop_normalize(job, threads);
        return;
    }
    if (!out.on_gpu()) reject("out", "is not on the GPU but frame is");
#if defined(X2C_WITH_CUDA)
    const auto* device_affine = affine.on_gpu() ? static_cast<const double*>(affine.data()) : nullptr;
    const Unlocked unlocked;
    x2c::cuda::crop_normalize(job, device_affine, stream);
#else
    static_cast<void>(stream);
    reject("frame", "is on the GPU, but these kernels were built without CUDA");
#endif
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

}  // namespace

void define_crop(py::module_& module) {
    module.def("crop_normalize", &crop_normalize, kCropNormalizeDoc, py::arg("frame"), py::arg("affine"),
               py::arg("out"), py::kw_only(), py::arg("format") = "BGR", py::arg("order") = "RGB",
               py::arg("mean") = py::make_tuple(0.0, 0.0, 0.0),
               py::arg("std") = py::make_tuple(1.0, 1.0, 1.0), py::arg("taps") = 1, py::arg("threads") = 1,
               py::arg("stream") = 0);
}

}  // namespace x2c::bindings
