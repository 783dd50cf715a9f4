#pragma once

#include "../core/volume.h"

namespace x2c::cpu {

// Fills rows begin..end of the job's output, counted through all depths: row r is height r % height of depth
// r / height. One per instruction set; `baseline` always exists.
using WarpRows = void (*)(const WarpVolumeJob& job, int begin, int end);
namespace baseline {
void warp_rows(const WarpVolumeJob& job, int begin, int end);
}
namespace avx2 {
void warp_rows(const WarpVolumeJob& job, int begin, int end);
}
namespace neon {
void warp_rows(const WarpVolumeJob& job, int begin, int end);
}

void warp_volume(const WarpVolumeJob& job, int threads);

}  // namespace x2c::cpu
