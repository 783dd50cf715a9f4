#pragma once

#include <cstdint>

namespace x2c {

// Normals, shade and texture are read per vertex; everything else is per call. View space: x right, y up,
// z towards the camera, which is at the origin, so what is seen has z < 0.
struct RasterJob {
    const float* vertices;
    const float* shade;
    const float* uv;
    const std::int32_t* triangles;
    std::int32_t vertex_count;
    std::int32_t triangle_count;
    const std::uint8_t* texture;
    std::int32_t texture_width;
    std::int32_t texture_height;
    const float* lights;
    std::int32_t light_count;
    const float* ambient;
    float focal;
    float centre_x;
    float centre_y;
    std::uint8_t* out;
    std::int32_t width;
    std::int32_t height;
    std::int32_t samples;
};

constexpr int kMaxLights = 4;

}  // namespace x2c
