#include <cuda_runtime.h>

#include "check.h"
#include "motion.h"
#include "storage.h"

namespace x2c::cuda {
namespace {

constexpr int kTileWidth = 32;
constexpr int kTileHeight = 4;

// A thread makes the three colours of one output pixel.
template <bool InHalf, bool OutHalf>
__global__ void __launch_bounds__(kTileWidth* kTileHeight) face_kernel(const FaceToMappingJob job) {
    const int x = static_cast<int>(blockIdx.x) * kTileWidth + static_cast<int>(threadIdx.x);
    const int y = static_cast<int>(blockIdx.y) * kTileHeight + static_cast<int>(threadIdx.y);
    if (x >= job.x.out || y >= job.y.out) return;
    const auto in_plane = static_cast<std::ptrdiff_t>(job.x.in) * job.y.in;
    const auto out_plane = static_cast<std::ptrdiff_t>(job.x.out) * job.y.out;
    const int left = job.x.first(x), right = job.x.last(x);
    const float unit_x = job.x.unit(x), unit_y = job.y.unit(y);
    float sum[3] = {};
    for (int j = job.y.first(y); j <= job.y.last(y); ++j) {
        const float weight_y = static_cast<float>(job.y.weight(y, j)) * unit_y;
        const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(job.x.in) * j;
        float of_row[3] = {};  // one sum over all of a large window would lose digits
        for (int i = left; i <= right; ++i) {
            const float weight = static_cast<float>(job.x.weight(x, i)) * unit_x;
#pragma unroll
            for (int k = 0; k < 3; ++k) of_row[k] += weight * load<InHalf>(job.image, in_plane * k + row + i);
        }
#pragma unroll
        for (int k = 0; k < 3; ++k) sum[k] += weight_y * of_row[k];
    }
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const auto at = out_plane * job.plane[k] + static_cast<std::ptrdiff_t>(job.x.out) * y + x;
        store<OutHalf>(job.out, at, sum[k] * job.scale[k] + job.offset[k]);
    }
}

template <bool InHalf>
auto kernel_for(bool out_half) {
    return out_half ? face_kernel<InHalf, true> : face_kernel<InHalf, false>;
}

}  // namespace

void face_to_mapping(const FaceToMappingJob& job, std::uintptr_t stream) {
    const dim3 tile(kTileWidth, kTileHeight);
    const dim3 grid(static_cast<unsigned>((job.x.out + kTileWidth - 1) / kTileWidth),
                    static_cast<unsigned>((job.y.out + kTileHeight - 1) / kTileHeight));
    FaceToMappingJob argument = job;
    void* arguments[] = {&argument};
    const auto kernel = job.image_half ? kernel_for<true>(job.out_half) : kernel_for<false>(job.out_half);
    check(cudaLaunchKernel(kernel, grid, tile, arguments, 0, reinterpret_cast<cudaStream_t>(stream)),
          "cudaLaunchKernel(face_to_mapping)");
}

}  // namespace x2c::cuda
