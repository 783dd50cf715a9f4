// Compiled once per instruction set (CMakeLists.txt), into the namespace X2C_VARIANT.
//
// Voxels are done in blocks along x. Softmax, expectation and sampling positions are plain loops over the
// block. The feature volume has its channels last, so that each corner of a voxel is one contiguous read;
// the block's samples are then turned round into rows of the output.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "half_rows.h"
#include "turn_rows.h"
#include "warp_volume.h"

namespace x2c::cpu::X2C_VARIANT {
namespace {

constexpr int kBlock = 64;
alignas(64) constexpr float kZeros[kMaxWarpChannels] = {};

struct Block {
    int x, y, z, n;
    alignas(64) float top[kBlock];
    alignas(64) float total[kBlock];
    alignas(64) float shift[3][kBlock];  // deformation minus identity: x, y, z
    alignas(64) float weight[8][kBlock];
    alignas(64) std::int32_t corner[8][kBlock];  // first element of the corner's channels
    alignas(64) float logits[kBlock];            // halves, as floats
    alignas(64) float feature[8][kMaxWarpChannels];
    alignas(64) float samples[kBlock * kMaxWarpChannels];  // voxel by voxel, without gaps
    alignas(64) float row[kTurned][kBlock];                // on their way to half precision
};

using Moves = float[3][kMaxWarpKeypoints];

void maximum(const float* __restrict values, int n, float* __restrict top) {
    for (int i = 0; i < n; ++i) top[i] = values[i] > top[i] ? values[i] : top[i];
}

void add_motion(const float* __restrict values, float dx, float dy, float dz, Block& block) {
    for (int i = 0; i < block.n; ++i) {
        const float e = exp_nonpositive(values[i] - block.top[i]);
        block.total[i] += e;
        block.shift[0][i] += e * dx;
        block.shift[1][i] += e * dy;
        block.shift[2][i] += e * dz;
    }
}

// Softmax over the motions, and its expectation. The background does not move.
template <class Logit>
void expected_shift(const WarpVolumeJob& job, const Moves& moves, Block& block) {
    const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(job.height) * job.width;
    const std::ptrdiff_t volume = plane * job.depth;
    const auto* first = static_cast<const Logit*>(job.logits) + plane * block.z +
                        static_cast<std::ptrdiff_t>(job.width) * block.y + block.x;
    const int n = block.n;
    std::copy_n(as_floats(first, n, block.logits), n, block.top);
    for (int k = 1; k <= job.keypoints; ++k)
        maximum(as_floats(first + volume * k, n, block.logits), n, block.top);
    std::fill_n(block.total, n, 0.0f);
    for (auto& axis : block.shift) std::fill_n(axis, n, 0.0f);
    add_motion(as_floats(first, n, block.logits), 0.0f, 0.0f, 0.0f, block);
    for (int k = 0; k < job.keypoints; ++k) {
        const float* values = as_floats(first + volume * (k + 1), n, block.logits);
        add_motion(values, moves[0][k], moves[1][k], moves[2][k], block);
    }
    for (int i = 0; i < n; ++i) {
        const float unit = 1.0f / block.total[i];
        for (auto& axis : block.shift) axis[i] *= unit;
    }
}

void locate(const WarpVolumeJob& job, Block& block) {
    const int width = job.width, height = job.height, depth = job.depth, channels = job.channels;
    for (int i = 0; i < block.n; ++i) {
        const AxisPair px = axis_pair(axis_tap(block.x + i, width, block.shift[0][i]), width);
        const AxisPair py = axis_pair(axis_tap(block.y, height, block.shift[1][i]), height);
        const AxisPair pz = axis_pair(axis_tap(block.z, depth, block.shift[2][i]), depth);
        for (int c = 0; c < 8; ++c) {
            const int ix = c & 1, iy = (c >> 1) & 1, iz = c >> 2;
            block.weight[c][i] = px.weight[ix] * py.weight[iy] * pz.weight[iz];
            block.corner[c][i] = ((pz.index[iz] * height + py.index[iy]) * width + px.index[ix]) * channels;
        }
    }
}

template <class Feature>
void sample(const Feature* feature, int channels, int i, Block& block) {
    const float* corner[8];
    float w[8];
    for (int c = 0; c < 8; ++c) {
        w[c] = block.weight[c][i];
        // What has weight 0 must not be read: infinity times 0 is NaN.
        corner[c] =
            w[c] == 0.0f ? kZeros : as_floats(feature + block.corner[c][i], channels, block.feature[c]);
    }
    float* __restrict out = block.samples + i * channels;
    for (int k = 0; k < channels; ++k) {
        out[k] = (w[0] * corner[0][k] + w[1] * corner[1][k]) + (w[2] * corner[2][k] + w[3] * corner[3][k]) +
                 (w[4] * corner[4][k] + w[5] * corner[5][k]) + (w[6] * corner[6][k] + w[7] * corner[7][k]);
    }
}

void store_deformation(const WarpVolumeJob& job, const Block& block) {
    const std::ptrdiff_t voxel =
        (static_cast<std::ptrdiff_t>(block.z) * job.height + block.y) * job.width + block.x;
    float* out = job.deformation + 3 * voxel;
    for (int i = 0; i < block.n; ++i) {
        out[3 * i] = grid_at(block.x + i, job.width) + block.shift[0][i];
        out[3 * i + 1] = grid_at(block.y, job.height) + block.shift[1][i];
        out[3 * i + 2] = grid_at(block.z, job.depth) + block.shift[2][i];
    }
}

template <class Out>
void store(const WarpVolumeJob& job, Block& block) {
    const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(job.height) * job.width;
    auto* out = static_cast<Out*>(job.out) + plane * block.z +
                static_cast<std::ptrdiff_t>(job.width) * block.y + block.x;
    const std::ptrdiff_t volume = plane * job.depth;
    for (int first = 0; first < job.channels; first += kTurned) {
        const int count = std::min(kTurned, job.channels - first);
        const auto row_of = [&](int k) { return out + volume * (first + k); };
        float* rows[kTurned];
        for (int k = 0; k < count; ++k) rows[k] = begin_row(row_of(k), block.row[k]);
        turn_rows(block.samples + first, job.channels, block.n, rows, count);
        for (int k = 0; k < count; ++k) finish_row(rows[k], block.n, row_of(k));
    }
}

template <class Logit, class Feature, class Out>
void rows_of(const WarpVolumeJob& job, int begin, int end) {
    Moves moves;
    for (int k = 0; k < job.keypoints; ++k) {
        for (int axis = 0; axis < 3; ++axis)
            moves[axis][k] = job.kp_source[3 * k + axis] - job.kp_driving[3 * k + axis];
    }
    Block block;
    const auto* feature = static_cast<const Feature*>(job.feature);
    for (int r = begin; r < end; ++r) {
        block.z = r / job.height;
        block.y = r % job.height;
        for (block.x = 0; block.x < job.width; block.x += kBlock) {
            block.n = std::min(kBlock, job.width - block.x);
            expected_shift<Logit>(job, moves, block);
            locate(job, block);
            for (int i = 0; i < block.n; ++i) sample(feature, job.channels, i, block);
            store<Out>(job, block);
            if (job.deformation != nullptr) store_deformation(job, block);
        }
    }
}

template <class Logit, class Feature>
void rows_to(const WarpVolumeJob& job, int begin, int end) {
    if (job.out_half) return rows_of<Logit, Feature, HalfBits>(job, begin, end);
    rows_of<Logit, Feature, float>(job, begin, end);
}

template <class Logit>
void rows_from(const WarpVolumeJob& job, int begin, int end) {
    if (job.feature_half) return rows_to<Logit, HalfBits>(job, begin, end);
    rows_to<Logit, float>(job, begin, end);
}

}  // namespace

void warp_rows(const WarpVolumeJob& job, int begin, int end) {
    if (job.logits_half) return rows_from<HalfBits>(job, begin, end);
    rows_from<float>(job, begin, end);
}

}  // namespace x2c::cpu::X2C_VARIANT
