#pragma once

#include <cstdint>
#include <cstring>

namespace x2c {

// The IEEE 754 half nearest to `value` (ties to even), as bits; overflow gives infinity, NaN stays NaN.
inline std::uint16_t half_bits(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const std::uint32_t sign = (bits >> 16) & 0x8000u;
    const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
    std::uint32_t half;
    if (magnitude > 0x7F800000u) {
        half = 0x7E00u;
    } else if (magnitude >= 0x477FF000u) {  // 65520 and more round to infinity
        half = 0x7C00u;
    } else if (magnitude >= 0x38800000u) {  // normal halves: rebias the exponent, round 13 bits away
        const std::uint32_t rebased = magnitude - 0x38000000u;
        half = (rebased + 0xFFFu + ((rebased >> 13) & 1u)) >> 13;
    } else {  // subnormal halves: adding 0.5 makes the float adder round to multiples of 2^-24
        float small;
        std::memcpy(&small, &magnitude, sizeof small);
        small += 0.5f;
        std::memcpy(&half, &small, sizeof half);
        half -= 0x3F000000u;
    }
    return static_cast<std::uint16_t>(sign | half);
}

// The value of an IEEE 754 half given as bits.
inline float half_value(std::uint16_t bits) {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
    const std::uint32_t magnitude = static_cast<std::uint32_t>(bits & 0x7FFFu) << 13;
    std::uint32_t word;
    if (magnitude >= 0x0F800000u) {  // infinity, NaN
        word = magnitude + 0x70000000u;
    } else if (magnitude >= 0x00800000u) {  // normal: rebias the exponent
        word = magnitude + 0x38000000u;
    } else {  // subnormal: let the float adder normalise it
        word = magnitude + 0x38800000u;
        float value;
        std::memcpy(&value, &word, sizeof value);
        value -= 6.103515625e-05f;  // 2^-14
        std::memcpy(&word, &value, sizeof word);
    }
    word |= sign;
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
}

}  // namespace x2c
