#pragma once

namespace x2c::cuda {

// How many CUDA devices can be used; 0 without a driver.
int device_count();

}  // namespace x2c::cuda
