#pragma once

#include "../core/crop_normalize.h"

namespace x2c::cpu {

// Fills rows begin..end of the job's output. One per instruction set; `baseline` always exists.
using CropRows = void (*)(const CropJob& job, int begin, int end);
namespace baseline {
void crop_rows(const CropJob& job, int begin, int end);
}
namespace avx2 {
void crop_rows(const CropJob& job, int begin, int end);
}
namespace neon {
void crop_rows(const CropJob& job, int begin, int end);
}

void crop_normalize(const CropJob& job, int threads);

}  // namespace x2c::cpu
