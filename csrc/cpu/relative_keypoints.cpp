#include "relative_keypoints.h"

#include <algorithm>
#include <cmath>

namespace x2c::cpu {
namespace {

double degrees(const float* values, int bins) {
    if (bins == 1) return static_cast<double>(values[0]);
    const double top = static_cast<double>(*std::max_element(values, values + bins));
    double total = 0.0, mean = 0.0;
    for (int i = 0; i < bins; ++i) {
        const double weight = std::exp(static_cast<double>(values[i]) - top);
        total += weight;
        mean += weight * i;
    }
    return degrees_from_bin(mean / total);
}

}  // namespace

void relative_keypoints(const RelativeKeypointsJob& job) {
    constexpr double kRadians = 3.14159265358979323846 / 180.0;
    double sine[3], cosine[3];
    for (int i = 0; i < 3; ++i) {
        const double angle = degrees(job.angle[i], job.bins) * kRadians;
        sine[i] = std::sin(angle);
        cosine[i] = std::cos(angle);
    }
    const Matrix3<double> current = rotation(sine, cosine);
    const RelativePose<double> pose = relative_pose(job, current);
    for (int k = 0; k < job.keypoints; ++k) {
        for (int axis = 0; axis < 3; ++axis) job.out[3 * k + axis] = relative_coordinate(job, pose, k, axis);
    }
    if (job.motion == nullptr) return;
    for (int i = 0; i < MotionLayout{job.keypoints}.size(); ++i)
        job.motion[i] = motion_entry(job, current, i);
}

void stitch_keypoints(const StitchJob& job) {
    for (int i = 0; i < 3 * job.keypoints; ++i) job.out[i] = stitched_coordinate(job, i);
}

}  // namespace x2c::cpu
