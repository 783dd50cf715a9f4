#pragma once

#include <cstdint>

#include "../core/face_square.h"
#include "../core/face_to_mapping.h"
#include "../core/relative_keypoints.h"
#include "../core/volume.h"

// All pointers of a job are device memory. Each call enqueues its work on `stream` (a cudaStream_t as an
// integer) and returns at once; nothing is allocated, so that a graph can capture it.
namespace x2c::cuda {

void aim_crop(const AimJob& job, std::uintptr_t stream);
void relative_keypoints(const RelativeKeypointsJob& job, std::uintptr_t stream);
void stitch_keypoints(const StitchJob& job, std::uintptr_t stream);
void motion_volume(const MotionVolumeJob& job, std::uintptr_t stream);
void warp_volume(const WarpVolumeJob& job, std::uintptr_t stream);
void face_to_mapping(const FaceToMappingJob& job, std::uintptr_t stream);

}  // namespace x2c::cuda
