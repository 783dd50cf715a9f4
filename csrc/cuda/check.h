#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace x2c::cuda {

// Throws std::runtime_error (RuntimeError in Python) that names the call.
inline void check(cudaError_t status, const char* call) {
    if (status == cudaSuccess) return;
    throw std::runtime_error(std::string(call) + " failed: " + cudaGetErrorString(status));
}

}  // namespace x2c::cuda
