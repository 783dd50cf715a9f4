#pragma once

namespace x2c::cpu {

// Which build of the vector loops runs. kBaseline is what the compiler makes of the plain loops for the plain
// target, SSE2 or NEON: it is there on every machine, and what the others are compared with. kAvx2 needs
// AVX2, FMA and F16C. kNeon has loops written for NEON, which every 64-bit ARM has.
enum class Variant { kBaseline, kAvx2, kNeon };

bool supported(Variant variant);
// Where none was set, the fastest that is supported.
Variant current_variant();
void set_variant(Variant variant);

// A function of the variant's namespace: of those that this target was compiled for.
#if defined(X2C_HAVE_AVX2)
#define X2C_CHOSEN(function) (current_variant() == Variant::kAvx2 ? avx2::function : baseline::function)
#elif defined(X2C_HAVE_NEON)
#define X2C_CHOSEN(function) (current_variant() == Variant::kNeon ? neon::function : baseline::function)
#else
#define X2C_CHOSEN(function) (baseline::function)
#endif

}  // namespace x2c::cpu
