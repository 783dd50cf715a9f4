// Compiled once per instruction set (CMakeLists.txt), into the namespace X2C_VARIANT.
//
// An output row is first a weighted sum of input rows (contiguous, so vector code), then resampled along x.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "face_to_mapping.h"
#include "half_rows.h"

namespace x2c::cpu::X2C_VARIANT {
namespace {

// Input samples of one output sample: up to in / out + 2 when areas are averaged, 2 max(in / out, 1) + 2
// under the triangle.
constexpr int kMaxWeights = 6 * kMaxResizeSide;

struct Work {
    int taps;
    std::int32_t first[kMaxResizeSide];
    alignas(64) float weight[kMaxWeights];  // tap by tap
    alignas(64) float column[2 * kMaxResizeSide + 8];
    alignas(64) float input[kMaxResizeSide];  // halves, as floats
    alignas(64) float made[kMaxResizeSide];   // on its way to half precision

    // Every sample gets as many taps as the widest one; those that it does not need have weight 0, and
    // read the zeros behind the row at worst.
    void set(const ResizeAxis& axis) {
        taps = 0;
        for (int i = 0; i < axis.out; ++i) {
            first[i] = axis.first(i);
            taps = std::max(taps, axis.last(i) - first[i] + 1);
        }
        for (int i = 0; i < axis.out; ++i) {
            const float unit = axis.unit(i);
            const int last = axis.last(i);
            for (int t = 0; t < taps; ++t) {
                const int j = first[i] + t;
                weight[t * axis.out + i] = j <= last ? static_cast<float>(axis.weight(i, j)) * unit : 0.0f;
            }
        }
        std::fill_n(column, axis.in + taps, 0.0f);
    }
};

void add_row(const float* __restrict row, float weight, int n, float* __restrict sum) {
    for (int i = 0; i < n; ++i) sum[i] += weight * row[i];
}

void resample(const Work& work, int n, float scale, float offset, float* __restrict out) {
    for (int i = 0; i < n; ++i) {
        const float* from = work.column + work.first[i];
        float sum = 0.0f;
        for (int t = 0; t < work.taps; ++t) sum += work.weight[t * n + i] * from[t];
        out[i] = sum * scale + offset;
    }
}

template <class In, class Out>
void rows_of(const FaceToMappingJob& job, int begin, int end) {
    Work work;
    work.set(job.x);
    const int width = job.x.in;
    const auto in_plane = static_cast<std::ptrdiff_t>(width) * job.y.in;
    const auto out_plane = static_cast<std::ptrdiff_t>(job.x.out) * job.y.out;
    for (int y = begin; y < end; ++y) {
        const float unit = job.y.unit(y);
        for (int k = 0; k < 3; ++k) {
            const In* image = static_cast<const In*>(job.image) + in_plane * k;
            std::fill_n(work.column, width, 0.0f);
            for (int j = job.y.first(y); j <= job.y.last(y); ++j) {
                const float* row =
                    as_floats(image + static_cast<std::ptrdiff_t>(width) * j, width, work.input);
                add_row(row, static_cast<float>(job.y.weight(y, j)) * unit, width, work.column);
            }
            Out* out = static_cast<Out*>(job.out) + out_plane * job.plane[k] +
                       static_cast<std::ptrdiff_t>(job.x.out) * y;
            float* row = begin_row(out, work.made);
            resample(work, job.x.out, job.scale[k], job.offset[k], row);
            finish_row(row, job.x.out, out);
        }
    }
}

}  // namespace

void face_rows(const FaceToMappingJob& job, int begin, int end) {
    if (job.image_half) {
        if (job.out_half) return rows_of<HalfBits, HalfBits>(job, begin, end);
        return rows_of<HalfBits, float>(job, begin, end);
    }
    if (job.out_half) return rows_of<float, HalfBits>(job, begin, end);
    rows_of<float, float>(job, begin, end);
}

}  // namespace x2c::cpu::X2C_VARIANT
