#pragma once

#include <cstdint>
#include <cstring>

#include "platform.h"

namespace x2c {

// exp(x) for x <= 0, in steps that compilers turn into vector code: exp(x) = 2^n e^r with |r| <= ln(2)/2
// and a polynomial for e^r (minimax, 3e-9). Relative error below 2e-7; below -80, where the result would
// get near the subnormal numbers, it is exp(-80) = 2e-35. NaN stays NaN.
X2C_HD float exp_nonpositive(float x) {
    constexpr float kLog2E = 1.44269504f;
    constexpr float kLn2High = 0.693359375f;  // short enough for n * kLn2High to be exact
    constexpr float kLn2Low = -2.12194440e-4f;
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    x = x < -80.0f ? -80.0f : x;
    const float rounded = x * kLog2E + kRound;
    const float n = rounded - kRound;
    const float r = (x - n * kLn2High) - n * kLn2Low;
    float q = 0.0013814467f;
    q = q * r + 0.008368781f;
    q = q * r + 0.041668393f;
    q = q * r + 0.1666652f;
    q = q * r + 0.49999994f;
    const float power = 1.0f + (r + r * r * q);
    std::uint32_t bits;
    std::memcpy(&bits, &rounded, sizeof bits);
    bits = (bits << 23) + 0x3F800000u;  // 2^n
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return power * scale;
}

}  // namespace x2c
