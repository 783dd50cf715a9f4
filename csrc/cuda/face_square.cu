#include <cuda_runtime.h>

#include "check.h"
#include "motion.h"

namespace x2c::cuda {
namespace {

constexpr int kWarp = 32;
constexpr unsigned kAll = 0xFFFFFFFFu;

__device__ double sum_of_warp(double value) {
    for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAll, value, step);
    return value;
}

__device__ double least_of_warp(double value) {
    for (int step = kWarp / 2; step > 0; step /= 2) value = fmin(value, __shfl_xor_sync(kAll, value, step));
    return value;
}

__device__ FramePoint mean_of(const AimJob& job, std::uint8_t role) {
    double x = 0.0, y = 0.0, count = 0.0;
    for (int i = static_cast<int>(threadIdx.x); i < job.count; i += kWarp) {
        if ((job.role[i] & role) == 0) continue;
        const FramePoint p = frame_point(job, i);
        x += p.x;
        y += p.y;
        count += 1.0;
    }
    count = sum_of_warp(count);
    return {sum_of_warp(x) / count, sum_of_warp(y) / count};
}

__global__ void __launch_bounds__(kWarp) aim_kernel(const AimJob job) {
    const Roll roll = roll_between(mean_of(job, kOfEyes), mean_of(job, kOfMouth));
    const double infinity = __longlong_as_double(0x7FF0000000000000LL);
    FramePoint low{infinity, infinity}, high{-infinity, -infinity};
    for (int i = static_cast<int>(threadIdx.x); i < job.count; i += kWarp) {
        if ((job.role[i] & kInBox) == 0) continue;
        const FramePoint p = own_axes(roll, frame_point(job, i));
        low = {fmin(low.x, p.x), fmin(low.y, p.y)};
        high = {fmax(high.x, p.x), fmax(high.y, p.y)};
    }
    low = {least_of_warp(low.x), least_of_warp(low.y)};
    high = {-least_of_warp(-high.x), -least_of_warp(-high.y)};
    if (threadIdx.x == 0) write_affine(job, roll, low, high);
}

}  // namespace

void aim_crop(const AimJob& job, std::uintptr_t stream) {
    AimJob argument = job;
    void* arguments[] = {&argument};
    check(cudaLaunchKernel(aim_kernel, dim3(1), dim3(kWarp), arguments, 0,
                           reinterpret_cast<cudaStream_t>(stream)),
          "cudaLaunchKernel(aim_crop)");
}

}  // namespace x2c::cuda
