#include <cuda_runtime.h>

#include "check.h"
#include "motion.h"
#include "storage.h"

namespace x2c::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kWarps = 4;

// What the lanes of one warp tell each other: a lane is first a voxel, then a channel, then a voxel again.
struct Shared {
    float weight[8][kWarp];
    std::int32_t corner[8][kWarp];
    float tile[kWarp][kWarp + 1];
};

template <bool Half>
__device__ void find_corners(const WarpVolumeJob& job, std::int32_t voxel, std::ptrdiff_t voxels, int lane,
                             Shared& shared) {
    float top = load<Half>(job.logits, voxel);
    for (int k = 1; k <= job.keypoints; ++k) top = fmaxf(top, load<Half>(job.logits, voxels * k + voxel));
    float total = exp_nonpositive(load<Half>(job.logits, voxel) - top);
    float shift[3] = {};
    for (int k = 0; k < job.keypoints; ++k) {
        const float e = exp_nonpositive(load<Half>(job.logits, voxels * (k + 1) + voxel) - top);
        total += e;
#pragma unroll
        for (int axis = 0; axis < 3; ++axis)
            shift[axis] += e * (job.kp_source[3 * k + axis] - job.kp_driving[3 * k + axis]);
    }
    const int position[3] = {voxel % job.width, voxel / job.width % job.height,
                             voxel / job.width / job.height};
    const int size[3] = {job.width, job.height, job.depth};
    AxisPair pair[3];
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
        shift[axis] /= total;
        pair[axis] = axis_pair(axis_tap(position[axis], size[axis], shift[axis]), size[axis]);
        if (job.deformation != nullptr) {
            job.deformation[3 * static_cast<std::ptrdiff_t>(voxel) + axis] =
                grid_at(position[axis], size[axis]) + shift[axis];
        }
    }
#pragma unroll
    for (int c = 0; c < 8; ++c) {
        const int ix = c & 1, iy = (c >> 1) & 1, iz = c >> 2;
        shared.weight[c][lane] = pair[0].weight[ix] * pair[1].weight[iy] * pair[2].weight[iz];
        shared.corner[c][lane] =
            ((pair[2].index[iz] * job.height + pair[1].index[iy]) * job.width + pair[0].index[ix]) *
            job.channels;
    }
}

template <bool LogitsHalf, bool FeatureHalf, bool OutHalf>
__global__ void __launch_bounds__(kWarp* kWarps) warp_kernel(const WarpVolumeJob job) {
    __shared__ Shared all[kWarps];
    Shared& shared = all[threadIdx.y];
    const int lane = static_cast<int>(threadIdx.x);
    const std::int32_t voxels = job.depth * job.height * job.width;
    const std::int32_t first =
        (static_cast<std::int32_t>(blockIdx.x) * kWarps + static_cast<std::int32_t>(threadIdx.y)) * kWarp;
    if (first >= voxels) return;  // the whole warp
    const int count = min(kWarp, voxels - first);
    if (lane < count) find_corners<LogitsHalf>(job, first + lane, voxels, lane, shared);
    __syncwarp();

    for (int base = 0; base < job.channels; base += kWarp) {
        const int channel = base + lane;
        if (channel < job.channels) {
            for (int v = 0; v < count; ++v) {
                float sum = 0.0f;
#pragma unroll
                for (int c = 0; c < 8; ++c) {
                    const float weight = shared.weight[c][v];
                    if (weight == 0.0f) continue;  // outside: infinity times 0 is NaN
                    sum += weight * load<FeatureHalf>(job.feature, shared.corner[c][v] + channel);
                }
                shared.tile[v][lane] = sum;
            }
        }
        __syncwarp();
        if (lane < count) {
            for (int c = 0; c < min(kWarp, job.channels - base); ++c) {
                const auto at = static_cast<std::ptrdiff_t>(voxels) * (base + c) + first + lane;
                store<OutHalf>(job.out, at, shared.tile[lane][c]);
            }
        }
        __syncwarp();
    }
}

template <bool LogitsHalf, bool FeatureHalf>
auto kernel_to(bool out_half) {
    return out_half ? warp_kernel<LogitsHalf, FeatureHalf, true>
                    : warp_kernel<LogitsHalf, FeatureHalf, false>;
}

template <bool LogitsHalf>
auto kernel_from(const WarpVolumeJob& job) {
    return job.feature_half ? kernel_to<LogitsHalf, true>(job.out_half)
                            : kernel_to<LogitsHalf, false>(job.out_half);
}

}  // namespace

void warp_volume(const WarpVolumeJob& job, std::uintptr_t stream) {
    const int voxels = job.depth * job.height * job.width;
    const dim3 grid(static_cast<unsigned>((voxels + kWarp * kWarps - 1) / (kWarp * kWarps)));
    WarpVolumeJob argument = job;
    void* arguments[] = {&argument};
    const auto kernel = job.logits_half ? kernel_from<true>(job) : kernel_from<false>(job);
    check(cudaLaunchKernel(kernel, grid, dim3(kWarp, kWarps), arguments, 0,
                           reinterpret_cast<cudaStream_t>(stream)),
          "cudaLaunchKernel(warp_volume)");
}

}  // namespace x2c::cuda
