// The two passes over the feature volume: the dense-motion network's input, and the warp.
#include <cstdint>
#include <optional>
#include <string>

#include "../cpu/motion_volume.h"
#include "../cpu/thread_pool.h"
#include "../cpu/warp_volume.h"
#include "arguments.h"
#include "module.h"
#if defined(X2C_WITH_CUDA)
#include "../cuda/motion.h"
#endif

namespace x2c::bindings {

namespace {

template <class Job>
void set_volume(Job& job, const Array& array, int axis) {
    for (int i = axis; i < axis + 3; ++i) {
        if (array.size(i) < 2 || array.size(i) > x2c::kMaxVolumeSide)
            array.reject_shape("with D, H and W in 2.." + std::to_string(x2c::kMaxVolumeSide));
    }
    job.depth = static_cast<std::int32_t>(array.size(axis));
    job.height = static_cast<std::int32_t>(array.size(axis + 1));
    job.width = static_cast<std::int32_t>(array.size(axis + 2));
}

// Whether the array's axes from `axis` on are the job's D, H, W.
template <class Job>
bool has_volume(const Job& job, const Array& array, int axis) {
    return array.size(axis) == job.depth && array.size(axis + 1) == job.height &&
           array.size(axis + 2) == job.width;
}

template <class Job>
std::string volume_text(const Job& job) {
    return std::to_string(job.depth) + ", " + std::to_string(job.height) + ", " + std::to_string(job.width);
}

void motion_volume(py::handle compressed_argument, py::handle driving_argument, py::handle source_argument,
                   py::handle out_argument, bool background, int threads, std::uintptr_t stream) {
    const Array compressed("compressed", compressed_argument);
    const Array driving("kp_driving", driving_argument);
    const Array source("kp_source", source_argument);
    const Array out("out", out_argument);
    expect_same_device({&compressed, &driving, &source, &out});
    x2c::MotionVolumeJob job{};
    job.compressed_half = is_half(compressed);
    job.out_half = is_half(out);
    compressed.expect_contiguous();
    expect_output(out);
    if (compressed.rank() != 4 || compressed.size(0) < 1) compressed.reject_shape("(C, D, H, W)");
    set_volume(job, compressed, 1);
    const py::ssize_t groups = 1 + compressed.size(0);
    const py::ssize_t planes = out.rank() > 0 ? out.size(0) : 0;
    if (out.rank() != 4 || planes == 0 || planes % groups != 0 || !has_volume(job, out, 1))
        out.reject_shape("((K + 1) * " + std::to_string(groups) + ", " + volume_text(job) + ")");
    expect_index_range(compressed);
    expect_index_range(out);
    job.channels = static_cast<std::int32_t>(groups - 1);
    job.keypoints = static_cast<std::int32_t>(planes / groups - 1);
    job.kp_driving = keypoints_of(driving, job.keypoints);
    job.kp_source = keypoints_of(source, job.keypoints);
    expect_range("threads", threads, 1, x2c::kMaxThreads);
    job.compressed = compressed.data();
    job.out = out.data();
    job.background = background;
    dispatch(
        compressed, [&] { x2c::cpu::motion_volume(job, threads); }, X2C_ON_GPU(motion_volume(job, stream)));
    static_cast<void>(stream);
}

void warp_volume(py::handle logits_argument, py::handle driving_argument, py::handle source_argument,
                 py::handle feature_argument, py::handle out_argument, py::handle deformation_argument,
                 int threads, std::uintptr_t stream) {
    const Array logits("logits", logits_argument);
    const Array driving("kp_driving", driving_argument);
    const Array source("kp_source", source_argument);
    const Array feature("feature", feature_argument);
    const Array out("out", out_argument);
    std::optional<Array> deformation;
    if (!deformation_argument.is_none()) deformation.emplace("deformation", deformation_argument);
    expect_same_device({&logits, &driving, &source, &feature, &out});
    x2c::WarpVolumeJob job{};
    job.logits_half = is_half(logits);
    job.feature_half = is_half(feature);
    job.out_half = is_half(out);
    logits.expect_contiguous();
    feature.expect_contiguous();
    expect_output(out);
    if (logits.rank() != 4 || logits.size(0) < 1 || logits.size(0) > x2c::kMaxWarpKeypoints + 1)
        logits.reject_shape("(K + 1, D, H, W) with K at most " + std::to_string(x2c::kMaxWarpKeypoints));
    set_volume(job, logits, 1);
    if (feature.rank() != 4 || !has_volume(job, feature, 0) || feature.size(3) < 1 ||
        feature.size(3) > x2c::kMaxWarpChannels) {
        feature.reject_shape("(" + volume_text(job) + ", C) with C at most " +
                             std::to_string(x2c::kMaxWarpChannels));
    }
    job.keypoints = static_cast<std::int32_t>(logits.size(0) - 1);
    job.channels = static_cast<std::int32_t>(feature.size(3));
    const bool volume = out.rank() == 4 && out.size(0) == job.channels && has_volume(job, out, 1);
    const bool picture = out.rank() == 3 && out.size(0) == job.channels * job.depth &&
                         out.size(1) == job.height && out.size(2) == job.width;
    if (!volume && !picture) {
        out.reject_shape("(" + std::to_string(job.channels) + ", " + volume_text(job) + ") or (" +
                         std::to_string(job.channels * job.depth) + ", " + std::to_string(job.height) + ", " +
                         std::to_string(job.width) + ")");
    }
    expect_index_range(logits);
    expect_index_range(feature);
    job.kp_driving = keypoints_of(driving, job.keypoints);
    job.kp_source = keypoints_of(source, job.keypoints);
    if (deformation.has_value()) {
        expect_same_device({&logits, &*deformation});
        deformation->expect_type("float32");
        expect_output(*deformation);
        if (deformation->rank() != 4 || !has_volume(job, *deformation, 0) || deformation->size(3) != 3)
            deformation->reject_shape("(" + volume_text(job) + ", 3)");
        job.deformation = static_cast<float*>(deformation->data());
    }
    expect_range("threads", threads, 1, x2c::kMaxThreads);
    job.logits = logits.data();
    job.feature = feature.data();
    job.out = out.data();
    dispatch(logits, [&] { x2c::cpu::warp_volume(job, threads); }, X2C_ON_GPU(warp_volume(job, stream)));
    static_cast<void>(stream);
}

constexpr const char* kMotionVolumeDoc =
    R"(The dense-motion network's input (docs/spec/liveportrait.md section 8, steps 2 to 5).

compressed: (C, D, H, W) float32 or float16, the compressed feature volume; D, H, W in 2..1024.
kp_driving, kp_source: (K, 3) float32, x y z in -1..1 across the volume.
out: ((K + 1) * (1 + C), D, H, W) float32 or float16, overwritten. Group 0 is the background: zeros, then
    compressed sampled at the coordinate grid. Group k is the heatmap exp(-50 |g - driving|^2) -
    exp(-50 |g - source|^2), then compressed sampled at g - driving + source: trilinear, half-pixel
    convention, zeros outside. A factor of a heatmap below 7e-13 counts as 0.
background: false leaves group 0 of out as it is. It depends on compressed alone, so a caller with a fixed
    source and a buffer of its own fills it once.

Everything is C-contiguous; arithmetic is float32. Each axis is resampled by itself; the CPU works in about
80 KB of stack per thread. threads: 1..64, the result does not depend on it. All arrays on the CPU or all on
the GPU (enqueued on `stream`). Raises ValueError naming the argument, RuntimeError naming the CUDA call.)";

constexpr const char* kWarpVolumeDoc =
    R"(Masks, deformation and warp in one pass (docs/spec/liveportrait.md section 8, steps 7, 8, 10).

logits: (K + 1, D, H, W) float32 or float16, before the softmax; 0 is the background. D, H, W in 2..1024.
kp_driving, kp_source: (K, 3) float32, x y z.
feature: (D, H, W, C) float32 or float16: the feature volume with its CHANNELS LAST, so that a voxel is one
    contiguous read. It belongs to the fixed source: make this copy once. K, C <= 256.
out: (C, D, H, W) or (C * D, H, W) float32 or float16, overwritten: feature at the deformation, trilinear,
    half-pixel convention, zeros outside.
deformation: (D, H, W, 3) float32, or None: receives the absolute sampling positions x y z.

The deformation is the coordinate grid plus the expectation of source - driving. exp() is a polynomial with
relative error below 2e-7 down to exp(-80). NaN in logits or keypoints gives NaN in the voxels concerned.
Everything is C-contiguous; arithmetic is float32. threads: 1..64, the result does not depend on it. All
arrays on the CPU or all on the GPU (enqueued on `stream`).
Raises ValueError naming the argument, RuntimeError naming the CUDA call.)";

}  // namespace

void define_volumes(py::module_& module) {
    const auto arg = [](const char* name) { return py::arg(name); };
    module.def("motion_volume", &motion_volume, kMotionVolumeDoc, arg("compressed"), arg("kp_driving"),
               arg("kp_source"), arg("out"), py::kw_only(), arg("background") = true, arg("threads") = 1,
               arg("stream") = 0);
    module.def("warp_volume", &warp_volume, kWarpVolumeDoc, arg("logits"), arg("kp_driving"),
               arg("kp_source"), arg("feature"), arg("out"), py::kw_only(), arg("deformation") = py::none(),
               arg("threads") = 1, arg("stream") = 0);
}

}  // namespace x2c::bindings
