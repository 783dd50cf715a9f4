#pragma once

#include <cstdint>

#include "exponential.h"
#include "platform.h"

// The volume of the warping network, one axis at a time (docs/spec/liveportrait.md sections 1 and 8).
namespace x2c {

constexpr int kMaxVolumeSide = 1024;

// Coordinate of sample i of n >= 2: both ends of -1..1 are samples.
X2C_HD float grid_at(int i, int n) { return 2.0f * static_cast<float>(i) / static_cast<float>(n - 1) - 1.0f; }

// A sampling position: `fraction` of the way from sample `whole` to the next.
struct AxisTap {
    std::int32_t whole;
    float fraction;
};

// Where an axis of n samples is read for the coordinate grid_at(i, n) + shift, in the half-pixel
// convention: i * n / (n - 1) - 1/2 + shift * n / 2. Far positions are moved to just outside; a NaN shift
// gives a NaN fraction.
X2C_HD AxisTap axis_tap(int i, int n, float shift) {
    const float size = static_cast<float>(n);
    const float offset = static_cast<float>(i) / (size - 1.0f) + (shift * size * 0.5f - 0.5f);
    const float limit = 2.0f * size + 2.0f;
    float near = offset > limit ? limit : offset;
    near = near < -limit ? -limit : near;
    near = near == near ? near : 0.0f;
    std::int32_t whole = static_cast<std::int32_t>(near);
    whole -= static_cast<float>(whole) > near ? 1 : 0;
    return {i + whole, offset == offset ? near - static_cast<float>(whole) : offset};
}

// The two samples of a tap, with weight 0 and some readable index for one outside 0..n-1.
struct AxisPair {
    std::int32_t index[2];
    float weight[2];
};

X2C_HD AxisPair axis_pair(const AxisTap& tap, int n) {
    const std::int32_t low = tap.whole, high = tap.whole + 1, last = n - 1;
    const bool low_inside = low >= 0 && low <= last, high_inside = high >= 0 && high <= last;
    AxisPair pair;
    pair.index[0] = low < 0 ? 0 : (low > last ? last : low);
    pair.index[1] = high < 0 ? 0 : (high > last ? last : high);
    pair.weight[0] = low_inside ? 1.0f - tap.fraction : 0.0f;
    pair.weight[1] = high_inside ? tap.fraction : 0.0f;
    return pair;
}

// One axis' factor of the heatmap exp(-|g - p|^2 / (2 * 0.01)). Below exp(-28) = 7e-13 it is 0, so that
// no product of three is subnormal.
X2C_HD float gaussian_factor(float coordinate, float keypoint) {
    constexpr float kFalloff = 0.5f / 0.01f;
    const float distance = coordinate - keypoint;
    const float exponent = -kFalloff * distance * distance;
    return exponent < -28.0f ? 0.0f : exp_nonpositive(exponent);
}

// One call of motion_volume: the dense-motion network's input. compressed is (channels, D, H, W), out is
// ((keypoints + 1) * (1 + channels), D, H, W); keypoints are (keypoints, 3), x y z. Without `background`
// the first 1 + channels planes of out stay as they are.
struct MotionVolumeJob {
    const void* compressed;
    bool compressed_half;
    const float* kp_driving;
    const float* kp_source;
    void* out;
    bool out_half;
    std::int32_t keypoints, channels, depth, height, width;
    bool background;
};

constexpr int kMaxWarpKeypoints = 256;
constexpr int kMaxWarpChannels = 256;

// One call of warp_volume. logits is (keypoints + 1, D, H, W), feature (D, H, W, channels), out
// (channels, D, H, W), deformation null or (D, H, W, 3).
struct WarpVolumeJob {
    const void* logits;
    bool logits_half;
    const float* kp_driving;
    const float* kp_source;
    const void* feature;
    bool feature_half;
    void* out;
    bool out_half;
    float* deformation;
    std::int32_t keypoints, channels, depth, height, width;
};

}  // namespace x2c
