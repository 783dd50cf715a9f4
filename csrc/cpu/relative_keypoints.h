#pragma once

#include "../core/relative_keypoints.h"

namespace x2c::cpu {

void relative_keypoints(const RelativeKeypointsJob& job);
void stitch_keypoints(const StitchJob& job);

}  // namespace x2c::cpu
