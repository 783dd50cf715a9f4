#pragma once

#include <cstdint>

#include "platform.h"

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

// A light as the inner loop wants it: both directions of unit length.
struct ShadingLight {
    float direction[3];
    float half[3];
    float colour[3];
};

// How far light reaches round to the side that faces away, as it does in soft skin.
constexpr float kWrap = 0.25f;

// Adds the linear light that leaves a surface towards the viewer (taken to be straight ahead) to sum[3].
// albedo: linear, 0..1. gloss 0..1: low is a broad sheen, high a small bright spot.
X2C_HD void add_shaded(const ShadingLight* lights, int count, const float* ambient, const float* normal,
                       const float* albedo, float gloss, float* sum) {
    const float sky = 0.5f + 0.5f * normal[1];
    float diffuse[3];
    float specular[3] = {0.0f, 0.0f, 0.0f};
    for (int c = 0; c < 3; ++c) diffuse[c] = ambient[3 + c] + (ambient[c] - ambient[3 + c]) * sky;
    const float broad = gloss * (1.0f - gloss * gloss) * 0.35f;
    const float sharp = gloss * gloss * gloss * 3.0f;
    for (int i = 0; i < count; ++i) {
        const ShadingLight& light = lights[i];
        const float facing =
            normal[0] * light.direction[0] + normal[1] * light.direction[1] + normal[2] * light.direction[2];
        const float lit = (facing + kWrap) * (1.0f / (1.0f + kWrap));
        if (lit <= 0.0f) continue;
        float s = normal[0] * light.half[0] + normal[1] * light.half[1] + normal[2] * light.half[2];
        s = s > 0.0f ? s * s : 0.0f;
        s *= s;
        s *= s;
        const float s16 = s * s;
        float s128 = s16 * s16;
        s128 *= s128;
        s128 *= s128;
        const float shine = broad * s16 + sharp * s128;
        for (int c = 0; c < 3; ++c) {
            diffuse[c] += light.colour[c] * lit;
            specular[c] += light.colour[c] * shine;
        }
    }
    for (int c = 0; c < 3; ++c) sum[c] += albedo[c] * diffuse[c] + specular[c];
}

}  // namespace x2c
