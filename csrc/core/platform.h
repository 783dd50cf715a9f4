#pragma once

// Marks the per-element functions of csrc/core: the CPU loops and the CUDA kernels compile the same text.
#if defined(__CUDACC__)
#define X2C_HD __host__ __device__ __forceinline__
#else
// always_inline is more than speed: the CPU sources are compiled once per instruction set, and an
// out-of-line copy with AVX2 code could be the one that the linker keeps for everyone.
#define X2C_HD inline __attribute__((always_inline))
#endif
