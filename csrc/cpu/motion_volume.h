#pragma once

#include "../core/volume.h"

namespace x2c::cpu {

// Fills depth slices begin..end of the job's output, counted through all keypoints: slice s is depth
// s % depth of motion s / depth. One per instruction set; `baseline` always exists.
using MotionSlices = void (*)(const MotionVolumeJob& job, int begin, int end);
namespace baseline {
void motion_slices(const MotionVolumeJob& job, int begin, int end);
}
namespace avx2 {
void motion_slices(const MotionVolumeJob& job, int begin, int end);
}
namespace neon {
void motion_slices(const MotionVolumeJob& job, int begin, int end);
}

void motion_volume(const MotionVolumeJob& job, int threads);

}  // namespace x2c::cpu
