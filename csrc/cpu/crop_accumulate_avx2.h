#pragma once

#include <immintrin.h>

#include <cstring>

#include "crop_block.h"

// accumulate_raw() with the four corners weighted in 16-bit integers: weights of 14 bits, so that a sample
// is within 0.03 of a grey level of the exact one.
namespace x2c::cpu::X2C_VARIANT {
namespace {

constexpr int kLanes = 8;

std::int64_t load64(const std::uint8_t* p) {
    std::int64_t word;
    std::memcpy(&word, p, sizeof word);
    return word;
}

std::int32_t load32(const std::uint8_t* p) {
    std::int32_t word;
    std::memcpy(&word, p, sizeof word);
    return word;
}

// The kRaw bytes of samples i and i + 1.
template <PixelFormat F>
__m128i load_two(const std::uint8_t* frame, const std::int32_t* offset, std::int32_t row,
                 const std::int32_t* chroma, int i) {
    const std::uint8_t* first = frame + offset[i] + row;
    const std::uint8_t* second = frame + offset[i + 1] + row;
    if constexpr (F == PixelFormat::kNv12) {
        const __m128i luma = _mm_insert_epi32(_mm_cvtsi32_si128(load32(first)), load32(second), 1);
        const __m128i uv =
            _mm_insert_epi32(_mm_cvtsi32_si128(load32(frame + chroma[i])), load32(frame + chroma[i + 1]), 1);
        return _mm_unpacklo_epi32(luma, uv);
    } else {
        return _mm_insert_epi64(_mm_cvtsi64_si128(load64(first)), load64(second), 1);
    }
}

// Byte shuffle that takes a sample's 8 raw bytes to c0L c1L c0R c1R | c2L 0 c2R 0 (channel, left or right),
// and what to add to it where the left pixel's column is odd.
struct Shuffle {
    std::int64_t even, odd_add;
};

constexpr std::int64_t bytes(int b0, int b1, int b2, int b3, int b4, int b5, int b6, int b7) {
    std::uint64_t word = 0;
    for (const int b : {b7, b6, b5, b4, b3, b2, b1, b0})
        word = (word << 8) | (static_cast<unsigned>(b) & 0xFFu);
    return static_cast<std::int64_t>(word);
}

template <PixelFormat F>
constexpr Shuffle shuffle() {
    if (F == PixelFormat::kPacked3) return {bytes(0, 1, 3, 4, 2, -1, 5, -1), 0};
    if (F == PixelFormat::kYuyv) return {bytes(0, 1, 2, 1, 3, -1, 3, -1), bytes(2, 0, 2, 4, 0, 0, 4, 0)};
    return {bytes(0, 4, 1, 4, 5, -1, 5, -1), bytes(0, 0, 0, 2, 0, 0, 2, 0)};
}

struct Pairs {
    __m256i c0, c1, c2;  // per sample, 16 bits left and 16 bits right
};

// Samples 0 1 4 5 and 2 3 6 7 of one frame row (the order in which the shuffles leave 0..7).
X2C_HD Pairs make_pairs(__m256i raw0145, __m256i raw2367, __m256i control0145, __m256i control2367) {
    const __m256 a = _mm256_castsi256_ps(_mm256_shuffle_epi8(raw0145, control0145));
    const __m256 b = _mm256_castsi256_ps(_mm256_shuffle_epi8(raw2367, control2367));
    const __m256i c01 = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88));
    const __m256i c2 = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xDD));
    return {_mm256_and_si256(c01, _mm256_set1_epi32(0x00FF00FF)), _mm256_srli_epi16(c01, 8), c2};
}

template <bool First>
X2C_HD void add_channel(__m256i upper, __m256i lower, __m256i upper_weights, __m256i lower_weights,
                        float* sum) {
    const __m256i weighted =
        _mm256_add_epi32(_mm256_madd_epi16(upper, upper_weights), _mm256_madd_epi16(lower, lower_weights));
    const __m256 unit = _mm256_set1_ps(1.0f / 16384.0f);
    const __m256 value = _mm256_cvtepi32_ps(weighted);
    _mm256_store_ps(sum,
                    First ? _mm256_mul_ps(value, unit) : _mm256_fmadd_ps(value, unit, _mm256_load_ps(sum)));
}

template <PixelFormat F, bool First>
void accumulate_raw(const std::uint8_t* frame, std::int32_t next_row, int n, Block& block) {
    const int padded = pad(block, n, kLanes);
    constexpr Shuffle kShuffle = shuffle<F>();
    const __m256i even = _mm256_add_epi64(
        _mm256_set1_epi64x(kShuffle.even),
        _mm256_set_epi64x(bytes(8, 8, 8, 8, 8, 0, 8, 0), 0, bytes(8, 8, 8, 8, 8, 0, 8, 0), 0));
    const __m256i odd_add = _mm256_set1_epi64x(kShuffle.odd_add);
    const __m256 one = _mm256_set1_ps(16384.0f);
    const __m256i one_int = _mm256_set1_epi32(16384);
    for (int i = 0; i < padded; i += kLanes) {
        const auto load = [&](std::int32_t row, const std::int32_t* chroma, int at) {
            const __m128i low = load_two<F>(frame, block.offset, row, chroma, i + at);
            const __m128i high = load_two<F>(frame, block.offset, row, chroma, i + at + 4);
            return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
        };
        __m256i control0145 = even, control2367 = even;
        if constexpr (F != PixelFormat::kPacked3) {
            const __m256i x = _mm256_load_si256(reinterpret_cast<const __m256i*>(block.x + i));
            const __m256i odd = _mm256_srai_epi32(_mm256_slli_epi32(x, 31), 31);
            control0145 = _mm256_add_epi8(even, _mm256_and_si256(odd_add, _mm256_unpacklo_epi32(odd, odd)));
            control2367 = _mm256_add_epi8(even, _mm256_and_si256(odd_add, _mm256_unpackhi_epi32(odd, odd)));
        }
        const Pairs upper = make_pairs(load(0, block.upper_chroma, 0), load(0, block.upper_chroma, 2),
                                       control0145, control2367);
        const Pairs lower = make_pairs(load(next_row, block.lower_chroma, 0),
                                       load(next_row, block.lower_chroma, 2), control0145, control2367);

        // Rounded so that the four weights always add up to one.
        const __m256 fx = _mm256_mul_ps(_mm256_load_ps(block.fx + i), one);
        const __m256 fy = _mm256_load_ps(block.fy + i);
        const __m256i right = _mm256_cvtps_epi32(fx);
        const __m256i w11 = _mm256_cvtps_epi32(_mm256_mul_ps(fx, fy));
        const __m256i w01 = _mm256_sub_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(fy, one)), w11);
        const __m256i w10 = _mm256_sub_epi32(right, w11);
        const __m256i w00 = _mm256_sub_epi32(_mm256_sub_epi32(one_int, right), w01);
        const __m256i upper_weights = _mm256_blend_epi16(w00, _mm256_slli_epi32(w10, 16), 0xAA);
        const __m256i lower_weights = _mm256_blend_epi16(w01, _mm256_slli_epi32(w11, 16), 0xAA);

        add_channel<First>(upper.c0, lower.c0, upper_weights, lower_weights, block.c[0] + i);
        add_channel<First>(upper.c1, lower.c1, upper_weights, lower_weights, block.c[1] + i);
        add_channel<First>(upper.c2, lower.c2, upper_weights, lower_weights, block.c[2] + i);
    }
}

}  // namespace
}  // namespace x2c::cpu::X2C_VARIANT
