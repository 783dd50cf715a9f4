#pragma once

#include <cstdint>
#if defined(__F16C__)
#include <immintrin.h>
#elif defined(X2C_NEON)
#include <arm_neon.h>
#endif

#include "../core/half.h"

// Rows of halves in memory, as floats where arithmetic is done. Included by the files that are compiled
// once per instruction set.
namespace x2c::cpu::X2C_VARIANT {
namespace {

using HalfBits = std::uint16_t;

inline void store_half(const float* values, int n, HalfBits* out) {
    int i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8) {
        const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(values + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), half);
    }
#elif defined(X2C_NEON)
    for (; i + 8 <= n; i += 8) {
        const float16x4_t low = vcvt_f16_f32(vld1q_f32(values + i));
        const float16x8_t half = vcvt_high_f16_f32(low, vld1q_f32(values + i + 4));
        vst1q_u16(out + i, vreinterpretq_u16_f16(half));
    }
#endif
    for (; i < n; ++i) out[i] = half_bits(values[i]);
}

inline void load_half(const HalfBits* values, int n, float* out) {
    int i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8) {
        const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values + i));
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(half));
    }
#elif defined(X2C_NEON)
    for (; i + 8 <= n; i += 8) {
        const float16x8_t half = vreinterpretq_f16_u16(vld1q_u16(values + i));
        vst1q_f32(out + i, vcvt_f32_f16(vget_low_f16(half)));
        vst1q_f32(out + i + 4, vcvt_high_f32_f16(half));
    }
#endif
    for (; i < n; ++i) out[i] = half_value(values[i]);
}

// A row as floats: itself, or converted into `scratch`.
inline const float* as_floats(const float* row, int, float*) { return row; }
inline const float* as_floats(const HalfBits* row, int n, float* scratch) {
    load_half(row, n, scratch);
    return scratch;
}

// Where to make a row that goes to `out`: there, or in `scratch` until finish_row() converts it.
inline float* begin_row(float* out, float*) { return out; }
inline float* begin_row(HalfBits*, float* scratch) { return scratch; }
inline void finish_row(const float*, int, float*) {}
inline void finish_row(const float* made, int n, HalfBits* out) { store_half(made, n, out); }

}  // namespace
}  // namespace x2c::cpu::X2C_VARIANT
