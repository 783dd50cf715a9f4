#pragma once

#include "../core/raster.h"

namespace x2c::cpu {

// Draws the job's triangles over what `out` holds. The result depends neither on `threads` nor on the
// instruction set.
void rasterise(const RasterJob& job, int threads);

}  // namespace x2c::cpu
