#pragma once

#include <cstdint>

#include "platform.h"

namespace x2c {

constexpr int kMaxResizeSide = 2048;

enum class Resize { kArea, kBilinear };

// One axis of a resize from `in` to `out` samples. All weights are whole numbers, so they are exact on
// every device: units of 1/out of an input pixel for kArea (how much of the input pixel the output pixel
// covers: OpenCV's INTER_AREA), and the triangle of half-width max(in / out, 1) input pixels, in half
// units, for kBilinear (half-pixel centres, antialiased). The weights of one output sample are divided by
// their sum.
struct ResizeAxis {
    std::int32_t in, out;
    Resize kind;

    X2C_HD std::int32_t widest() const { return in > out ? in : out; }
    // The first and the last input sample that counts for output sample i.
    X2C_HD std::int32_t first(std::int32_t i) const {
        if (kind == Resize::kArea) return i * in / out;
        const std::int32_t low = (2 * i + 1) * in - 2 * widest() - out;
        return low < 0 ? 0 : low / (2 * out) + 1;
    }
    X2C_HD std::int32_t last(std::int32_t i) const {
        if (kind == Resize::kArea) return ((i + 1) * in - 1) / out;
        const std::int32_t high = (2 * i + 1) * in + 2 * widest() - out;
        const std::int32_t j = (high - 1) / (2 * out);
        return j < in - 1 ? j : in - 1;
    }
    X2C_HD std::int32_t weight(std::int32_t i, std::int32_t j) const {
        if (kind == Resize::kArea) {
            const std::int32_t low = i * in > j * out ? i * in : j * out;
            const std::int32_t high = (i + 1) * in < (j + 1) * out ? (i + 1) * in : (j + 1) * out;
            return high - low;
        }
        const std::int32_t apart = (2 * j + 1) * out - (2 * i + 1) * in;
        return 2 * widest() - (apart < 0 ? -apart : apart);
    }
    X2C_HD float unit(std::int32_t i) const {
        std::int32_t sum = 0;
        for (std::int32_t j = first(i); j <= last(i); ++j) sum += weight(i, j);
        return 1.0f / static_cast<float>(sum);
    }
};

// One call of face_to_mapping. image is (3, y.in, x.in), out is (3, y.out, x.out); input channel k goes to
// output plane `plane[k]` as value * scale[k] + offset[k].
struct FaceToMappingJob {
    const void* image;
    bool image_half;
    void* out;
    bool out_half;
    ResizeAxis x, y;
    float scale[3];
    float offset[3];
    std::int32_t plane[3];
};

}  // namespace x2c
