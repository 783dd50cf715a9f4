// Compiled once per instruction set (CMakeLists.txt), into the namespace X2C_VARIANT.
//
// A sparse motion is a translation, so each axis is resampled by itself: four rows of the compressed volume
// (two depths, two heights) are blended into one, and that one is resampled along x.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "half_rows.h"
#include "motion_volume.h"

namespace x2c::cpu::X2C_VARIANT {
namespace {

// Rows are blended into the middle of zeros, which are what lies outside the volume.
constexpr int kMargin = kMaxVolumeSide + 8;

struct Work {
    alignas(64) float blended[2 * kMargin + kMaxVolumeSide];
    alignas(64) float rows[4][kMaxVolumeSide];  // halves, as floats
    alignas(64) float zeros[kMaxVolumeSide];
    alignas(64) float made[kMaxVolumeSide];  // on its way to half precision
};

// Along x the read position moves n / (n - 1) samples per output sample: one sample more than the output
// does, over the whole axis. So output i reads samples i + shift, i + shift + 1 and, from where the extra
// sample has been passed, i + shift + 2: three taps at fixed distances, one of them with weight 0.
struct AlongX {
    int shift;
    alignas(64) float weight[3][kMaxVolumeSide];

    void set(int n, float move) {
        shift = axis_tap(0, n, move).whole;
        for (int i = 0; i < n; ++i) {
            const AxisTap tap = axis_tap(i, n, move);
            const int passed = tap.whole - i - shift;
            const float left = 1.0f - tap.fraction;
            weight[0][i] = passed == 0 ? left : 0.0f;
            weight[1][i] = passed == 0 ? tap.fraction : passed == 1 ? left : 0.0f;
            weight[2][i] = passed == 1 ? tap.fraction : 0.0f;  // by rounding 2 at the end: that lies outside
        }
        shift = std::min(std::max(shift, -n - 4), n + 4);
    }
};

struct Gaussians {
    alignas(64) float driving[kMaxVolumeSide];
    alignas(64) float source[kMaxVolumeSide];

    void set(int n, float kp_driving, float kp_source) {
        for (int i = 0; i < n; ++i) driving[i] = gaussian_factor(grid_at(i, n), kp_driving);
        for (int i = 0; i < n; ++i) source[i] = gaussian_factor(grid_at(i, n), kp_source);
    }
};

// What one motion needs to know, axis by axis.
struct Motion {
    AlongX x;
    AxisPair y[kMaxVolumeSide];
    float move_z;
    Gaussians gauss_x, gauss_y;
    float driving_z, source_z;

    void set(const MotionVolumeJob& job, int k) {
        float move[3] = {0.0f, 0.0f, 0.0f};
        if (k > 0) {
            const float* driving = job.kp_driving + 3 * (k - 1);
            const float* source = job.kp_source + 3 * (k - 1);
            for (int axis = 0; axis < 3; ++axis) move[axis] = source[axis] - driving[axis];
            gauss_x.set(job.width, driving[0], source[0]);
            gauss_y.set(job.height, driving[1], source[1]);
            driving_z = driving[2];
            source_z = source[2];
        }
        x.set(job.width, move[0]);
        for (int i = 0; i < job.height; ++i) y[i] = axis_pair(axis_tap(i, job.height, move[1]), job.height);
        move_z = move[2];
    }
};

void heat_row(const Gaussians& x, float driving, float source, int n, float* __restrict out) {
    for (int i = 0; i < n; ++i) out[i] = driving * x.driving[i] - source * x.source[i];
}

void blend_rows(const float* const (&row)[4], const float (&weight)[4], int n, float* __restrict out) {
    const float *r0 = row[0], *r1 = row[1], *r2 = row[2], *r3 = row[3];
    const float w0 = weight[0], w1 = weight[1], w2 = weight[2], w3 = weight[3];
    for (int i = 0; i < n; ++i) out[i] = w0 * r0[i] + w1 * r1[i] + w2 * r2[i] + w3 * r3[i];
}

void resample_row(const AlongX& x, const float* blended, int n, float* __restrict out) {
    const float* from = blended + x.shift;
    const float *w0 = x.weight[0], *w1 = x.weight[1], *w2 = x.weight[2];
    for (int i = 0; i < n; ++i) out[i] = w0[i] * from[i] + w1[i] * from[i + 1] + w2[i] * from[i + 2];
}

template <class Out>
void heat_plane(const MotionVolumeJob& job, const Motion& motion, int k, int z, Work& work, Out* out) {
    const int width = job.width;
    const float at = grid_at(z, job.depth);
    const float driving = k > 0 ? gaussian_factor(at, motion.driving_z) : 0.0f;
    const float source = k > 0 ? gaussian_factor(at, motion.source_z) : 0.0f;
    for (int y = 0; y < job.height; ++y, out += width) {
        float* row = begin_row(out, work.made);
        if (k > 0) {
            heat_row(motion.gauss_x, driving * motion.gauss_y.driving[y], source * motion.gauss_y.source[y],
                     width, row);
        } else {
            std::fill_n(row, width, 0.0f);
        }
        finish_row(row, width, out);
    }
}

template <class In, class Out>
void deformed_plane(const MotionVolumeJob& job, const Motion& motion, int channel, int z, Work& work,
                    Out* out) {
    const int width = job.width;
    const auto plane = static_cast<std::ptrdiff_t>(job.height) * width;
    const In* volume = static_cast<const In*>(job.compressed) + plane * job.depth * channel;
    const AxisPair along_z = axis_pair(axis_tap(z, job.depth, motion.move_z), job.depth);
    float* blended = work.blended + kMargin;
    for (int y = 0; y < job.height; ++y, out += width) {
        const AxisPair& along_y = motion.y[y];
        const float* rows[4];
        float weights[4];
        for (int i = 0; i < 4; ++i) {
            const int iz = i / 2, iy = i % 2;
            weights[i] = along_z.weight[iz] * along_y.weight[iy];
            const In* row =
                volume + plane * along_z.index[iz] + static_cast<std::ptrdiff_t>(width) * along_y.index[iy];
            // What has weight 0 must not be read: infinity times 0 is NaN.
            rows[i] = weights[i] == 0.0f ? work.zeros : as_floats(row, width, work.rows[i]);
        }
        blend_rows(rows, weights, width, blended);
        float* row = begin_row(out, work.made);
        resample_row(motion.x, blended, width, row);
        finish_row(row, width, out);
    }
}

template <class In, class Out>
void slices_of(const MotionVolumeJob& job, int begin, int end) {
    Work work;
    std::fill_n(work.blended, kMargin, 0.0f);
    std::fill_n(work.blended + kMargin + job.width, kMargin, 0.0f);
    std::fill_n(work.zeros, job.width, 0.0f);
    Motion motion;
    const auto plane = static_cast<std::ptrdiff_t>(job.height) * job.width;
    auto* out = static_cast<Out*>(job.out);
    for (int slice = begin; slice < end; ++slice) {
        const int k = slice / job.depth, z = slice % job.depth;
        if (slice == begin || z == 0) motion.set(job, k);
        Out* group = out + plane * job.depth * k * (1 + job.channels) + plane * z;
        heat_plane(job, motion, k, z, work, group);
        for (int c = 0; c < job.channels; ++c) {
            group += plane * job.depth;
            deformed_plane<In>(job, motion, c, z, work, group);
        }
    }
}

}  // namespace

void motion_slices(const MotionVolumeJob& job, int begin, int end) {
    if (job.compressed_half) {
        if (job.out_half) return slices_of<HalfBits, HalfBits>(job, begin, end);
        return slices_of<HalfBits, float>(job, begin, end);
    }
    if (job.out_half) return slices_of<float, HalfBits>(job, begin, end);
    return slices_of<float, float>(job, begin, end);
}

}  // namespace x2c::cpu::X2C_VARIANT
