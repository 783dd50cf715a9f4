#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "../core/crop_normalize.h"

namespace x2c::cpu::X2C_VARIANT {
namespace {

constexpr int kBlock = 128;
constexpr int kPiece = 16;  // what a block at the frame's edge is cut into

// Where pixel i's two neighbours in one frame row are: in words 2i and 2i + 1.
//   kCorners: packed pixels, left and right.
//   kRaw: the frame's bytes from the left pixel on. BGR, RGB: 8 bytes. YUYV: the left pixel's pair and
//   the next pair. NV12: 4 bytes of luma, then 4 of chroma from the left pixel's sample on.
enum class Layout { kCorners, kRaw };

struct Block {
    alignas(64) std::int32_t x[kBlock];  // left corner, and fraction to its right
    alignas(64) std::int32_t y[kBlock];
    alignas(64) float fx[kBlock];
    alignas(64) float fy[kBlock];
    alignas(64) std::uint32_t upper[2 * kBlock];
    alignas(64) std::uint32_t lower[2 * kBlock];
    alignas(64) std::int32_t offset[kBlock];
    alignas(64) std::int32_t upper_chroma[kBlock];
    alignas(64) std::int32_t lower_chroma[kBlock];
    alignas(64) float c[3][kBlock];       // sums over the taps, of channels in the frame's order
    alignas(64) float colour[3][kBlock];  // normalised, on its way to half precision
};

// How many pixels n are in whole vectors: the last lanes read what the last sample reads.
inline int pad(Block& block, int n, int lanes) {
    const int padded = (n + lanes - 1) / lanes * lanes;
    for (int i = n; i < padded; ++i) {
        block.offset[i] = block.offset[n - 1];
        block.upper_chroma[i] = block.upper_chroma[n - 1];
        block.lower_chroma[i] = block.lower_chroma[n - 1];
    }
    return padded;
}

// Frame coordinates of a block's samples along one axis: start + step * i, i < n.
struct Line {
    double start, step;
    int n;

    double last() const { return start + step * (n - 1); }
    double low() const { return std::min(start, last()); }
    double high() const { return std::max(start, last()); }
    // Whether the pixels floor(v) and floor(v) + 1 of every sample v are in 0..size-1, with kRoom for the
    // rounding of locate_inside(), which stays below it for sides of up to kMaxInside.
    bool inside(std::int32_t size) const {
        return low() >= kRoom && high() <= size - 1 - kRoom && size <= kMaxInside &&  // false for NaN
               std::abs(step) <= kMaxInside;  // a line of one sample may have any
    }
    // Whether no sample has a corner in 0..size-1.
    bool outside(std::int32_t size) const { return high() <= -1.0 || low() >= size; }
    static constexpr double kRoom = 0.01;
    static constexpr std::int32_t kMaxInside = 1 << 15;
};

// Float is enough once the whole part of the smallest coordinate is set apart.
void locate_inside(const Line& line, std::int32_t* __restrict whole, float* __restrict fraction) {
    const auto base = static_cast<std::int32_t>(line.low());
    const auto start = static_cast<float>(line.start - base);
    const auto step = static_cast<float>(line.step);
    for (int i = 0; i < line.n; ++i) {
        const float v = start + step * static_cast<float>(i);
        const auto w = static_cast<std::int32_t>(v);
        fraction[i] = v - static_cast<float>(w);
        whole[i] = w + base;
    }
}

// The clamp keeps a pixel of black on either side, swallows infinities and NaN, and makes the value
// positive, so that the conversion to int truncates like floor and cannot overflow.
void locate_anywhere(const Line& line, std::int32_t size, std::int32_t* __restrict whole,
                     float* __restrict fraction) {
    const double end = size + 3.0;
    for (int i = 0; i < line.n; ++i) {
        double v = line.start + 2.0 + line.step * i;
        v = v > 0.0 ? v : 0.0;
        v = v < end ? v : end;
        const auto w = static_cast<std::int32_t>(v);
        fraction[i] = static_cast<float>(v - w);
        whole[i] = w - 2;
    }
}

// Byte offset in the frame of the (first) bytes that the kRaw layout takes for (x, y).
template <PixelFormat F>
X2C_HD std::int32_t raw_offset(std::int32_t width, std::int32_t x, std::int32_t y) {
    if constexpr (F == PixelFormat::kPacked3) return 3 * (y * width + x);
    if constexpr (F == PixelFormat::kYuyv) return 2 * (y * width + (x & ~1));
    return y * width + x;
}

X2C_HD std::int32_t chroma_offset(std::int32_t width, std::int32_t height, std::int32_t x, std::int32_t y) {
    return (height + (y >> 1)) * width + (x & ~1);
}

// Whether the kRaw layout of every sample of a block can be read: all inside, and the last pixel's bytes
// do not reach past the frame's end.
template <PixelFormat F>
bool raw_readable(const CropJob& job, const Line& u, const Line& v) {
    if (!u.inside(job.width) || !v.inside(job.height)) return false;
    const auto x = static_cast<std::int32_t>(u.high() + Line::kRoom);
    const auto y = static_cast<std::int32_t>(v.high() + Line::kRoom) + 1;
    const std::int32_t pixels = job.width * job.height;
    if constexpr (F == PixelFormat::kPacked3) return raw_offset<F>(job.width, x, y) + 8 <= 3 * pixels;
    if constexpr (F == PixelFormat::kYuyv) return raw_offset<F>(job.width, x, y) + 8 <= 2 * pixels;
    return chroma_offset(job.width, job.height, x, y) + 4 <= pixels / 2 * 3;
}

template <PixelFormat F>
void set_offsets(const CropJob& job, int n, Block& block) {
    const std::int32_t width = job.width, height = job.height;
    for (int i = 0; i < n; ++i) {
        block.offset[i] = raw_offset<F>(width, block.x[i], block.y[i]);
        if constexpr (F == PixelFormat::kNv12) {
            block.upper_chroma[i] = chroma_offset(width, height, block.x[i], block.y[i]);
            block.lower_chroma[i] = chroma_offset(width, height, block.x[i], block.y[i] + 1);
        }
    }
}

template <PixelFormat F>
void gather_corners(const CropJob& job, int n, Block& block) {
    const auto corner = [&job](std::int32_t x, std::int32_t y) {
        return fetch_or_black<F>(job.frame, job.width, job.height, x, y);
    };
    for (int i = 0; i < n; ++i) {
        const std::int32_t x = block.x[i], y = block.y[i];
        block.upper[2 * i] = corner(x, y);
        block.upper[2 * i + 1] = corner(x + 1, y);
        block.lower[2 * i] = corner(x, y + 1);
        block.lower[2 * i + 1] = corner(x + 1, y + 1);
    }
}

}  // namespace
}  // namespace x2c::cpu::X2C_VARIANT
