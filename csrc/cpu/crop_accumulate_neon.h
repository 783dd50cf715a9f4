#pragma once

#include <arm_neon.h>

#include <cstring>

#include "crop_block.h"

// accumulate_raw() with the four corners weighted in 16-bit integers: weights of 15 bits, rounded down, so
// that a sample is within 0.03 of a grey level of the exact one.
namespace x2c::cpu::X2C_VARIANT {
namespace {

constexpr int kLanes = 4;
constexpr int kWeightBits = 15;

X2C_HD std::uint32_t load32(const std::uint8_t* p) {
    std::uint32_t word;
    std::memcpy(&word, p, sizeof word);
    return word;
}

// The kRaw bytes of four samples in one frame row, as one table: sample s's 8 bytes from byte 8s on, or for
// NV12 its luma from byte 4s on and its chroma from byte 16 + 4s on.
template <PixelFormat F>
X2C_HD uint8x16x2_t load_four(const std::uint8_t* frame, const std::int32_t* offset, std::int32_t row,
                              const std::int32_t* chroma) {
    if constexpr (F == PixelFormat::kNv12) {
        const auto four = [&](const std::int32_t* at, std::int32_t more) {
            uint32x4_t words = vdupq_n_u32(load32(frame + at[0] + more));
            words = vsetq_lane_u32(load32(frame + at[1] + more), words, 1);
            words = vsetq_lane_u32(load32(frame + at[2] + more), words, 2);
            return vsetq_lane_u32(load32(frame + at[3] + more), words, 3);
        };
        return {vreinterpretq_u8_u32(four(offset, row)), vreinterpretq_u8_u32(four(chroma, 0))};
    } else {
        const auto eight = [&](int s) { return vld1_u8(frame + offset[s] + row); };
        return {vcombine_u8(eight(0), eight(1)), vcombine_u8(eight(2), eight(3))};
    }
}

// Where a channel's bytes are in that table, as the indices of a look-up that leaves eight 16-bit numbers:
// the left pixels of the four samples, then the right ones. `odd_add`: what to add where the left pixel's
// column is odd.
struct Lookup {
    std::uint16_t index[8], odd_add[8];
};

constexpr Lookup lookup(int left, int right, int sample_bytes, int left_odd_add, int right_odd_add) {
    Lookup made{};
    for (int s = 0; s < kLanes; ++s) {
        const auto index = [&](int byte) {  // 0xFF is outside the table: the upper byte becomes 0
            return static_cast<std::uint16_t>(0xFF00 | (sample_bytes * s + byte));
        };
        made.index[s] = index(left);
        made.index[s + kLanes] = index(right);
        made.odd_add[s] = static_cast<std::uint16_t>(left_odd_add);
        made.odd_add[s + kLanes] = static_cast<std::uint16_t>(right_odd_add);
    }
    return made;
}

template <PixelFormat F, int Channel>
constexpr Lookup lookup_of() {
    if (F == PixelFormat::kPacked3) return lookup(Channel, 3 + Channel, 8, 0, 0);
    if (F == PixelFormat::kYuyv) {  // Y U Y V Y U Y V
        if (Channel == 0) return lookup(0, 2, 8, 2, 2);
        return lookup(2 * Channel - 1, 2 * Channel - 1, 8, 0, 4);
    }
    if (Channel == 0) return lookup(0, 1, 4, 0, 0);  // Y Y . ., U V U V
    return lookup(15 + Channel, 15 + Channel, 4, 0, 2);
}

struct Weights {
    uint16x8_t upper, lower;  // of the left pixels, then of the right ones
};

// Rounded down so that the four always add up to one. None is negative: with r, d of 2^15 right and down,
// (2^15 - r)(2^15 - d) >= 0 makes w11 at least r + d - 2^15.
X2C_HD Weights integer_weights(float32x4_t fx, float32x4_t fy) {
    const uint32x4_t right = vcvtq_n_u32_f32(fx, kWeightBits);
    const uint32x4_t down = vcvtq_n_u32_f32(fy, kWeightBits);
    const uint32x4_t w11 = vcvtq_n_u32_f32(vmulq_f32(fx, fy), kWeightBits);
    const uint32x4_t w01 = vsubq_u32(down, w11);
    const uint32x4_t w10 = vsubq_u32(right, w11);
    const uint32x4_t w00 = vsubq_u32(vsubq_u32(vdupq_n_u32(1u << kWeightBits), right), w01);
    const auto both = [](uint32x4_t left, uint32x4_t to_the_right) {
        return vuzp1q_u16(vreinterpretq_u16_u32(left), vreinterpretq_u16_u32(to_the_right));
    };
    return {both(w00, w10), both(w01, w11)};
}

template <PixelFormat F, bool First, int Channel>
X2C_HD void add_channel(const uint8x16x2_t& upper, const uint8x16x2_t& lower, const Weights& weights,
                        uint16x4_t odd, float* sum) {
    static constexpr Lookup kLookup = lookup_of<F, Channel>();
    uint16x8_t wanted = vld1q_u16(kLookup.index);
    if constexpr (F != PixelFormat::kPacked3)
        wanted = vmlaq_u16(wanted, vcombine_u16(odd, odd), vld1q_u16(kLookup.odd_add));
    const auto pixels = [wanted](const uint8x16x2_t& raw) {
        return vreinterpretq_u16_u8(vqtbl2q_u8(raw, vreinterpretq_u8_u16(wanted)));
    };
    const uint16x8_t up = pixels(upper), low = pixels(lower);
    uint32x4_t weighted = vmull_u16(vget_low_u16(up), vget_low_u16(weights.upper));
    weighted = vmlal_high_u16(weighted, up, weights.upper);
    weighted = vmlal_u16(weighted, vget_low_u16(low), vget_low_u16(weights.lower));
    weighted = vmlal_high_u16(weighted, low, weights.lower);
    const float32x4_t value = vcvtq_n_f32_u32(weighted, kWeightBits);
    vst1q_f32(sum, First ? value : vaddq_f32(vld1q_f32(sum), value));
}

template <PixelFormat F, bool First>
void accumulate_raw(const std::uint8_t* frame, std::int32_t next_row, int n, Block& block) {
    const int padded = pad(block, n, kLanes);
    for (int i = 0; i < padded; i += kLanes) {
        const uint8x16x2_t upper = load_four<F>(frame, block.offset + i, 0, block.upper_chroma + i);
        const uint8x16x2_t lower = load_four<F>(frame, block.offset + i, next_row, block.lower_chroma + i);
        const Weights weights = integer_weights(vld1q_f32(block.fx + i), vld1q_f32(block.fy + i));
        const int32x4_t odd = vandq_s32(vld1q_s32(block.x + i), vdupq_n_s32(1));
        const uint16x4_t odd_column = vmovn_u32(vreinterpretq_u32_s32(odd));
        add_channel<F, First, 0>(upper, lower, weights, odd_column, block.c[0] + i);
        add_channel<F, First, 1>(upper, lower, weights, odd_column, block.c[1] + i);
        add_channel<F, First, 2>(upper, lower, weights, odd_column, block.c[2] + i);
    }
}

}  // namespace
}  // namespace x2c::cpu::X2C_VARIANT
