#include <cuda_runtime.h>

#include "check.h"
#include "motion.h"
#include "storage.h"

namespace x2c::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kSpan = 4;           // outputs of a thread: neighbours along x
constexpr int kReach = kSpan + 2;  // the input samples that they can touch (see AlongX in motion_slices.cpp)

struct Move {
    float driving[3], source[3], shift[3];
};

__device__ Move move_of(const MotionVolumeJob& job, int k) {
    Move move{};
    if (k == 0) return move;
    for (int axis = 0; axis < 3; ++axis) {
        move.driving[axis] = job.kp_driving[3 * (k - 1) + axis];
        move.source[axis] = job.kp_source[3 * (k - 1) + axis];
        move.shift[axis] = move.source[axis] - move.driving[axis];
    }
    return move;
}

template <bool Half>
__device__ void put(const MotionVolumeJob& job, std::ptrdiff_t at, int x, const float (&values)[kSpan],
                    bool wide) {
    if (wide) return store_four<Half>(job.out, at + x, values);
#pragma unroll
    for (int i = 0; i < kSpan; ++i) {
        if (x + i < job.width) store<Half>(job.out, at + x + i, values[i]);
    }
}

// A block: kThreads spans of one depth (blockIdx.y) of one motion (blockIdx.z).
template <bool InHalf, bool OutHalf>
__global__ void __launch_bounds__(kThreads) motion_kernel(const MotionVolumeJob job, int first, bool wide) {
    const int spans = (job.width + kSpan - 1) / kSpan;
    const int span = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
    if (span >= spans * job.height) return;
    const int y = span / spans, x = span % spans * kSpan;
    const int z = static_cast<int>(blockIdx.y), k = static_cast<int>(blockIdx.z) + first;
    const Move move = move_of(job, k);
    const auto plane = static_cast<std::ptrdiff_t>(job.height) * job.width;
    const auto volume = plane * job.depth;
    std::ptrdiff_t at =
        volume * k * (1 + job.channels) + plane * z + static_cast<std::ptrdiff_t>(job.width) * y;

    float values[kSpan] = {};
    if (k > 0) {
        const float gz = grid_at(z, job.depth), gy = grid_at(y, job.height);
        const float driving = gaussian_factor(gz, move.driving[2]) * gaussian_factor(gy, move.driving[1]);
        const float source = gaussian_factor(gz, move.source[2]) * gaussian_factor(gy, move.source[1]);
#pragma unroll
        for (int i = 0; i < kSpan; ++i) {
            const float gx = grid_at(x + i, job.width);
            values[i] =
                driving * gaussian_factor(gx, move.driving[0]) - source * gaussian_factor(gx, move.source[0]);
        }
    }
    put<OutHalf>(job, at, x, values, wide);

    const AxisPair along_z = axis_pair(axis_tap(z, job.depth, move.shift[2]), job.depth);
    const AxisPair along_y = axis_pair(axis_tap(y, job.height, move.shift[1]), job.height);
    float row_weight[4];
    std::ptrdiff_t row[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        row_weight[i] = along_z.weight[i / 2] * along_y.weight[i % 2];
        row[i] = plane * along_z.index[i / 2] + static_cast<std::ptrdiff_t>(job.width) * along_y.index[i % 2];
    }
    const int left = axis_tap(x, job.width, move.shift[0]).whole;
    float fraction[kSpan];
    int passed[kSpan];  // 0 or 1; by rounding 2 at the end, and that lies outside
#pragma unroll
    for (int i = 0; i < kSpan; ++i) {
        const AxisTap tap = axis_tap(x + i, job.width, move.shift[0]);
        fraction[i] = tap.fraction;
        passed[i] = tap.whole - i - left;
    }
    for (int c = 0; c < job.channels; ++c) {
        float blended[kReach] = {};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if (row_weight[i] == 0.0f) continue;
#pragma unroll
            for (int j = 0; j < kReach; ++j) {
                if (left + j >= 0 && left + j < job.width)
                    blended[j] +=
                        row_weight[i] * load<InHalf>(job.compressed, volume * c + row[i] + left + j);
            }
        }
#pragma unroll
        for (int i = 0; i < kSpan; ++i) {
            const float near = passed[i] == 0 ? blended[i] : passed[i] == 1 ? blended[i + 1] : 0.0f;
            const float far = passed[i] == 0 ? blended[i + 1] : passed[i] == 1 ? blended[i + 2] : 0.0f;
            values[i] = (1.0f - fraction[i]) * near + fraction[i] * far;
        }
        at += volume;
        put<OutHalf>(job, at, x, values, wide);
    }
}

template <bool InHalf>
auto kernel_for(bool out_half) {
    return out_half ? motion_kernel<InHalf, true> : motion_kernel<InHalf, false>;
}

}  // namespace

void motion_volume(const MotionVolumeJob& job, std::uintptr_t stream) {
    int first = job.background ? 0 : 1;
    const int motions = job.keypoints + 1 - first;
    if (motions == 0) return;
    const int spans = (job.width + kSpan - 1) / kSpan * job.height;
    const dim3 grid(static_cast<unsigned>((spans + kThreads - 1) / kThreads),
                    static_cast<unsigned>(job.depth), static_cast<unsigned>(motions));
    bool wide = job.width % kSpan == 0 && reinterpret_cast<std::uintptr_t>(job.out) % 16 == 0;
    MotionVolumeJob argument = job;
    void* arguments[] = {&argument, &first, &wide};
    const auto kernel =
        job.compressed_half ? kernel_for<true>(job.out_half) : kernel_for<false>(job.out_half);
    check(
        cudaLaunchKernel(kernel, grid, dim3(kThreads), arguments, 0, reinterpret_cast<cudaStream_t>(stream)),
        "cudaLaunchKernel(motion_volume)");
}

}  // namespace x2c::cuda
