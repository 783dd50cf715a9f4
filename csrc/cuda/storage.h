#pragma once

#include <cuda_fp16.h>

#include <cstddef>

// Values in memory as floats or halves, always floats in arithmetic.
namespace x2c::cuda {

template <bool Half>
__device__ __forceinline__ float load(const void* array, std::ptrdiff_t at) {
    if constexpr (Half) {
        return __half2float(static_cast<const __half*>(array)[at]);
    } else {
        return static_cast<const float*>(array)[at];
    }
}

template <bool Half>
__device__ __forceinline__ void store(void* array, std::ptrdiff_t at, float value) {
    if constexpr (Half) {
        static_cast<__half*>(array)[at] = __float2half_rn(value);
    } else {
        static_cast<float*>(array)[at] = value;
    }
}

// Four neighbours at once; `at` and the array's address must be multiples of four values.
template <bool Half>
__device__ __forceinline__ void store_four(void* array, std::ptrdiff_t at, const float (&v)[4]) {
    if constexpr (Half) {
        auto* to = reinterpret_cast<__half2*>(static_cast<__half*>(array) + at);
        union {
            __half2 pair[2];
            uint2 word;
        } packed{{__floats2half2_rn(v[0], v[1]), __floats2half2_rn(v[2], v[3])}};
        *reinterpret_cast<uint2*>(to) = packed.word;
    } else {
        *reinterpret_cast<float4*>(static_cast<float*>(array) + at) = make_float4(v[0], v[1], v[2], v[3]);
    }
}

}  // namespace x2c::cuda
