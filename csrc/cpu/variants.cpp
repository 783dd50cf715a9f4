#include "variants.h"

#include <atomic>
#include <initializer_list>

namespace x2c::cpu {
namespace {

Variant fastest() {
    for (const Variant variant : {Variant::kAvx2, Variant::kNeon}) {
        if (supported(variant)) return variant;
    }
    return Variant::kBaseline;
}

std::atomic<Variant>& chosen() {
    static std::atomic<Variant> variant{fastest()};
    return variant;
}

}  // namespace

bool supported(Variant variant) {
#if defined(X2C_HAVE_AVX2)
    // Every processor with AVX2 and FMA has F16C, which older compilers cannot ask for by name.
    if (variant == Variant::kAvx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#elif defined(X2C_HAVE_NEON)
    if (variant == Variant::kNeon) return true;
#endif
    return variant == Variant::kBaseline;
}

Variant current_variant() { return chosen().load(std::memory_order_relaxed); }

void set_variant(Variant variant) { chosen().store(variant, std::memory_order_relaxed); }

}  // namespace x2c::cpu
