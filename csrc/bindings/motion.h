#pragma once

#include <initializer_list>
#include <optional>
#include <string>

#include "../cpu/face_square.h"
#include "../cpu/face_to_mapping.h"
#include "../cpu/motion_volume.h"
#include "../cpu/relative_keypoints.h"
#include "../cpu/thread_pool.h"
#include "../cpu/warp_volume.h"
#include "arguments.h"
#if defined(X2C_WITH_CUDA)
#include "../cuda/motion.h"
#endif

// Part of bindings.cpp: the kernels of the two-stage pipeline.
namespace {

// float32 or float16; true for the latter.
bool is_half(const Array& array) {
    if (!array.has_type("float16")) array.expect_type("float32");
    return array.has_type("float16");
}

void expect_output(const Array& array) {
    array.expect_contiguous();
    array.expect_writable();
}

// An array whose shape is free: `count` float32 values in C order.
const float* expect_values(const Array& array, py::ssize_t count) {
    array.expect_type("float32");
    array.expect_contiguous();
    if (array.count() != count) array.reject_shape("with " + std::to_string(count) + " values");
    return static_cast<const float*>(array.data());
}

float* expect_output_values(const Array& array, py::ssize_t count) {
    expect_values(array, count);
    array.expect_writable();
    return static_cast<float*>(array.data());
}

void expect_same_device(std::initializer_list<const Array*> arrays) {
    const Array& first = **arrays.begin();
    for (const Array* array : arrays) {
        if (array->on_gpu() == first.on_gpu()) continue;
        reject(array->name(), std::string(array->on_gpu() ? "is on the GPU but " : "is not on the GPU but ") +
                                  first.name() + (array->on_gpu() ? " is not" : " is"));
    }
}

// Runs the job where `first` is, without the GIL.
template <class OnCpu, class OnGpu>
void dispatch(const Array& first, const OnCpu& on_cpu, const OnGpu& on_gpu) {
    if (!first.on_gpu()) {
        const py::gil_scoped_release unlocked;
        on_cpu();
        return;
    }
#if defined(X2C_WITH_CUDA)
    const py::gil_scoped_release unlocked;
    on_gpu();
#else
    static_cast<void>(on_gpu);
    reject(first.name(), "is on the GPU, but these kernels were built without CUDA");
#endif
}

#if defined(X2C_WITH_CUDA)
#define X2C_ON_GPU(call) [&] { x2c::cuda::call; }
#else
#define X2C_ON_GPU(call) [] {}
#endif

const float* keypoints_of(const Array& array, py::ssize_t count) {
    array.expect_type("float32");
    array.expect_contiguous();
    if (array.rank() != 2 || array.size(0) != count || array.size(1) != 3)
        array.reject_shape("(" + std::to_string(count) + ", 3)");
    return static_cast<const float*>(array.data());
}

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

void expect_index_range(const Array& array) {
    if (array.count() >= INT32_MAX) reject(array.name(), "is larger than kernels address");
}

const double* affine_of(const Array& array) {
    array.expect_type("float64");
    array.expect_contiguous();
    if (array.rank() != 2 || array.size(0) != 2 || array.size(1) != 3) array.reject_shape("(2, 3)");
    return static_cast<const double*>(array.data());
}

void aim_crop(py::handle points_argument, py::handle affine_argument, py::handle out_argument,
              py::handle roles_argument, int crop_size, int out_size, double scale, double shift,
              std::uintptr_t stream) {
    const Array points("points", points_argument);
    const Array affine("affine", affine_argument);
    const Array out("out", out_argument);
    const Array roles("roles", roles_argument);
    expect_same_device({&points, &affine, &out});
    if (roles.on_gpu()) reject(roles.name(), "must be on the CPU");
    roles.expect_type("uint8");
    roles.expect_contiguous();
    if (roles.rank() != 1 || roles.size(0) < 1 || roles.size(0) > x2c::kMaxLandmarks)
        roles.reject_shape("(L,) with L at most " + std::to_string(x2c::kMaxLandmarks));
    x2c::AimJob job{};
    job.count = static_cast<std::int32_t>(roles.size(0));
    job.points = expect_values(points, 2 * roles.size(0));
    job.affine = affine_of(affine);
    affine_of(out);
    out.expect_writable();
    job.out = static_cast<double*>(out.data());
    expect_range("crop_size", crop_size, 1, x2c::kMaxResizeSide);
    expect_range("out_size", out_size, 1, x2c::kMaxResizeSide);
    job.crop_size = crop_size;
    job.out_size = out_size;
    if (!std::isfinite(scale)) reject("scale", "must be finite");
    if (!std::isfinite(shift)) reject("shift", "must be finite");
    job.scale = scale;
    job.shift = shift;
    std::uint8_t seen = 0;
    for (int i = 0; i < job.count; ++i) {
        job.role[i] = static_cast<const std::uint8_t*>(roles.data())[i];
        seen |= job.role[i];
    }
    constexpr std::uint8_t kEvery = x2c::kInBox | x2c::kOfEyes | x2c::kOfMouth;
    if ((seen & kEvery) != kEvery) reject(roles.name(), "needs landmarks of the box, the eyes and the mouth");
    dispatch(points, [&] { x2c::cpu::aim_crop(job); }, X2C_ON_GPU(aim_crop(job, stream)));
    static_cast<void>(stream);
}

void relative_keypoints(py::handle pitch_argument, py::handle yaw_argument, py::handle roll_argument,
                        py::handle t_argument, py::handle exp_argument, py::handle scale_argument,
                        py::handle source_argument, py::handle reference_argument, py::handle out_argument,
                        py::handle motion_argument, std::uintptr_t stream) {
    const Array pitch("pitch", pitch_argument);
    const Array yaw("yaw", yaw_argument);
    const Array roll("roll", roll_argument);
    const Array t("t", t_argument);
    const Array exp("exp", exp_argument);
    const Array scale("scale", scale_argument);
    const Array source("source", source_argument);
    const Array reference("reference", reference_argument);
    const Array out("out", out_argument);
    std::optional<Array> motion;
    if (!motion_argument.is_none()) motion.emplace("motion", motion_argument);
    expect_same_device({&pitch, &yaw, &roll, &t, &exp, &scale, &source, &reference, &out});

    const py::ssize_t values = exp.count(), bins = pitch.count();
    if (values == 0 || values % 3 != 0) exp.reject_shape("with 3K values");
    if (bins == 0) pitch.reject_shape("with at least one value");
    expect_index_range(exp);
    expect_index_range(pitch);
    x2c::RelativeKeypointsJob job{};
    job.keypoints = static_cast<std::int32_t>(values / 3);
    job.bins = static_cast<std::int32_t>(bins);
    job.angle[0] = expect_values(pitch, bins);
    job.angle[1] = expect_values(yaw, bins);
    job.angle[2] = expect_values(roll, bins);
    job.t = expect_values(t, 3);
    job.exp = expect_values(exp, values);
    job.scale = expect_values(scale, 1);
    job.source = expect_values(source, 13 + 3 * values);
    job.reference = expect_values(reference, 14 + 2 * values);
    job.out = expect_output_values(out, values);
    if (motion.has_value()) {
        expect_same_device({&pitch, &*motion});
        job.motion = expect_output_values(*motion, 13 + values);
    }
    dispatch(pitch, [&] { x2c::cpu::relative_keypoints(job); }, X2C_ON_GPU(relative_keypoints(job, stream)));
    static_cast<void>(stream);
}

void stitch_keypoints(py::handle driving_argument, py::handle delta_argument, py::handle out_argument,
                      std::uintptr_t stream) {
    const Array driving("driving", driving_argument);
    const Array delta("delta", delta_argument);
    const Array out("out", out_argument);
    expect_same_device({&driving, &delta, &out});
    const py::ssize_t values = driving.count();
    if (values == 0 || values % 3 != 0) driving.reject_shape("with 3K values");
    expect_index_range(driving);
    x2c::StitchJob job{};
    job.keypoints = static_cast<std::int32_t>(values / 3);
    job.driving = expect_values(driving, values);
    job.delta = expect_values(delta, values + 2);
    job.out = expect_output_values(out, values);
    dispatch(driving, [&] { x2c::cpu::stitch_keypoints(job); }, X2C_ON_GPU(stitch_keypoints(job, stream)));
    static_cast<void>(stream);
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

constexpr const char* kAimCropDoc =
    R"(The motion extractor's crop from the tracker's landmarks (docs/spec/liveportrait.md section 11).

points: 2L float32 values, x y of the landmarks in half crop sides from the crop's centre (the pixel index
    (crop_size - 1) / 2). affine: (2, 3) float64, that crop's pixel to frame pixel.
out: (2, 3) float64, receives the affine of an upright crop of out_size pixels: `scale` times the landmarks'
    box along the face's own axes, moved by `shift` of its new side towards the mouth; its centre is on index
    out_size / 2 - 1 / 4.
roles: (L,) uint8 on the CPU, a sum of 1 (counts for the box), 2 (of an eye), 4 (a corner of the mouth).

C-contiguous, arithmetic in float64. points, affine and out on the CPU or on the GPU (enqueued on `stream`).
Raises ValueError naming the argument, RuntimeError naming the CUDA call.)";

constexpr const char* kRelativeKeypointsDoc =
    R"(Driving keypoints from the motion extractor's raw heads, relative to a reference (paper Eq. 5, 6).

docs/spec/liveportrait.md sections 5 and 6, steps 1 to 7; stitching comes after. All arrays are float32 and
C-contiguous, of any shape with the right number of values; K is taken from exp.

pitch, yaw, roll: logits of the bins (66), or one value each: degrees. t: 3. exp: 3K. scale: 1. They are
    the current frame's; its own canonical keypoints are never used.
source: 9K + 13 values, the robot's picture: its motion row, its canonical keypoints kp (3K), its
    transformed keypoints x_s (3K).
reference: 6K + 14 values: its motion row, the keypoints x_new (3K) that steps 1 to 5 give for it (up to
    rounding they are x_s), the multiplier of step 6 (1).
A motion row is 3K + 13 values: rotation (9, row-major, for row vectors), exp (3K), t (3), scale (1).
out: 3K values: x. It may be the second half of the stitching network's input.
motion: receives this frame's motion row, for calibration.

The CPU computes in double precision. GPU: all arrays there; enqueued on `stream`, nothing waits; source
and reference are read when the kernel runs, so that a captured graph follows a new reference.
Raises ValueError naming the argument, RuntimeError naming the CUDA call.)";

constexpr const char* kStitchKeypointsDoc =
    R"(Adds the stitching network's output to driving keypoints (docs/spec/liveportrait.md section 7).

driving: 3K float32 values, x y z by keypoint. delta: 3K + 2: an offset for each value, then one for all x
and one for all y. out: 3K, may be `driving`. Any shapes, C-contiguous. All on the CPU or all on the GPU
(enqueued on `stream`). Raises ValueError naming the argument, RuntimeError naming the CUDA call.)";

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

constexpr const char* kFaceToMappingDoc =
    R"(The generated face as the mapping network's input, without the 8-bit step in between.

image: (3, H, W) float32 or float16, RGB in 0..1 (not clipped). out: (3, h, w) float32 or float16:
    out[c] = (resized[c] - mean[c]) / std[c], c in `order`. Sides are 1..2048.
resize: "area", the mean over what an output pixel covers (OpenCV's INTER_AREA when shrinking), or
    "bilinear", antialiased: a triangle as wide as two output pixels, or two input pixels when enlarging;
    half-pixel centres.

Everything is C-contiguous; arithmetic is float32. threads: 1..64, the result does not depend on it. Both
arrays on the CPU or both on the GPU (enqueued on `stream`).
Raises ValueError naming the argument, RuntimeError naming the CUDA call.)";

void define_motion_kernels(py::module_& module) {
    const auto arg = [](const char* name) { return py::arg(name); };
    module.def("aim_crop", &aim_crop, kAimCropDoc, arg("points"), arg("affine"), arg("out"), py::kw_only(),
               arg("roles"), arg("crop_size"), arg("out_size"), arg("scale"), arg("shift"),
               arg("stream") = 0);
    module.def("relative_keypoints", &relative_keypoints, kRelativeKeypointsDoc, arg("pitch"), arg("yaw"),
               arg("roll"), arg("t"), arg("exp"), arg("scale"), arg("source"), arg("reference"), arg("out"),
               py::kw_only(), arg("motion") = py::none(), arg("stream") = 0);
    module.def("stitch_keypoints", &stitch_keypoints, kStitchKeypointsDoc, arg("driving"), arg("delta"),
               arg("out"), py::kw_only(), arg("stream") = 0);
    module.def("motion_volume", &motion_volume, kMotionVolumeDoc, arg("compressed"), arg("kp_driving"),
               arg("kp_source"), arg("out"), py::kw_only(), arg("background") = true, arg("threads") = 1,
               arg("stream") = 0);
    module.def("warp_volume", &warp_volume, kWarpVolumeDoc, arg("logits"), arg("kp_driving"),
               arg("kp_source"), arg("feature"), arg("out"), py::kw_only(), arg("deformation") = py::none(),
               arg("threads") = 1, arg("stream") = 0);
    module.def("face_to_mapping", &face_to_mapping, kFaceToMappingDoc, arg("image"), arg("out"),
               py::kw_only(), arg("resize") = "area", arg("order") = "BGR",
               arg("mean") = py::make_tuple(0.0, 0.0, 0.0), arg("std") = py::make_tuple(1.0, 1.0, 1.0),
               arg("threads") = 1, arg("stream") = 0);
}

}  // namespace
