// Compiled once per instruction set (CMakeLists.txt), into the namespace X2C_VARIANT, and always without
// fused multiply-adds: every machine draws the same picture.
//
// A band is drawn in three steps: which triangle each sample sees; the samples of a pixel that one triangle
// owns become a fragment, shaded once, at their mean place; a pixel's light is the mean of its fragments'.
// Fragments wait in short arrays and are shaded many at a time by plain loops, which compilers turn into
// vector code. Only the reading of corners and texels is scalar.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "raster_band.h"

namespace x2c::cpu::X2C_VARIANT {
namespace {

constexpr int kBatch = 64;
constexpr int kMostKinds = kMaxSamples * kMaxSamples;
// Neighbours compute a shared edge from different corners; the slack keeps rounding from opening a crack.
constexpr float kEdgeSlack = 1e-3f;  // samples
// Surfaces seen from behind are the dark inside of the head.
constexpr float kInside[3] = {0.006f, 0.005f, 0.006f};
// How far light reaches round to the side that faces away, as it does in soft skin.
constexpr float kWrap = 0.25f;

// Keeps of left..right where weight + slope * x is not negative.
inline void narrow(float weight, float slope, float& left, float& right) {
    if (slope > 0.0f) {
        left = std::max(left, -weight / slope - kEdgeSlack);
    } else if (slope < 0.0f) {
        right = std::min(right, -weight / slope + kEdgeSlack);
    } else if (weight < 0.0f) {
        right = left - 1.0f;
    }
}

// Where of one sample row `depth` and `owner` the setup is nearest, it is put in.
inline void cover_row(const Setup& s, std::int32_t index, int y, float* __restrict depth,
                      std::int32_t* __restrict owner) {
    const float dy = static_cast<float>(y) - s.y0;
    const float w1 = s.w1y * dy;
    const float w2 = s.w2y * dy;
    float left = static_cast<float>(s.left) - s.x0;
    float right = static_cast<float>(s.right) - s.x0;
    narrow(w1, s.w1x, left, right);
    narrow(w2, s.w2x, left, right);
    narrow(1.0f - w1 - w2, -(s.w1x + s.w2x), left, right);
    if (!(left <= right)) return;
    const int from = std::max(static_cast<int>(std::ceil(left + s.x0)), s.left);
    const int to = std::min(static_cast<int>(std::floor(right + s.x0)), s.right);
    const float slope = s.w1x * s.z1 + s.w2x * s.z2;
    const float start = s.z0 + w1 * s.z1 + w2 * s.z2;
    for (int x = from; x <= to; ++x) {
        const float here = start + (static_cast<float>(x) - s.x0) * slope;
        const bool nearer = here > depth[x];
        depth[x] = nearer ? here : depth[x];
        owner[x] = nearer ? index : owner[x];
    }
}

// Fills depth and owner of the band's sample rows first..last.
void cover(const Drawing& drawing, const std::vector<std::int32_t>& listed, int first, int last, int stride,
           Band& band) {
    const auto count = static_cast<std::size_t>(stride) * static_cast<std::size_t>(last - first + 1);
    band.depth.assign(count, 0.0f);
    band.owner.assign(count, -1);
    for (const std::int32_t index : listed) {
        const Setup& s = drawing.setups[static_cast<std::size_t>(index)];
        for (int y = std::max(s.top, first); y <= std::min(s.bottom, last); ++y) {
            const auto row = static_cast<std::size_t>(y - first) * static_cast<std::size_t>(stride);
            cover_row(s, index, y, band.depth.data() + row, band.owner.data() + row);
        }
    }
}

// What waits to be shaded: a pixel's column, and of the samples that one triangle owns there how many they
// are, and their mean place.
struct Fragments {
    int n;
    std::int32_t column[kBatch], owner[kBatch];
    float count[kBatch], x[kBatch], y[kBatch];

    void add(std::int32_t in_column, std::int32_t of, float samples, float mean_x, float mean_y) {
        column[n] = in_column;
        owner[n] = of;
        count[n] = samples;
        x[n] = mean_x;
        y[n] = mean_y;
        ++n;
    }

    // The first from `begin` on that `of` owns, or n.
    int find(int begin, std::int32_t of) const {
        while (begin < n && owner[begin] != of) ++begin;
        return begin;
    }
};

// What is known of them, each value as an array.
struct Surface {
    float normal[3][kBatch], u[kBatch], v[kBatch], shade[kBatch];
    float fx[kBatch], fy[kBatch];             // place between four texels
    std::int32_t row0[kBatch], row1[kBatch];  // their rows and columns in texels
    std::int32_t column0[kBatch], column1[kBatch];
    std::uint32_t texel[4][kBatch];
    float albedo[3][kBatch], gloss[kBatch];
    float diffuse[3][kBatch], specular[3][kBatch];
};

void read_corners(const Drawing& drawing, const Fragments& f, Surface& at) {
    for (int i = 0; i < f.n; ++i) {
        const Setup& s = drawing.setups[static_cast<std::size_t>(f.owner[i])];
        const float w1 = s.w1x * (f.x[i] - s.x0) + s.w1y * (f.y[i] - s.y0);
        const float w2 = s.w2x * (f.x[i] - s.x0) + s.w2y * (f.y[i] - s.y0);
        const float w0 = 1.0f - w1 - w2;
        const Corner* corners = drawing.corners.data();
        float a[8], b[8], c[8], mean[8];
        std::memcpy(a, corners + s.corner[0], sizeof(a));
        std::memcpy(b, corners + s.corner[1], sizeof(b));
        std::memcpy(c, corners + s.corner[2], sizeof(c));
        for (int k = 0; k < 8; ++k) mean[k] = w0 * a[k] + w1 * b[k] + w2 * c[k];
        for (int d = 0; d < 3; ++d) at.normal[d][i] = mean[d];
        at.u[i] = mean[3];
        at.v[i] = mean[4];
        at.shade[i] = mean[5];
    }
}

// Between which texels; edges are repeated.
void place_texels(const RasterJob& job, int n, Surface& at) {
    const std::int32_t last_x = job.texture_width - 1, last_y = job.texture_height - 1;
    const auto limit_u = static_cast<float>(last_x), limit_v = static_cast<float>(last_y);
    for (int i = 0; i < n; ++i) {
        const float x = at.u[i] > 0.0f ? (at.u[i] < limit_u ? at.u[i] : limit_u) : 0.0f;
        const float y = at.v[i] > 0.0f ? (at.v[i] < limit_v ? at.v[i] : limit_v) : 0.0f;
        const auto x0 = static_cast<std::int32_t>(x);
        const auto y0 = static_cast<std::int32_t>(y);
        at.fx[i] = x - static_cast<float>(x0);
        at.fy[i] = y - static_cast<float>(y0);
        at.column0[i] = x0;
        at.column1[i] = x0 < last_x ? x0 + 1 : last_x;
        at.row0[i] = y0;
        at.row1[i] = y0 < last_y ? y0 + 1 : last_y;
    }
}

void read_texels(const RasterJob& job, int n, Surface& at) {
    const auto texel = [&job](std::int32_t row, std::int32_t column) {
        std::uint32_t value;
        const auto offset = (static_cast<std::ptrdiff_t>(row) * job.texture_width + column) * 4;
        std::memcpy(&value, job.texture + offset, sizeof(value));
        return value;
    };
    for (int i = 0; i < n; ++i) {
        at.texel[0][i] = texel(at.row0[i], at.column0[i]);
        at.texel[1][i] = texel(at.row0[i], at.column1[i]);
        at.texel[2][i] = texel(at.row1[i], at.column0[i]);
        at.texel[3][i] = texel(at.row1[i], at.column1[i]);
    }
}

// One channel of the four texels (little-endian), between them; 0..1.
inline float channel(const Surface& at, int i, int c) {
    const auto value = [&at, i, c](int k) {
        return static_cast<float>(static_cast<std::int32_t>((at.texel[k][i] >> (8 * c)) & 0xffu));
    };
    const float above = value(0) * (1.0f - at.fx[i]) + value(1) * at.fx[i];
    const float below = value(2) * (1.0f - at.fx[i]) + value(3) * at.fx[i];
    return (above + (below - above) * at.fy[i]) * (1.0f / 255.0f);
}

// Normals of unit length, linear albedo 0..1, and gloss 0..1: low is a broad sheen, high a small bright spot.
void set_surface(int n, Surface& at) {
    for (int i = 0; i < n; ++i) {
        const float x = at.normal[0][i], y = at.normal[1][i], z = at.normal[2][i];
        const float length2 = x * x + y * y + z * z;
        const float inverse = length2 > 0.0f ? 1.0f / std::sqrt(length2) : 0.0f;
        at.normal[0][i] = x * inverse;
        at.normal[1][i] = y * inverse;
        at.normal[2][i] = z * inverse;
        const float shade = at.shade[i] > 0.0f ? at.shade[i] : 0.0f;
        for (int c = 0; c < 3; ++c) {
            const float texel = channel(at, i, c);
            at.albedo[c][i] = texel * texel * shade;
        }
        at.gloss[i] = channel(at, i, 3) * (shade < 1.0f ? shade : 1.0f);
    }
}

// The linear light that leaves each surface towards the viewer, who is taken to be straight ahead, in
// `diffuse`.
void shade(const Drawing& drawing, int n, Surface& at) {
    const float* ambient = drawing.job.ambient;
    for (int i = 0; i < n; ++i) {
        const float sky = 0.5f + 0.5f * at.normal[1][i];
        for (int c = 0; c < 3; ++c) {
            at.diffuse[c][i] = ambient[3 + c] + (ambient[c] - ambient[3 + c]) * sky;
            at.specular[c][i] = 0.0f;
        }
    }
    for (int k = 0; k < drawing.job.light_count; ++k) {
        const ShadingLight light = drawing.lights[k];
        for (int i = 0; i < n; ++i) {
            const float x = at.normal[0][i], y = at.normal[1][i], z = at.normal[2][i];
            const float facing = x * light.direction[0] + y * light.direction[1] + z * light.direction[2];
            const float lit = (facing + kWrap) * (1.0f / (1.0f + kWrap));
            const float gloss = at.gloss[i];
            const float broad = gloss * (1.0f - gloss * gloss) * 0.35f;
            const float sharp = gloss * gloss * gloss * 3.0f;
            float s = x * light.half[0] + y * light.half[1] + z * light.half[2];
            s = s > 0.0f ? s * s : 0.0f;
            s *= s;
            s *= s;
            const float s16 = s * s;
            float s128 = s16 * s16;
            s128 *= s128;
            s128 *= s128;
            const bool seen = lit > 0.0f;
            const float strength = seen ? lit : 0.0f;
            const float shine = seen ? broad * s16 + sharp * s128 : 0.0f;
            for (int c = 0; c < 3; ++c) {
                at.diffuse[c][i] += light.colour[c] * strength;
                at.specular[c][i] += light.colour[c] * shine;
            }
        }
    }
    for (int i = 0; i < n; ++i) {
        for (int c = 0; c < 3; ++c) {
            at.diffuse[c][i] = at.albedo[c][i] * at.diffuse[c][i] + at.specular[c][i];
        }
    }
}

// Shades what waits and adds it to the row's light.
void flush(const Drawing& drawing, Fragments& f, Surface& at, float* light) {
    read_corners(drawing, f, at);
    place_texels(drawing.job, f.n, at);
    read_texels(drawing.job, f.n, at);
    set_surface(f.n, at);
    shade(drawing, f.n, at);
    for (int i = 0; i < f.n; ++i) {
        const bool front = drawing.setups[static_cast<std::size_t>(f.owner[i])].front;
        float* sum = light + 3 * f.column[i];
        for (int c = 0; c < 3; ++c) sum[c] += f.count[i] * (front ? at.diffuse[c][i] : kInside[c]);
    }
    f.n = 0;
}

template <int N>
void gather_row(const Drawing& drawing, int row, const std::int32_t* owners, int stride, Fragments& f,
                Surface& at, Band& band) {
    constexpr int kSamples = N * N;
    for (int column = 0; column < drawing.job.width; ++column) {
        std::int32_t owner[kSamples];
        bool whole = true;
        for (int k = 0; k < kSamples; ++k) {
            owner[k] = owners[(k / N) * stride + column * N + k % N];
            whole = whole && owner[k] == owner[0];
        }
        if (whole && owner[0] < 0) {
            for (int c = 0; c < 3; ++c) band.missed[static_cast<std::size_t>(3 * column + c)] = kSamples;
            continue;
        }
        if (f.n + kSamples > kBatch) flush(drawing, f, at, band.light.data());
        const int begin = f.n;
        int missed = 0;
        if (whole) {
            constexpr float kMiddle = 0.5f * (N - 1);
            f.add(column, owner[0], kSamples, static_cast<float>(column * N) + kMiddle,
                  static_cast<float>(row * N) + kMiddle);
        } else {
            for (int k = 0; k < kSamples; ++k) {
                const auto x = static_cast<float>(column * N + k % N);
                const auto y = static_cast<float>(row * N + k / N);
                if (owner[k] < 0) {
                    ++missed;
                } else if (const int kind = f.find(begin, owner[k]); kind < f.n) {
                    f.count[kind] += 1.0f;
                    f.x[kind] += x;
                    f.y[kind] += y;
                } else {
                    f.add(column, owner[k], 1.0f, x, y);
                }
            }
            for (int kind = begin; kind < f.n; ++kind) {
                f.x[kind] /= f.count[kind];
                f.y[kind] /= f.count[kind];
            }
        }
        for (int c = 0; c < 3; ++c) {
            band.missed[static_cast<std::size_t>(3 * column + c)] = static_cast<float>(missed);
        }
    }
    flush(drawing, f, at, band.light.data());
}

// Mean of linear light over a pixel's samples, back to the display's curve (taken as a square).
void resolve_row(int values, float samples, const float* __restrict light, const float* __restrict missed,
                 std::uint8_t* __restrict out) {
    const float share = 1.0f / samples;
    for (int i = 0; i < values; ++i) {
        const float behind = static_cast<float>(out[i]) * (1.0f / 255.0f);
        const float mean = (light[i] + behind * behind * missed[i]) * share;
        out[i] = static_cast<std::uint8_t>(std::sqrt(mean < 1.0f ? mean : 1.0f) * 255.0f + 0.5f);
    }
}

template <int N>
void raster_band_of(const Drawing& drawing, int index, Band& band) {
    const RasterJob& job = drawing.job;
    const int stride = job.width * N;
    const int first = index * kBandRows;
    const int last = std::min(first + kBandRows, job.height);
    cover(drawing, drawing.bands[static_cast<std::size_t>(index)], first * N, last * N - 1, stride, band);
    const auto values = static_cast<std::size_t>(job.width) * 3;
    band.missed.resize(values);
    Fragments fragments{};
    Surface surface;
    for (int row = first; row < last; ++row) {
        const std::int32_t* owners =
            band.owner.data() + static_cast<std::ptrdiff_t>(row - first) * N * stride;
        band.light.assign(values, 0.0f);
        gather_row<N>(drawing, row, owners, stride, fragments, surface, band);
        resolve_row(3 * job.width, static_cast<float>(N * N), band.light.data(), band.missed.data(),
                    job.out + static_cast<std::ptrdiff_t>(row) * job.width * 3);
    }
}

}  // namespace

void raster_band(const Drawing& drawing, int index, Band& band) {
    static_assert(kMaxSamples == 4 && kMostKinds <= kBatch);
    switch (drawing.job.samples) {
        case 1:
            return raster_band_of<1>(drawing, index, band);
        case 2:
            return raster_band_of<2>(drawing, index, band);
        case 3:
            return raster_band_of<3>(drawing, index, band);
        default:
            return raster_band_of<4>(drawing, index, band);
    }
}

}  // namespace x2c::cpu::X2C_VARIANT
