#pragma once

#include "../core/face_to_mapping.h"

namespace x2c::cpu {

// Fills rows begin..end of all three planes of the job's output. One per instruction set; `baseline`
// always exists.
using FaceRows = void (*)(const FaceToMappingJob& job, int begin, int end);
namespace baseline {
void face_rows(const FaceToMappingJob& job, int begin, int end);
}
namespace avx2 {
void face_rows(const FaceToMappingJob& job, int begin, int end);
}
namespace neon {
void face_rows(const FaceToMappingJob& job, int begin, int end);
}

void face_to_mapping(const FaceToMappingJob& job, int threads);

}  // namespace x2c::cpu
