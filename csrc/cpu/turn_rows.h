#pragma once

#if defined(X2C_NEON)
#include <arm_neon.h>
#endif

// Samples whose channels are contiguous, as a row for each channel. Included by a file that is compiled once
// per instruction set.
namespace x2c::cpu::X2C_VARIANT {
namespace {

constexpr int kTurned = 4;  // rows made together

// rows[k][i] = samples[i * channels + k] for i < n and k < count <= kTurned. Compilers make one load and one
// store a number of it: they know no pattern for a stride that is not a constant.
inline void turn_rows(const float* samples, int channels, int n, float* const (&rows)[kTurned], int count) {
    int i = 0;
#if defined(X2C_NEON)
    for (; count == kTurned && i + 4 <= n; i += 4) {
        const float* from = samples + i * channels;
        const float32x4_t s0 = vld1q_f32(from), s1 = vld1q_f32(from + channels);
        const float32x4_t s2 = vld1q_f32(from + 2 * channels), s3 = vld1q_f32(from + 3 * channels);
        const float64x2_t even01 = vreinterpretq_f64_f32(vtrn1q_f32(s0, s1));
        const float64x2_t even23 = vreinterpretq_f64_f32(vtrn1q_f32(s2, s3));
        const float64x2_t odd01 = vreinterpretq_f64_f32(vtrn2q_f32(s0, s1));
        const float64x2_t odd23 = vreinterpretq_f64_f32(vtrn2q_f32(s2, s3));
        vst1q_f32(rows[0] + i, vreinterpretq_f32_f64(vtrn1q_f64(even01, even23)));
        vst1q_f32(rows[1] + i, vreinterpretq_f32_f64(vtrn1q_f64(odd01, odd23)));
        vst1q_f32(rows[2] + i, vreinterpretq_f32_f64(vtrn2q_f64(even01, even23)));
        vst1q_f32(rows[3] + i, vreinterpretq_f32_f64(vtrn2q_f64(odd01, odd23)));
    }
#endif
    for (int k = 0; k < count; ++k) {
        for (int at = i; at < n; ++at) rows[k][at] = samples[at * channels + k];
    }
}

}  // namespace
}  // namespace x2c::cpu::X2C_VARIANT
