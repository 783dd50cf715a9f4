#include <cuda_runtime_api.h>

#include "device.h"

namespace x2c::cuda {

int device_count() {
    int count = 0;
    if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
    cudaGetLastError();  // no driver is an answer here, not an error for the next call to find
    return 0;
}

int built_version() { return CUDART_VERSION; }

int driver_version() {
    int version = 0;
    if (cudaDriverGetVersion(&version) == cudaSuccess) return version;
    cudaGetLastError();
    return 0;
}

}  // namespace x2c::cuda
