#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "check.h"
#include "crop_normalize.h"

namespace x2c::cuda {
namespace {

constexpr int kTileWidth = 32;  // one warp writes 32 neighbours of a plane
constexpr int kTileHeight = 8;
constexpr double kFar = 536870912.0;       // 2^29: origins are clamped to it
constexpr float kFarFromTile = 268435456;  // 2^28: pixels further than this from the origin are black

// Where the tile's first output pixel lies in the frame along one axis. Double precision is slow on most
// GPUs, so one thread per tile does it, and the others add their float distance from there.
struct Origin {
    std::int32_t whole;
    float fraction;
};

__device__ Origin locate(const double* row, double x, double y) {
    double u = row[0] * x + row[1] * y + row[2];
    u = u > -kFar ? u : -kFar;  // NaN too
    u = u < kFar ? u : kFar;
    const double whole = floor(u);
    return {static_cast<std::int32_t>(whole), static_cast<float>(u - whole)};
}

template <PixelFormat F, bool Half>
__global__ void __launch_bounds__(kTileWidth* kTileHeight)
    crop_kernel(const CropJob job, const double* __restrict__ device_affine) {
    __shared__ Origin origin[2];
    __shared__ float step[4];
    __shared__ int shared_taps;
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        const double* affine = device_affine != nullptr ? device_affine : job.affine;
        const double tile_x = static_cast<double>(blockIdx.x) * kTileWidth;
        const double tile_y = static_cast<double>(blockIdx.y) * kTileHeight;
        shared_taps = job.taps > 0 ? job.taps : taps_for(affine);
        for (int axis = 0; axis < 2; ++axis) {
            origin[axis] = locate(affine + 3 * axis, tile_x, tile_y);
            step[2 * axis] = static_cast<float>(affine[3 * axis]);
            step[2 * axis + 1] = static_cast<float>(affine[3 * axis + 1]);
        }
    }
    __syncthreads();

    const int x = static_cast<int>(blockIdx.x) * kTileWidth + static_cast<int>(threadIdx.x);
    const int y = static_cast<int>(blockIdx.y) * kTileHeight + static_cast<int>(threadIdx.y);
    if (x >= job.out_width || y >= job.out_height) return;

    const int taps = shared_taps;
    const float tap = 1.0f / static_cast<float>(taps);
    float sum[3] = {0.0f, 0.0f, 0.0f};
    for (int ty = 0; ty < taps; ++ty) {
        const float dy = static_cast<float>(threadIdx.y) + (static_cast<float>(ty) + 0.5f) * tap - 0.5f;
        for (int tx = 0; tx < taps; ++tx) {
            const float dx = static_cast<float>(threadIdx.x) + (static_cast<float>(tx) + 0.5f) * tap - 0.5f;
            const float u = origin[0].fraction + step[0] * dx + step[1] * dy;
            const float v = origin[1].fraction + step[2] * dx + step[3] * dy;
            PackedPixel p00 = black<F>(), p10 = black<F>(), p01 = black<F>(), p11 = black<F>();
            float fx = 0.0f, fy = 0.0f;
            if (fabsf(u) < kFarFromTile && fabsf(v) < kFarFromTile) {  // false for NaN
                const float left = floorf(u), top = floorf(v);
                fx = u - left;
                fy = v - top;
                const std::int32_t px = origin[0].whole + static_cast<std::int32_t>(left);
                const std::int32_t py = origin[1].whole + static_cast<std::int32_t>(top);
                p00 = fetch_or_black<F>(job.frame, job.width, job.height, px, py);
                p10 = fetch_or_black<F>(job.frame, job.width, job.height, px + 1, py);
                p01 = fetch_or_black<F>(job.frame, job.width, job.height, px, py + 1);
                p11 = fetch_or_black<F>(job.frame, job.width, job.height, px + 1, py + 1);
            }
            const BilinearWeights w = bilinear_weights(fx, fy);
            sum[0] += blend<0>(w, p00, p10, p01, p11);
            sum[1] += blend<1>(w, p00, p10, p01, p11);
            sum[2] += blend<2>(w, p00, p10, p01, p11);
        }
    }
    const float average = tap * tap;
    float colour[3] = {sum[0] * average, sum[1] * average, sum[2] * average};
    if constexpr (F != PixelFormat::kPacked3) {
        const Rgb rgb = rgb_from_yuv(colour[0], colour[1], colour[2]);
        colour[0] = rgb.r;
        colour[1] = rgb.g;
        colour[2] = rgb.b;
    }
    const auto plane = static_cast<std::ptrdiff_t>(job.out_width) * job.out_height;
    const auto pixel = static_cast<std::ptrdiff_t>(job.out_width) * y + x;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const float value = colour[k] * job.scale[k] + job.offset[k];
        const std::ptrdiff_t at = plane * job.plane[k] + pixel;
        if constexpr (Half) {
            static_cast<__half*>(job.out)[at] = __float2half_rn(value);
        } else {
            static_cast<float*>(job.out)[at] = value;
        }
    }
}

template <PixelFormat F>
void launch(const CropJob& job, const double* device_affine, cudaStream_t stream) {
    const dim3 tile(kTileWidth, kTileHeight);
    const dim3 grid(static_cast<unsigned>((job.out_width + kTileWidth - 1) / kTileWidth),
                    static_cast<unsigned>((job.out_height + kTileHeight - 1) / kTileHeight));
    CropJob job_argument = job;
    void* arguments[] = {&job_argument, &device_affine};
    const auto kernel = job.half ? crop_kernel<F, true> : crop_kernel<F, false>;
    check(cudaLaunchKernel(kernel, grid, tile, arguments, 0, stream), "cudaLaunchKernel(crop_normalize)");
}

}  // namespace

void crop_normalize(const CropJob& job, const double* device_affine, std::uintptr_t stream) {
    const auto handle = reinterpret_cast<cudaStream_t>(stream);
    switch (job.format) {
        case PixelFormat::kPacked3:
            return launch<PixelFormat::kPacked3>(job, device_affine, handle);
        case PixelFormat::kYuyv:
            return launch<PixelFormat::kYuyv>(job, device_affine, handle);
        case PixelFormat::kNv12:
            return launch<PixelFormat::kNv12>(job, device_affine, handle);
    }
}

}  // namespace x2c::cuda
