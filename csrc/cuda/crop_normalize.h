#pragma once

#include <cstdint>

#include "../core/crop_normalize.h"

namespace x2c::cuda {

// Enqueues the job on `stream` (a cudaStream_t as an integer) and returns at once. job.frame and job.out
// are device memory. `device_affine`, if not null, is a device array of six doubles that is read when
// the kernel runs, in place of job.affine: that is how a captured graph follows a moving face.
// Needs width, height < 2^28.
void crop_normalize(const CropJob& job, const double* device_affine, std::uintptr_t stream);

}  // namespace x2c::cuda
