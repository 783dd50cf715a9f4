#pragma once

#include <cmath>
#include <cstdint>

#include "platform.h"

// The motion extractor's crop from the tracker's landmarks (docs/spec/liveportrait.md section 11), so that a
// device can go from one net to the next without asking the host. pipelines/two_stage.py says it in Python.
namespace x2c {

constexpr std::int32_t kMaxLandmarks = 512;
constexpr std::uint8_t kInBox = 1, kOfEyes = 2, kOfMouth = 4;

// One call of aim_crop. points: x y of each landmark in half crop sides from the crop's centre. affine: crop
// pixel to frame pixel, row-major 2x3. out: the same for the crop to make. role: what a landmark counts for.
struct AimJob {
    const float* points;
    const double* affine;
    double* out;
    std::int32_t count;
    std::int32_t crop_size;
    std::int32_t out_size;
    double scale;
    double shift;
    std::uint8_t role[kMaxLandmarks];
};

struct FramePoint {
    double x, y;
};

X2C_HD FramePoint frame_point(const AimJob& job, int i) {
    const double half = job.crop_size / 2.0, middle = (job.crop_size - 1) / 2.0;
    const double x = static_cast<double>(job.points[2 * i]) * half + middle;
    const double y = static_cast<double>(job.points[2 * i + 1]) * half + middle;
    const double* a = job.affine;
    return {a[0] * x + a[1] * y + a[2], a[3] * x + a[4] * y + a[5]};
}

// The face's roll, from the eyes' middle to the mouth's.
struct Roll {
    double sine, cosine;
};

X2C_HD Roll roll_between(FramePoint eyes, FramePoint mouth) {
    const double dx = mouth.x - eyes.x, dy = mouth.y - eyes.y;
    const double length = sqrt(dx * dx + dy * dy);
    if (!(length > 1e-3)) return {0.0, 1.0};
    return {-dx / length, dy / length};
}

X2C_HD FramePoint own_axes(Roll roll, FramePoint p) {
    return {roll.cosine * p.x + roll.sine * p.y, roll.cosine * p.y - roll.sine * p.x};
}

// The upright square on a box in the face's own axes. The centre lies on index size/2 - 1/4: the published
// crop of twice the size has it on its index size.
X2C_HD void write_affine(const AimJob& job, Roll roll, FramePoint low, FramePoint high) {
    const double wide = high.x - low.x, tall = high.y - low.y;
    const double side = (wide > tall ? wide : tall) * job.scale;
    const double u = (low.x + high.x) / 2.0, v = (low.y + high.y) / 2.0 + side * job.shift;
    const double step = side / job.out_size, middle = job.out_size / 2.0 - 0.25;
    job.out[0] = job.out[4] = step;
    job.out[1] = job.out[3] = 0.0;
    job.out[2] = roll.cosine * u - roll.sine * v - step * middle;
    job.out[5] = roll.sine * u + roll.cosine * v - step * middle;
}

}  // namespace x2c
