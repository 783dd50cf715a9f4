#include "raster.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "thread_pool.h"

namespace x2c::cpu {
namespace {

constexpr int kBandRows = 8;
constexpr int kMaxSamples = 4;
constexpr float kNear = 1e-3f;
// Neighbours compute a shared edge from different corners; the slack keeps rounding from opening a crack.
constexpr float kEdgeSlack = 1e-3f;  // samples
// Surfaces seen from behind are the dark inside of the head.
constexpr float kInside[3] = {0.006f, 0.005f, 0.006f};

// A triangle on the sample grid. Weights of corners 1 and 2 are affine in the distance from corner 0.
struct Setup {
    float x0, y0;
    float w1x, w1y, w2x, w2y;
    float z0, z1, z2;  // 1 / distance: at corner 0, and what weights 1 and 2 add
    std::int32_t left, right;
    std::int32_t source;
    bool front;
};

struct Rows {
    std::int32_t top, bottom;
};

// Kept between calls, so that a renderer that draws the same mesh again allocates nothing.
struct Scratch {
    std::vector<float> screen;   // x, y, 1 / distance
    std::vector<float> normals;  // unit length
    std::vector<Setup> setups;
    std::vector<Rows> rows;
    std::vector<std::vector<std::int32_t>> bands;  // the setups that reach into each band, in order
};

struct Band {
    std::vector<float> depth;
    std::vector<std::int32_t> owner;
};

void project(const RasterJob& job, std::vector<float>& screen) {
    const auto scale = static_cast<float>(job.samples);
    screen.resize(static_cast<std::size_t>(job.vertex_count) * 3);
    for (int i = 0; i < job.vertex_count; ++i) {
        const float* p = job.vertices + 3 * i;
        float* s = screen.data() + 3 * i;
        const float near = -p[2] > kNear ? 1.0f / -p[2] : 0.0f;
        s[0] = (job.centre_x + job.focal * p[0] * near + 0.5f) * scale - 0.5f;
        s[1] = (job.centre_y - job.focal * p[1] * near + 0.5f) * scale - 0.5f;
        s[2] = near;
    }
}

// Each vertex takes the sum of its triangles' normals, weighted by area.
void vertex_normals(const RasterJob& job, std::vector<float>& normals) {
    normals.assign(static_cast<std::size_t>(job.vertex_count) * 3, 0.0f);
    for (int t = 0; t < job.triangle_count; ++t) {
        const std::int32_t* corner = job.triangles + 3 * t;
        const float* a = job.vertices + 3 * corner[0];
        const float* b = job.vertices + 3 * corner[1];
        const float* c = job.vertices + 3 * corner[2];
        const float u[3] = {b[0] - a[0], b[1] - a[1], b[2] - a[2]};
        const float v[3] = {c[0] - a[0], c[1] - a[1], c[2] - a[2]};
        const float n[3] = {u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]};
        for (int k = 0; k < 3; ++k) {
            float* sum = normals.data() + 3 * corner[k];
            for (int d = 0; d < 3; ++d) sum[d] += n[d];
        }
    }
    for (std::size_t i = 0; i < normals.size(); i += 3) {
        float* n = normals.data() + i;
        const float length = std::sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);
        const float inverse = length > 0.0f ? 1.0f / length : 0.0f;
        for (int d = 0; d < 3; ++d) n[d] *= inverse;
    }
}

void add_setup(const RasterJob& job, int t, Scratch& scratch) {
    const std::int32_t* corner = job.triangles + 3 * t;
    const float* a = scratch.screen.data() + 3 * corner[0];
    const float* b = scratch.screen.data() + 3 * corner[1];
    const float* c = scratch.screen.data() + 3 * corner[2];
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
    s.source = t;
    s.front = area < 0.0f;  // anticlockwise as seen, because rows count downwards
    scratch.setups.push_back(s);
    scratch.rows.push_back({static_cast<std::int32_t>(top), static_cast<std::int32_t>(bottom)});
}

// Lists the setups of each band of `rows` sample rows.
void sort_into_bands(Scratch& scratch, int bands, int rows) {
    if (scratch.bands.size() < static_cast<std::size_t>(bands)) {
        scratch.bands.resize(static_cast<std::size_t>(bands));
    }
    for (auto& band : scratch.bands) band.clear();
    for (std::size_t i = 0; i < scratch.rows.size(); ++i) {
        for (int b = scratch.rows[i].top / rows; b <= scratch.rows[i].bottom / rows; ++b) {
            scratch.bands[static_cast<std::size_t>(b)].push_back(static_cast<std::int32_t>(i));
        }
    }
}

// Keeps of left..right where weight + slope * x is not negative.
void narrow(float weight, float slope, float& left, float& right) {
    if (slope > 0.0f) {
        left = std::max(left, -weight / slope - kEdgeSlack);
    } else if (slope < 0.0f) {
        right = std::min(right, -weight / slope + kEdgeSlack);
    } else if (weight < 0.0f) {
        right = left - 1.0f;
    }
}

// Fills depth and owner for sample rows first..last with the setups listed.
void cover(const Scratch& scratch, const std::vector<std::int32_t>& listed, int first, int last, int stride,
           Band& band) {
    const auto count = static_cast<std::size_t>(stride) * static_cast<std::size_t>(last - first + 1);
    band.depth.assign(count, 0.0f);
    band.owner.assign(count, -1);
    for (const std::int32_t index : listed) {
        const auto i = static_cast<std::size_t>(index);
        const Rows& rows = scratch.rows[i];
        const Setup& s = scratch.setups[i];
        for (int y = std::max(rows.top, first); y <= std::min(rows.bottom, last); ++y) {
            const float dy = static_cast<float>(y) - s.y0;
            const float w1 = s.w1y * dy;
            const float w2 = s.w2y * dy;
            float left = static_cast<float>(s.left) - s.x0;
            float right = static_cast<float>(s.right) - s.x0;
            narrow(w1, s.w1x, left, right);
            narrow(w2, s.w2x, left, right);
            narrow(1.0f - w1 - w2, -(s.w1x + s.w2x), left, right);
            if (!(left <= right)) continue;
            const int from = std::max(static_cast<int>(std::ceil(left + s.x0)), s.left);
            const int to = std::min(static_cast<int>(std::floor(right + s.x0)), s.right);
            const float slope = s.w1x * s.z1 + s.w2x * s.z2;
            const float start = s.z0 + w1 * s.z1 + w2 * s.z2;
            const std::size_t row = static_cast<std::size_t>(y - first) * static_cast<std::size_t>(stride);
            for (int x = from; x <= to; ++x) {
                const float depth = start + (static_cast<float>(x) - s.x0) * slope;
                const std::size_t at = row + static_cast<std::size_t>(x);
                if (depth <= band.depth[at]) continue;
                band.depth[at] = depth;
                band.owner[at] = index;
            }
        }
    }
}

struct Shader {
    const RasterJob& job;
    const Scratch& scratch;
    ShadingLight lights[kMaxLights];

    void add(std::int32_t owner, float x, float y, float count, float* sum) const {
        const Setup& s = scratch.setups[static_cast<std::size_t>(owner)];
        if (!s.front) {
            for (int c = 0; c < 3; ++c) sum[c] += count * kInside[c];
            return;
        }
        const std::int32_t* corner = job.triangles + 3 * s.source;
        const float w1 = s.w1x * (x - s.x0) + s.w1y * (y - s.y0);
        const float w2 = s.w2x * (x - s.x0) + s.w2y * (y - s.y0);
        const float weight[3] = {1.0f - w1 - w2, w1, w2};
        float normal[3] = {0.0f, 0.0f, 0.0f};
        float u = 0.0f, v = 0.0f, shade = 0.0f;
        for (int k = 0; k < 3; ++k) {
            const float* n = scratch.normals.data() + 3 * corner[k];
            for (int d = 0; d < 3; ++d) normal[d] += weight[k] * n[d];
            u += weight[k] * job.uv[2 * corner[k]];
            v += weight[k] * job.uv[2 * corner[k] + 1];
            shade += weight[k] * job.shade[corner[k]];
        }
        const float length2 = normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2];
        const float inverse = length2 > 0.0f ? 1.0f / std::sqrt(length2) : 0.0f;
        for (int d = 0; d < 3; ++d) normal[d] *= inverse;
        float texel[4];
        sample(u, v, texel);
        shade = std::max(shade, 0.0f);
        const float albedo[3] = {texel[0] * texel[0] * shade, texel[1] * texel[1] * shade,
                                 texel[2] * texel[2] * shade};
        float light[3] = {0.0f, 0.0f, 0.0f};
        add_shaded(lights, job.light_count, job.ambient, normal, albedo, texel[3] * std::min(shade, 1.0f),
                   light);
        for (int c = 0; c < 3; ++c) sum[c] += count * light[c];
    }

    // Bilinear, edges repeated; 0..1.
    void sample(float u, float v, float* texel) const {
        const float limit_u = static_cast<float>(job.texture_width - 1);
        const float limit_v = static_cast<float>(job.texture_height - 1);
        const float x = u > 0.0f ? std::min(u, limit_u) : 0.0f;
        const float y = v > 0.0f ? std::min(v, limit_v) : 0.0f;
        const int x0 = static_cast<int>(x);
        const int y0 = static_cast<int>(y);
        const int x1 = std::min(x0 + 1, job.texture_width - 1);
        const int y1 = std::min(y0 + 1, job.texture_height - 1);
        const float fx = x - static_cast<float>(x0);
        const float fy = y - static_cast<float>(y0);
        const std::uint8_t* row0 = job.texture + static_cast<std::ptrdiff_t>(y0) * job.texture_width * 4;
        const std::uint8_t* row1 = job.texture + static_cast<std::ptrdiff_t>(y1) * job.texture_width * 4;
        for (int c = 0; c < 4; ++c) {
            const float above = static_cast<float>(row0[4 * x0 + c]) * (1.0f - fx) +
                                static_cast<float>(row0[4 * x1 + c]) * fx;
            const float below = static_cast<float>(row1[4 * x0 + c]) * (1.0f - fx) +
                                static_cast<float>(row1[4 * x1 + c]) * fx;
            texel[c] = (above + (below - above) * fy) * (1.0f / 255.0f);
        }
    }
};

// The samples of one pixel that one triangle owns: shaded once, at their mean place.
struct Share {
    std::int32_t owner;
    float count, x, y;
};

// Mean of linear light over a pixel's samples, back to the display's curve (taken as a square).
void resolve(const Shader& shader, const Band& band, int first_row, int last_row, int stride) {
    const RasterJob& job = shader.job;
    const int n = job.samples;
    const float share = 1.0f / static_cast<float>(n * n);
    for (int row = first_row; row < last_row; ++row) {
        for (int column = 0; column < job.width; ++column) {
            float sum[3] = {0.0f, 0.0f, 0.0f};
            int missed = 0;
            Share found[kMaxSamples * kMaxSamples];
            int kinds = 0;
            for (int k = 0; k < n * n; ++k) {
                const int x = column * n + k % n;
                const int y = row * n + k / n;
                const auto at =
                    static_cast<std::size_t>(y - first_row * n) * static_cast<std::size_t>(stride) +
                    static_cast<std::size_t>(x);
                const std::int32_t owner = band.owner[at];
                if (owner < 0) {
                    ++missed;
                    continue;
                }
                int kind = 0;
                while (kind < kinds && found[kind].owner != owner) ++kind;
                if (kind == kinds) found[kinds++] = {owner, 0.0f, 0.0f, 0.0f};
                found[kind].count += 1.0f;
                found[kind].x += static_cast<float>(x);
                found[kind].y += static_cast<float>(y);
            }
            for (int kind = 0; kind < kinds; ++kind) {
                const Share& f = found[kind];
                shader.add(f.owner, f.x / f.count, f.y / f.count, f.count, sum);
            }
            if (missed == n * n) continue;
            std::uint8_t* pixel = job.out + (static_cast<std::ptrdiff_t>(row) * job.width + column) * 3;
            for (int c = 0; c < 3; ++c) {
                const float behind = static_cast<float>(pixel[c]) * (1.0f / 255.0f);
                const float light = (sum[c] + behind * behind * static_cast<float>(missed)) * share;
                pixel[c] = static_cast<std::uint8_t>(std::sqrt(std::min(light, 1.0f)) * 255.0f + 0.5f);
            }
        }
    }
}

void unit(const float* from, float* to) {
    const float length = std::sqrt(from[0] * from[0] + from[1] * from[1] + from[2] * from[2]);
    const float inverse = length > 0.0f ? 1.0f / length : 0.0f;
    for (int d = 0; d < 3; ++d) to[d] = from[d] * inverse;
}

}  // namespace

void rasterise(const RasterJob& job, int threads) {
    thread_local Scratch scratch;
    project(job, scratch.screen);
    vertex_normals(job, scratch.normals);
    scratch.setups.clear();
    scratch.rows.clear();
    for (int t = 0; t < job.triangle_count; ++t) add_setup(job, t, scratch);

    Shader shader{job, scratch, {}};
    for (int i = 0; i < job.light_count; ++i) {
        const float* light = job.lights + 6 * i;
        unit(light, shader.lights[i].direction);
        const float* d = shader.lights[i].direction;
        const float between[3] = {d[0], d[1], d[2] + 1.0f};
        unit(between, shader.lights[i].half);
        std::copy(light + 3, light + 6, shader.lights[i].colour);
    }
    const int stride = job.width * job.samples;
    const int bands = (job.height + kBandRows - 1) / kBandRows;
    sort_into_bands(scratch, bands, kBandRows * job.samples);
    parallel_for(bands, 1, threads, [&](int begin, int end) {
        thread_local Band band;
        for (int b = begin; b < end; ++b) {
            const int first = b * kBandRows;
            const int last = std::min(first + kBandRows, job.height);
            cover(shader.scratch, shader.scratch.bands[static_cast<std::size_t>(b)], first * job.samples,
                  last * job.samples - 1, stride, band);
            resolve(shader, band, first, last, stride);
        }
    });
}

}  // namespace x2c::cpu
