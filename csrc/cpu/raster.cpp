#include "raster.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "raster_band.h"
#include "thread_pool.h"
#include "variants.h"

namespace x2c::cpu {
namespace {

constexpr float kNear = 1e-3f;

void project(Drawing& drawing) {
    const RasterJob& job = drawing.job;
    const auto scale = static_cast<float>(job.samples);
    drawing.screen.resize(static_cast<std::size_t>(job.vertex_count) * 3);
    for (int i = 0; i < job.vertex_count; ++i) {
        const float* p = job.vertices + 3 * i;
        float* s = drawing.screen.data() + 3 * i;
        const float near = -p[2] > kNear ? 1.0f / -p[2] : 0.0f;
        s[0] = (job.centre_x + job.focal * p[0] * near + 0.5f) * scale - 0.5f;
        s[1] = (job.centre_y - job.focal * p[1] * near + 0.5f) * scale - 0.5f;
        s[2] = near;
    }
}

// Each vertex takes the sum of its triangles' normals, weighted by area.
void set_corners(Drawing& drawing) {
    const RasterJob& job = drawing.job;
    drawing.corners.assign(static_cast<std::size_t>(job.vertex_count), Corner{});
    Corner* corners = drawing.corners.data();
    for (int t = 0; t < job.triangle_count; ++t) {
        const std::int32_t* corner = job.triangles + 3 * t;
        const float* a = job.vertices + 3 * corner[0];
        const float* b = job.vertices + 3 * corner[1];
        const float* c = job.vertices + 3 * corner[2];
        const float u[3] = {b[0] - a[0], b[1] - a[1], b[2] - a[2]};
        const float v[3] = {c[0] - a[0], c[1] - a[1], c[2] - a[2]};
        const float n[3] = {u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]};
        for (int k = 0; k < 3; ++k) {
            for (int d = 0; d < 3; ++d) corners[corner[k]].normal[d] += n[d];
        }
    }
    for (int i = 0; i < job.vertex_count; ++i) {
        float* n = corners[i].normal;
        const float length = std::sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);
        const float inverse = length > 0.0f ? 1.0f / length : 0.0f;
        for (int d = 0; d < 3; ++d) n[d] *= inverse;
        corners[i].u = job.uv[2 * i];
        corners[i].v = job.uv[2 * i + 1];
        corners[i].shade = job.shade[i];
    }
}

void add_setup(Drawing& drawing, int t) {
    const RasterJob& job = drawing.job;
    const std::int32_t* corner = job.triangles + 3 * t;
    const float* a = drawing.screen.data() + 3 * corner[0];
    const float* b = drawing.screen.data() + 3 * corner[1];
    const float* c = drawing.screen.data() + 3 * corner[2];
    if (!(a[2] > 0.0f && b[2] > 0.0f && c[2] > 0.0f)) return;
    const float area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1]);
    const float inverse = 1.0f / area;
    if (!std::isfinite(inverse)) return;
    const float last_x = static_cast<float>(job.width * job.samples - 1);
    const float last_y = static_cast<float>(job.height * job.samples - 1);
    const float left = std::max(std::ceil(std::min({a[0], b[0], c[0]})), 0.0f);
    const float right = std::min(std::floor(std::max({a[0], b[0], c[0]})), last_x);
    const float top = std::max(std::ceil(std::min({a[1], b[1], c[1]})), 0.0f);
    const float bottom = std::min(std::floor(std::max({a[1], b[1], c[1]})), last_y);
    if (!(left <= right && top <= bottom)) return;
    Setup s{};
    s.x0 = a[0];
    s.y0 = a[1];
    s.w1x = (c[1] - a[1]) * inverse;
    s.w1y = (a[0] - c[0]) * inverse;
    s.w2x = (a[1] - b[1]) * inverse;
    s.w2y = (b[0] - a[0]) * inverse;
    s.z0 = a[2];
    s.z1 = b[2] - a[2];
    s.z2 = c[2] - a[2];
    s.left = static_cast<std::int32_t>(left);
    s.right = static_cast<std::int32_t>(right);
    s.top = static_cast<std::int32_t>(top);
    s.bottom = static_cast<std::int32_t>(bottom);
    std::copy(corner, corner + 3, s.corner);
    s.front = area < 0.0f;  // anticlockwise as seen, because rows count downwards
    drawing.setups.push_back(s);
}

// Lists the setups of each band of `rows` sample rows.
void sort_into_bands(Drawing& drawing, int bands, int rows) {
    drawing.bands.resize(std::max(drawing.bands.size(), static_cast<std::size_t>(bands)));
    for (auto& band : drawing.bands) band.clear();
    for (std::size_t i = 0; i < drawing.setups.size(); ++i) {
        const Setup& s = drawing.setups[i];
        for (int b = s.top / rows; b <= s.bottom / rows; ++b) {
            drawing.bands[static_cast<std::size_t>(b)].push_back(static_cast<std::int32_t>(i));
        }
    }
}

void unit(const float* from, float* to) {
    const float length = std::sqrt(from[0] * from[0] + from[1] * from[1] + from[2] * from[2]);
    const float inverse = length > 0.0f ? 1.0f / length : 0.0f;
    for (int d = 0; d < 3; ++d) to[d] = from[d] * inverse;
}

void set_lights(Drawing& drawing) {
    for (int i = 0; i < drawing.job.light_count; ++i) {
        const float* light = drawing.job.lights + 6 * i;
        unit(light, drawing.lights[i].direction);
        const float* d = drawing.lights[i].direction;
        const float between[3] = {d[0], d[1], d[2] + 1.0f};
        unit(between, drawing.lights[i].half);
        std::copy(light + 3, light + 6, drawing.lights[i].colour);
    }
}

}  // namespace

void rasterise(const RasterJob& job, int threads) {
    // Kept between calls, so that a renderer that draws the same mesh again allocates nothing.
    thread_local Drawing kept;
    Drawing& drawing = kept;
    drawing.job = job;
    project(drawing);
    set_corners(drawing);
    set_lights(drawing);
    drawing.setups.clear();
    for (int t = 0; t < job.triangle_count; ++t) add_setup(drawing, t);
    const int bands = (job.height + kBandRows - 1) / kBandRows;
    sort_into_bands(drawing, bands, kBandRows * job.samples);
    const RasterBand draw = X2C_CHOSEN(raster_band);
    parallel_for(bands, 1, threads, [&drawing, draw](int begin, int end) {
        thread_local Band band;
        for (int b = begin; b < end; ++b) draw(drawing, b, band);
    });
}

}  // namespace x2c::cpu
