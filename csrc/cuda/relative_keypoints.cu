#include <cuda_runtime.h>

#include "check.h"
#include "motion.h"

namespace x2c::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kThreads = 3 * kWarp;  // a warp for each angle
constexpr unsigned kAll = 0xFFFFFFFFu;

__device__ float sum_of_warp(float value) {
    for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAll, value, step);
    return value;
}

__device__ float degrees(const float* values, int bins, int lane) {
    if (bins == 1) return values[0];
    float top = values[0];
    for (int i = lane; i < bins; i += kWarp) top = fmaxf(top, values[i]);
    for (int step = kWarp / 2; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(kAll, top, step));
    float total = 0.0f, mean = 0.0f;
    for (int i = lane; i < bins; i += kWarp) {
        const float weight = expf(values[i] - top);
        total += weight;
        mean += weight * static_cast<float>(i);
    }
    return degrees_from_bin(sum_of_warp(mean) / sum_of_warp(total));
}

__global__ void __launch_bounds__(kThreads) relative_kernel(const RelativeKeypointsJob job) {
    __shared__ float sine[3], cosine[3];
    const int thread = static_cast<int>(threadIdx.x), angle = thread / kWarp;
    const float radians = degrees(job.angle[angle], job.bins, thread % kWarp) * 0.017453292519943295f;
    if (thread % kWarp == 0) sincosf(radians, &sine[angle], &cosine[angle]);
    __syncthreads();
    const Matrix3<float> current = rotation(sine, cosine);
    const RelativePose<float> pose = relative_pose(job, current);
    for (int i = thread; i < 3 * job.keypoints; i += kThreads)
        job.out[i] = relative_coordinate(job, pose, i / 3, i % 3);
    if (job.motion == nullptr) return;
    for (int i = thread; i < MotionLayout{job.keypoints}.size(); i += kThreads)
        job.motion[i] = motion_entry(job, current, i);
}

__global__ void __launch_bounds__(kThreads) stitch_kernel(const StitchJob job) {
    for (int i = static_cast<int>(threadIdx.x); i < 3 * job.keypoints; i += kThreads)
        job.out[i] = stitched_coordinate(job, i);
}

template <class Job>
void launch(void (*kernel)(Job), const Job& job, std::uintptr_t stream, const char* call) {
    Job argument = job;
    void* arguments[] = {&argument};
    check(cudaLaunchKernel(kernel, dim3(1), dim3(kThreads), arguments, 0,
                           reinterpret_cast<cudaStream_t>(stream)),
          call);
}

}  // namespace

void relative_keypoints(const RelativeKeypointsJob& job, std::uintptr_t stream) {
    launch(relative_kernel, job, stream, "cudaLaunchKernel(relative_keypoints)");
}

void stitch_keypoints(const StitchJob& job, std::uintptr_t stream) {
    launch(stitch_kernel, job, stream, "cudaLaunchKernel(stitch_keypoints)");
}

}  // namespace x2c::cuda
