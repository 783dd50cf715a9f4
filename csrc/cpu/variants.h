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

}  // namespace x2c::cpu
