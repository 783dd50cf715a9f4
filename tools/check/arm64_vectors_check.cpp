// What a processor gives for NEON's float instructions, results and flags, as a hash for each kind of input: two
// emulators that print the same agree bit by bit on 20,000 inputs each (tools/check/arm64_qemu.py).
#include <arm_neon.h>

#include <cstdint>
#include <cstdio>
#include <cstring>

namespace {

constexpr std::uint32_t kSpecial[] = {0x00000000, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000,
                                      0x7f800001, 0x00800000, 0x007fffff, 0x00000001, 0x80000001,
                                      0x7f7fffff, 0x3f800000, 0xbf800000, 0x00800001};
constexpr std::uint64_t kInexact = 0x10;

std::uint32_t random32() {
    static std::uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<std::uint32_t>(state >> 16);
}

enum Inputs { kEveryday, kAnyBits, kSpecials, kMixed, kInputs };

std::uint32_t input(Inputs kind) {
    const std::uint32_t bits = random32();
    const std::uint32_t special = kSpecial[random32() % 14];
    switch (kind) {
        case kEveryday:
            return (bits & 0x80ffffff) | ((0x3c + random32() % 8) << 24);
        case kAnyBits:
            return bits;
        case kSpecials:
            return special;
        default:  // tiny ones, that underflow, between special and any
            return random32() % 3 == 0   ? special
                   : random32() % 2 == 0 ? bits
                                         : (bits & 0x807fffff) | ((1 + random32() % 30) << 23);
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

float32x4_t vector(Inputs kind) {
    const std::uint32_t lanes[4] = {input(kind), input(kind), input(kind), input(kind)};
    return vreinterpretq_f32_u32(vld1q_u32(lanes));
}

template <typename Operation>
void print(const char* name, Operation operation) {
    for (int kind = 0; kind < kInputs; ++kind) {
        Hash hash;
        for (int i = 0; i < 20000; ++i) {
            const auto inputs = static_cast<Inputs>(kind);
            const float32x4_t a = vector(inputs), c = vector(inputs);
            const float32x4_t b = random32() % 4 == 0 ? a : vector(inputs);
            std::uint64_t flags = i % 4 == 0 ? 0 : kInexact;
            asm volatile("msr fpsr, %0" ::"r"(flags));
            const auto result = operation(a, b, c);
            asm volatile("mrs %0, fpsr" : "=r"(flags) : "w"(result));
            hash.add(&result, sizeof result);
            hash.add(&flags, sizeof flags);
        }
        std::printf("%s %d %016llx\n", name, kind, hash.value());
    }
}

}  // namespace

#define PRINT(EXPRESSION) \
    print(#EXPRESSION, [](float32x4_t a, float32x4_t b, [[maybe_unused]] float32x4_t c) { return EXPRESSION; })

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
}
