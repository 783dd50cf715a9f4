// From landmarks and the motion extractor's heads to driving keypoints.
#include <cmath>
#include <cstdint>
#include <optional>

#include "../core/face_to_mapping.h"
#include "../cpu/face_square.h"
#include "../cpu/relative_keypoints.h"
#include "arguments.h"
#include "module.h"
#if defined(X2C_WITH_CUDA)
#include "../cuda/motion.h"
#endif

namespace x2c::bindings {

namespace {

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

}  // namespace

void define_keypoints(py::module_& module) {
    const auto arg = [](const char* name) { return py::arg(name); };
    module.def("aim_crop", &aim_crop, kAimCropDoc, arg("points"), arg("affine"), arg("out"), py::kw_only(),
               arg("roles"), arg("crop_size"), arg("out_size"), arg("scale"), arg("shift"),
               arg("stream") = 0);
    module.def("relative_keypoints", &relative_keypoints, kRelativeKeypointsDoc, arg("pitch"), arg("yaw"),
               arg("roll"), arg("t"), arg("exp"), arg("scale"), arg("source"), arg("reference"), arg("out"),
               py::kw_only(), arg("motion") = py::none(), arg("stream") = 0);
    module.def("stitch_keypoints", &stitch_keypoints, kStitchKeypointsDoc, arg("driving"), arg("delta"),
               arg("out"), py::kw_only(), arg("stream") = 0);
}

}  // namespace x2c::bindings
