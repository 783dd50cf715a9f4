#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../core/raster.h"

namespace x2c::cpu {

constexpr int kBandRows = 8;
constexpr int kMaxSamples = 4;

// What is interpolated over a triangle, padded so that one or two vectors hold it.
struct alignas(32) Corner {
    float normal[3];  // unit length
    float u, v;
    float shade;
    float padding[2];
};

// A triangle on the sample grid. Weights of corners 1 and 2 are affine in the distance from corner 0.
struct Setup {
    float x0, y0;
    float w1x, w1y, w2x, w2y;
    float z0, z1, z2;  // 1 / distance: at corner 0, and what weights 1 and 2 add
    std::int32_t left, right, top, bottom;
    std::int32_t corner[3];
    bool front;
};

// A light as the inner loop wants it: both directions of unit length.
struct ShadingLight {
    float direction[3];
    float half[3];
    float colour[3];
};

// Everything that the bands of one picture share.
struct Drawing {
    RasterJob job;
    std::vector<float> screen;  // of each vertex x, y in samples and 1 / distance
    std::vector<Corner> corners;
    std::vector<Setup> setups;
    std::vector<std::vector<std::int32_t>> bands;  // the setups that reach into each band, in order
    ShadingLight lights[kMaxLights];
};

// The samples of one band: 1 / distance, and the setup that is seen there, -1 for none.
struct Band {
    std::vector<float> depth;
    std::vector<std::int32_t> owner;
    std::vector<float> light, missed;  // of one row of pixels, each value three times over
};

// Draws band `index`. One per instruction set; `baseline` always exists.
using RasterBand = void (*)(const Drawing& drawing, int index, Band& band);
namespace baseline {
void raster_band(const Drawing& drawing, int index, Band& band);
}
namespace avx2 {
void raster_band(const Drawing& drawing, int index, Band& band);
}
namespace neon {
void raster_band(const Drawing& drawing, int index, Band& band);
}

}  // namespace x2c::cpu
