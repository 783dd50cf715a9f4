#pragma once

namespace x2c::cpu {

// Which build of the vector loops runs. kAvx2 needs AVX2, FMA and F16C; elsewhere (and on every machine,
// for comparison) kBaseline is what the compiler makes for the plain target: SSE2 or NEON.
enum class Variant { kBaseline, kAvx2 };

bool supported(Variant variant);
Variant current_variant();
void set_variant(Variant variant);

}  // namespace x2c::cpu
