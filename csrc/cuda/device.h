#pragma once

namespace x2c::cuda {

// How many CUDA devices can be used; 0 without a driver.
int device_count();

// The CUDA that this was built with, and the newest that the driver knows, as 1000 * major + 10 * minor; the
// driver's is 0 without a driver.
int built_version();
int driver_version();

}  // namespace x2c::cuda
