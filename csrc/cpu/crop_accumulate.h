#pragma once

#include <cstring>

#include "crop_block.h"

namespace x2c::cpu::X2C_VARIANT {
namespace {

template <int Bytes>
void copy(const std::uint8_t* frame, std::int32_t offset, std::uint32_t* to) {
    std::memcpy(to, frame + offset, Bytes);
}

template <PixelFormat F>
void gather_raw(const std::uint8_t* frame, std::int32_t next_row, int n, Block& block) {
    for (int i = 0; i < n; ++i) {
        const std::int32_t upper = block.offset[i], lower = upper + next_row;
        if constexpr (F == PixelFormat::kNv12) {
            copy<4>(frame, upper, block.upper + 2 * i);
            copy<4>(frame, block.upper_chroma[i], block.upper + 2 * i + 1);
            copy<4>(frame, lower, block.lower + 2 * i);
            copy<4>(frame, block.lower_chroma[i], block.lower + 2 * i + 1);
        } else {
            copy<8>(frame, upper, block.upper + 2 * i);
            copy<8>(frame, lower, block.lower + 2 * i);
        }
    }
}

struct Neighbours {
    PackedPixel left, right;
};

// The two packed pixels in a pair of words; little-endian. `odd`: the left pixel's column is odd.
template <PixelFormat F, Layout L>
X2C_HD Neighbours unpack(std::uint32_t first, std::uint32_t second, bool odd) {
    if constexpr (L == Layout::kCorners) {
        return {first, second};
    } else if constexpr (F == PixelFormat::kPacked3) {
        return {first, (first >> 24) | (second << 8)};
    } else if constexpr (F == PixelFormat::kYuyv) {  // Y U Y V
        const auto chroma = [](std::uint32_t pair) { return (pair & 0xFF00u) | ((pair >> 8) & 0xFF0000u); };
        const std::uint32_t left_luma = odd ? first >> 16 : first;
        const std::uint32_t right_luma = odd ? second : first >> 16;
        const std::uint32_t right_pair = odd ? second : first;
        return {(left_luma & 0xFFu) | chroma(first), (right_luma & 0xFFu) | chroma(right_pair)};
    } else {  // Y Y . ., U V U V
        const std::uint32_t right_chroma = odd ? second >> 16 : second;
        return {(first & 0xFFu) | (second << 8), ((first >> 8) & 0xFFu) | (right_chroma << 8)};
    }
}

template <PixelFormat F, Layout L, bool First>
void accumulate(int n, Block& block) {
    for (int i = 0; i < n; ++i) {
        const BilinearWeights w = bilinear_weights(block.fx[i], block.fy[i]);
        const bool odd = (block.x[i] & 1) != 0;
        const Neighbours up = unpack<F, L>(block.upper[2 * i], block.upper[2 * i + 1], odd);
        const Neighbours low = unpack<F, L>(block.lower[2 * i], block.lower[2 * i + 1], odd);
        const float c0 = blend<0>(w, up.left, up.right, low.left, low.right);
        const float c1 = blend<1>(w, up.left, up.right, low.left, low.right);
        const float c2 = blend<2>(w, up.left, up.right, low.left, low.right);
        block.c[0][i] = First ? c0 : block.c[0][i] + c0;
        block.c[1][i] = First ? c1 : block.c[1][i] + c1;
        block.c[2][i] = First ? c2 : block.c[2][i] + c2;
    }
}

template <PixelFormat F, bool First>
void accumulate_black(int n, Block& block) {
    constexpr PackedPixel kBlack = black<F>();
    const float values[] = {channel<0>(kBlack), channel<1>(kBlack), channel<2>(kBlack)};
    for (int k = 0; k < 3; ++k) {
        for (int i = 0; i < n; ++i) block.c[k][i] = First ? values[k] : block.c[k][i] + values[k];
    }
}

#if !defined(__AVX2__) && !defined(X2C_NEON)  // these two have faster ones of their own
template <PixelFormat F, bool First>
void accumulate_raw(const std::uint8_t* frame, std::int32_t next_row, int n, Block& block) {
    gather_raw<F>(frame, next_row, n, block);
    accumulate<F, Layout::kRaw, First>(n, block);
}
#endif

}  // namespace
}  // namespace x2c::cpu::X2C_VARIANT
