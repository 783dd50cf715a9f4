#pragma once

#include "../core/face_square.h"

namespace x2c::cpu {

void aim_crop(const AimJob& job);

}  // namespace x2c::cpu
