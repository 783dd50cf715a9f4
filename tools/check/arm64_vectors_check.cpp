// What a processor gives for NEON's float instructions, results and flags, as a hash for each kind of input:
// two emulators that print the same agree bit by bit on 20,000 inputs each (tools/check/arm64_qemu.py).
#include <arm_neon.h>

#include <cstdint>
#include <cstdio>
#include <cstring>

namespace {

constexpr std::uint32_t kSpecial[] = {0x00000000, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000,
                                      0x7f800001, 0x00800000, 0x007fffff, 0x00000001, 0x80000001,
                                      0x7f7fffff, 0x3f800000, 0xbf800000, 0x00800001};
constexpr std::uint16_t kSpecialHalf[] = {0x0000, 0x8000, 0x7c00, 0xfc00, 0x7e00, 0x7d01, 0x0400,
                                          0x03ff, 0x0001, 0x8001, 0x7bff, 0x3c00, 0xbc00, 0x0401};

// 1, which the compiler does not know.
float one() {
    float made = 1.0f;
    asm volatile("" : "+w"(made));
    return made;
}

std::uint32_t random32() {
    static std::uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<std::uint32_t>(state >> 16);
}

enum Inputs { kEveryday, kAnyBits, kSpecials, kMixed, kInputs };

// One of a vector's numbers, as its bits: Bits is std::uint32_t for a float, std::uint16_t for a half.
template <typename Bits>
Bits input(Inputs kind) {
    constexpr bool kHalf = sizeof(Bits) == 2;
    constexpr int kFraction = kHalf ? 10 : 23;
    constexpr std::uint32_t kKept = kHalf ? 0x83ff : 0x807fffff;  // sign and fraction
    const std::uint32_t bits = random32();
    const std::uint32_t special = kHalf ? kSpecialHalf[random32() % 14] : kSpecial[random32() % 14];
    const std::uint32_t everyday = (bits & kKept) | ((kHalf ? 8 : 120) + random32() % 16) << kFraction;
    const std::uint32_t tiny = (bits & kKept) | (1 + random32() % (kHalf ? 12 : 30)) << kFraction;
    switch (kind) {
        case kEveryday:
            return static_cast<Bits>(everyday);
        case kAnyBits:
            return static_cast<Bits>(bits);
        case kSpecials:
            return static_cast<Bits>(special);
        default:
            return static_cast<Bits>(random32() % 3 == 0 ? special : random32() % 2 == 0 ? bits : tiny);
    }
}

class Hash {
  public:
    void add(const void* bytes, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            value_ = (value_ ^ static_cast<const unsigned char*>(bytes)[i]) * 1099511628211u;
        }
    }
    unsigned long long value() const { return value_; }

  private:
    std::uint64_t value_ = 1469598103934665603u;
};

template <typename Vector, typename Bits>
Vector vector(Inputs kind) {
    Bits lanes[sizeof(Vector) / sizeof(Bits)];
    for (Bits& lane : lanes) {
        lane = input<Bits>(kind);
    }
    Vector made;
    std::memcpy(&made, lanes, sizeof made);
    return made;
}

// Raises "inexact" where qemu keeps it: for floats and for halves apart. A write to FPSR would not do.
template <typename Vector>
void be_inexact() {
    if constexpr (sizeof(Vector{}[0]) == 2) {
        asm volatile("" ::"w"(vdivq_f16(vdupq_n_f16(one()), vdupq_n_f16(3 * one()))));
    } else {
        asm volatile("" ::"w"(vdivq_f32(vdupq_n_f32(one()), vdupq_n_f32(3 * one()))));
    }
}

template <typename Vector, typename Bits, typename Operation>
void print(const char* name, Operation operation) {
    for (int kind = 0; kind < kInputs; ++kind) {
        Hash hash;
        for (int i = 0; i < 20000; ++i) {
            const auto inputs = static_cast<Inputs>(kind);
            Vector a = vector<Vector, Bits>(inputs), c = vector<Vector, Bits>(inputs);
            Vector b = random32() % 4 == 0 ? a : vector<Vector, Bits>(inputs);
            std::uint64_t flags = 0;
            asm volatile("msr fpsr, %0" ::"r"(flags));
            if (i % 4 != 0) {
                be_inexact<Vector>();
            }
            asm volatile("" : "+w"(a), "+w"(b), "+w"(c));  // the operation stays behind the flags' change
            const auto result = operation(a, b, c);
            asm volatile("mrs %0, fpsr" : "=r"(flags) : "w"(result));
            hash.add(&result, sizeof result);
            hash.add(&flags, sizeof flags);
        }
        std::printf("%s %d %016llx\n", name, kind, hash.value());
    }
}

}  // namespace

#define PRINT_AS(VECTOR, BITS, EXPRESSION)                                                    \
    print<VECTOR, BITS>(#EXPRESSION, []([[maybe_unused]] VECTOR a, [[maybe_unused]] VECTOR b, \
                                        [[maybe_unused]] VECTOR c) { return EXPRESSION; })
#define PRINT(EXPRESSION) PRINT_AS(float32x4_t, std::uint32_t, EXPRESSION)
#define PRINT_HALF(EXPRESSION) PRINT_AS(float16x8_t, std::uint16_t, EXPRESSION)

int main() {
    PRINT(vaddq_f32(a, b));
    PRINT(vsubq_f32(a, b));
    PRINT(vmulq_f32(a, b));
    PRINT(vmulq_laneq_f32(a, b, 2));
    PRINT(vmulq_laneq_f32(a, a, 2));
    PRINT(vfmaq_f32(c, a, b));
    PRINT(vfmsq_f32(c, a, b));
    PRINT(vfmaq_laneq_f32(c, a, b, 3));
    PRINT(vfmsq_laneq_f32(c, a, b, 1));
    PRINT(vfmaq_laneq_f32(a, b, a, 2));
    PRINT(vmaxq_f32(a, b));
    PRINT(vminq_f32(a, b));
    PRINT(vmaxnmq_f32(a, b));
    PRINT(vminnmq_f32(a, b));
    PRINT(vceqq_f32(a, b));
    PRINT(vcgeq_f32(a, b));
    PRINT(vcgtq_f32(a, b));
    PRINT(vadd_f32(vget_low_f32(a), vget_low_f32(b)));
    PRINT(vfma_f32(vget_low_f32(c), vget_low_f32(a), vget_low_f32(b)));
    PRINT(vmul_lane_f32(vget_low_f32(a), vget_low_f32(b), 1));
    PRINT(vmax_f32(vget_low_f32(a), vget_low_f32(b)));
    PRINT_HALF(vaddq_f16(a, b));
    PRINT_HALF(vsubq_f16(a, b));
    PRINT_HALF(vmulq_f16(a, b));
    PRINT_HALF(vmulq_laneq_f16(a, b, 5));
    PRINT_HALF(vmulq_laneq_f16(a, a, 6));
    PRINT_HALF(vfmaq_f16(c, a, b));
    PRINT_HALF(vfmsq_f16(c, a, b));
    PRINT_HALF(vfmaq_laneq_f16(c, a, b, 7));
    PRINT_HALF(vfmsq_laneq_f16(c, a, b, 1));
    PRINT_HALF(vfmaq_laneq_f16(a, b, a, 2));
    PRINT_HALF(vadd_f16(vget_low_f16(a), vget_low_f16(b)));
    PRINT_HALF(vfma_f16(vget_low_f16(c), vget_low_f16(a), vget_low_f16(b)));
}
