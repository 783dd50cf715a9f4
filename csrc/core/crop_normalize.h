#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "platform.h"

namespace x2c {

enum class PixelFormat { kPacked3, kYuyv, kNv12 };

// One call of crop_normalize. "Channel" is the frame's own order: B, G, R or R, G, B for kPacked3;
// R, G, B for the YUV formats, which are converted. `scale`, `offset` and `plane` are per such channel:
// output plane `plane[k]` = channel k (0..255) * scale[k] + offset[k].
struct CropJob {
    const std::uint8_t* frame;
    std::int32_t width;
    std::int32_t height;
    PixelFormat format;
    double affine[6];  // row-major 2x3, output pixel -> frame pixel
    void* out;
    bool half;
    std::int32_t out_width;
    std::int32_t out_height;
    std::int32_t taps;  // 0: taps_for the affine that is read on the device
    float scale[3];
    float offset[3];
    std::int32_t plane[3];
};

// A bilinear sample stands for up to 1.5 frame pixels; where they lie wider apart, they would alias.
// Less a hair: where the sum is fused it rounds otherwise, and 0.9^2 + 1.2^2 must be 2.25 on every machine.
X2C_HD std::int32_t taps_for(const double* affine) {
    const double along_x = affine[0] * affine[0] + affine[3] * affine[3];
    const double along_y = affine[1] * affine[1] + affine[4] * affine[4];
    const double squared = (along_x > along_y ? along_x : along_y) - 1e-9;
    if (!(squared > 2.25)) return 1;  // NaN too
    return squared > 20.25 ? 4 : squared > 9.0 ? 3 : 2;
}

// A frame pixel as one word: channel k in bits 8k..8k+7. The top byte may hold anything.
using PackedPixel = std::uint32_t;

// What a corner outside the frame counts as: RGB (0, 0, 0), which is Y = 16, U = V = 128 in YUV.
constexpr PackedPixel kBlackRgb = 0;
constexpr PackedPixel kBlackYuv = 16u | (128u << 8) | (128u << 16);

template <PixelFormat F>
X2C_HD constexpr PackedPixel black() {
    return F == PixelFormat::kPacked3 ? kBlackRgb : kBlackYuv;
}

X2C_HD PackedPixel pack(std::uint8_t c0, std::uint8_t c1, std::uint8_t c2) {
    return static_cast<PackedPixel>(c0) | (static_cast<PackedPixel>(c1) << 8) |
           (static_cast<PackedPixel>(c2) << 16);
}

// The pixel (x, y), which must lie inside the frame. A luma pixel of YUYV and NV12 takes the chroma
// sample of the pair, or the 2x2 block, that it belongs to.
template <PixelFormat F>
X2C_HD PackedPixel fetch(const std::uint8_t* frame, std::int32_t width, std::int32_t height, std::int32_t x,
                         std::int32_t y) {
    const auto w = static_cast<std::ptrdiff_t>(width);
    if constexpr (F == PixelFormat::kPacked3) {
        const std::uint8_t* p = frame + 3 * (y * w + x);
        return pack(p[0], p[1], p[2]);
    } else if constexpr (F == PixelFormat::kYuyv) {
        const std::uint8_t* row = frame + 2 * (y * w);
        const std::uint8_t* pair = row + 4 * (x >> 1);
        return pack(row[2 * x], pair[1], pair[3]);
    } else {
        const std::uint8_t* chroma = frame + (height + (y >> 1)) * w + 2 * (x >> 1);
        return pack(frame[y * w + x], chroma[0], chroma[1]);
    }
}

template <PixelFormat F>
X2C_HD PackedPixel fetch_or_black(const std::uint8_t* frame, std::int32_t width, std::int32_t height,
                                  std::int32_t x, std::int32_t y) {
    const bool inside = x >= 0 && y >= 0 && x < width && y < height;
    return inside ? fetch<F>(frame, width, height, x, y) : black<F>();
}

// Channel k of a packed pixel as a float. Through int: unsigned to float is several instructions.
template <int K>
X2C_HD float channel(PackedPixel pixel) {
    return static_cast<float>(static_cast<std::int32_t>((pixel >> (8 * K)) & 0xFFu));
}

struct BilinearWeights {
    float w00, w10, w01, w11;  // wXY: X right, Y down
};

X2C_HD BilinearWeights bilinear_weights(float fx, float fy) {
    const float w11 = fx * fy;
    return {(1.0f - fx) - (fy - w11), fx - w11, fy - w11, w11};
}

template <int K>
X2C_HD float blend(const BilinearWeights& w, PackedPixel p00, PackedPixel p10, PackedPixel p01,
                   PackedPixel p11) {
    return w.w00 * channel<K>(p00) + w.w10 * channel<K>(p10) + w.w01 * channel<K>(p01) +
           w.w11 * channel<K>(p11);
}

struct Rgb {
    float r, g, b;
};

X2C_HD float clamp_byte(float value) {
    value = value > 0.0f ? value : 0.0f;
    return value < 255.0f ? value : 255.0f;
}

// BT.601 limited range (what V4L2 cameras deliver unless they say otherwise), 0..255, clamped.
X2C_HD Rgb rgb_from_yuv(float y, float u, float v) {
    constexpr float kLuma = 255.0f / 219.0f;
    constexpr float kRv = 1.402f * 255.0f / 224.0f;
    constexpr float kBu = 1.772f * 255.0f / 224.0f;
    constexpr float kGu = -kBu * 0.114f / 0.587f;
    constexpr float kGv = -kRv * 0.299f / 0.587f;
    const float luma = (y - 16.0f) * kLuma;
    const float cu = u - 128.0f;
    const float cv = v - 128.0f;
    return {clamp_byte(luma + kRv * cv), clamp_byte(luma + kGu * cu + kGv * cv), clamp_byte(luma + kBu * cu)};
}

}  // namespace x2c
