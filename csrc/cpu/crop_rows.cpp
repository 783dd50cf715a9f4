// Compiled once per instruction set (CMakeLists.txt), into the namespace X2C_VARIANT.
//
// Output rows are made in blocks of pixels: short arrays on the stack and plain loops over them, which
// compilers turn into vector code for any target. Only the loads of frame pixels are scalar (gather
// instructions are no faster). A block whose samples all lie inside the frame takes the quick way, two
// 8-byte loads per sample; the others look at every corner.
#include <algorithm>
#include <cstdint>

#include "crop_accumulate.h"
#include "crop_block.h"
#include "crop_normalize.h"
#include "half_rows.h"
#if defined(__AVX2__)
#include "crop_accumulate_avx2.h"
#elif defined(X2C_NEON)
#include "crop_accumulate_neon.h"
#endif

namespace x2c::cpu::X2C_VARIANT {
namespace {

bool outside(const CropJob& job, const Line& u, const Line& v) {
    return u.outside(job.width) || v.outside(job.height);
}

template <PixelFormat F, bool First>
void sample(const CropJob& job, const Line& u, const Line& v, Block& block) {
    if (outside(job, u, v)) {
        accumulate_black<F, First>(u.n, block);
    } else if (raw_readable<F>(job, u, v)) {
        locate_inside(u, block.x, block.fx);
        locate_inside(v, block.y, block.fy);
        set_offsets<F>(job, u.n, block);
        accumulate_raw<F, First>(job.frame, raw_offset<F>(job.width, 0, 1), u.n, block);
    } else {
        locate_anywhere(u, job.width, block.x, block.fx);
        locate_anywhere(v, job.height, block.y, block.fy);
        gather_corners<F>(job, u.n, block);
        accumulate<F, Layout::kCorners, First>(u.n, block);
    }
}

// The block's sums to normalised colours.
template <PixelFormat F>
void finish(const CropJob& job, int n, const Block& block, float* __restrict to0, float* __restrict to1,
            float* __restrict to2) {
    const float average = 1.0f / static_cast<float>(job.taps * job.taps);
    const float s0 = job.scale[0], s1 = job.scale[1], s2 = job.scale[2];
    const float o0 = job.offset[0], o1 = job.offset[1], o2 = job.offset[2];
    for (int i = 0; i < n; ++i) {
        float c0 = average * block.c[0][i], c1 = average * block.c[1][i], c2 = average * block.c[2][i];
        if constexpr (F != PixelFormat::kPacked3) {
            const Rgb rgb = rgb_from_yuv(c0, c1, c2);
            c0 = rgb.r;
            c1 = rgb.g;
            c2 = rgb.b;
        }
        to0[i] = c0 * s0 + o0;
        to1[i] = c1 * s1 + o1;
        to2[i] = c2 * s2 + o2;
    }
}

struct Lines {
    Line u, v;
};

// Where samples at output pixels (px + i, py) lie in the frame.
Lines lines_at(const CropJob& job, double px, double py, int n) {
    const double* a = job.affine;
    return {{a[0] * px + a[1] * py + a[2], a[0], n}, {a[3] * px + a[4] * py + a[5], a[3], n}};
}

template <PixelFormat F>
void crop_block(const CropJob& job, int x, int y, int n, Block& block) {
    const double spacing = 1.0 / job.taps;
    for (int tap = 0; tap < job.taps * job.taps; ++tap) {
        const double px = x + (tap % job.taps + 0.5) * spacing - 0.5;
        const double py = y + (tap / job.taps + 0.5) * spacing - 0.5;
        const auto [u, v] = lines_at(job, px, py, n);
        if (tap == 0) {
            sample<F, true>(job, u, v, block);
        } else {
            sample<F, false>(job, u, v, block);
        }
    }
    const auto plane = static_cast<std::ptrdiff_t>(job.out_width) * job.out_height;
    const auto pixel = static_cast<std::ptrdiff_t>(job.out_width) * y + x;
    if (job.half) {
        finish<F>(job, n, block, block.colour[0], block.colour[1], block.colour[2]);
        auto* out = static_cast<std::uint16_t*>(job.out) + pixel;
        for (int k = 0; k < 3; ++k) store_half(block.colour[k], n, out + plane * job.plane[k]);
    } else {
        float* out = static_cast<float*>(job.out) + pixel;
        finish<F>(job, n, block, out + plane * job.plane[0], out + plane * job.plane[1],
                  out + plane * job.plane[2]);
    }
}

// How many pixels from (x, y) on to do together: many, unless that would send pixels that are wholly
// inside or outside the frame the slow way with those at its edge.
template <PixelFormat F>
int block_size(const CropJob& job, int x, int y) {
    int n = std::min(kBlock, job.out_width - x);
    while (n > kPiece) {
        const auto [u, v] = lines_at(job, x, y, n);
        if (raw_readable<F>(job, u, v) || outside(job, u, v)) break;
        n = std::max(kPiece, n / 2);
    }
    return n;
}

template <PixelFormat F>
void crop_rows_of(const CropJob& job, int begin, int end) {
    Block block{};
    for (int y = begin; y < end; ++y) {
        for (int x = 0; x < job.out_width;) {
            const int n = block_size<F>(job, x, y);
            crop_block<F>(job, x, y, n, block);
            x += n;
        }
    }
}

}  // namespace

void crop_rows(const CropJob& job, int begin, int end) {
    switch (job.format) {
        case PixelFormat::kPacked3:
            return crop_rows_of<PixelFormat::kPacked3>(job, begin, end);
        case PixelFormat::kYuyv:
            return crop_rows_of<PixelFormat::kYuyv>(job, begin, end);
        case PixelFormat::kNv12:
            return crop_rows_of<PixelFormat::kNv12>(job, begin, end);
    }
}

}  // namespace x2c::cpu::X2C_VARIANT
