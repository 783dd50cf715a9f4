#include "face_square.h"

#include <algorithm>
#include <limits>

namespace x2c::cpu {
namespace {

FramePoint mean_of(const AimJob& job, std::uint8_t role) {
    FramePoint sum{0.0, 0.0};
    int count = 0;
    for (int i = 0; i < job.count; ++i) {
        if ((job.role[i] & role) == 0) continue;
        const FramePoint p = frame_point(job, i);
        sum.x += p.x;
        sum.y += p.y;
        ++count;
    }
    return {sum.x / count, sum.y / count};
}

}  // namespace

void aim_crop(const AimJob& job) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const Roll roll = roll_between(mean_of(job, kOfEyes), mean_of(job, kOfMouth));
    FramePoint low{kInfinity, kInfinity}, high{-kInfinity, -kInfinity};
    for (int i = 0; i < job.count; ++i) {
        if ((job.role[i] & kInBox) == 0) continue;
        const FramePoint p = own_axes(roll, frame_point(job, i));
        low = {std::min(low.x, p.x), std::min(low.y, p.y)};
        high = {std::max(high.x, p.x), std::max(high.y, p.y)};
    }
    write_affine(job, roll, low, high);
}

}  // namespace x2c::cpu
