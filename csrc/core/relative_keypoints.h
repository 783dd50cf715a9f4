#pragma once

#include <cstdint>

#include "platform.h"

// Pose, keypoints and relative motion (docs/spec/liveportrait.md sections 5 to 7). Points are row vectors.
namespace x2c {

// A motion as a row of floats: rotation 9 (row-major), exp 3K, t 3, scale 1.
struct MotionLayout {
    std::int32_t keypoints;
    X2C_HD std::int32_t points() const { return 3 * keypoints; }
    X2C_HD std::int32_t exp() const { return 9; }
    X2C_HD std::int32_t t() const { return 9 + points(); }
    X2C_HD std::int32_t scale() const { return 12 + points(); }
    X2C_HD std::int32_t size() const { return 13 + points(); }
    // The source row goes on with its canonical keypoints and its transformed ones, the reference row with
    // its transformed keypoints (x_new of section 6) and the multiplier.
    X2C_HD std::int32_t source_kp() const { return size(); }
    X2C_HD std::int32_t source_x() const { return size() + points(); }
    X2C_HD std::int32_t source_size() const { return size() + 2 * points(); }
    X2C_HD std::int32_t reference_x() const { return size(); }
    X2C_HD std::int32_t reference_multiplier() const { return size() + points(); }
    X2C_HD std::int32_t reference_size() const { return size() + points() + 1; }
};

// One call of relative_keypoints. angle: pitch, yaw, roll, each `bins` logits, or degrees if bins is 1.
// motion may be null.
struct RelativeKeypointsJob {
    const float* angle[3];
    std::int32_t bins;
    const float* t;
    const float* exp;
    const float* scale;
    const float* source;
    const float* reference;
    float* out;
    float* motion;
    std::int32_t keypoints;
};

// One call of stitch_keypoints: driving and out are 3K, delta is 3K + 2.
struct StitchJob {
    const float* driving;
    const float* delta;
    float* out;
    std::int32_t keypoints;
};

// Degrees from the mean bin index, 0..65.
template <class Real>
X2C_HD Real degrees_from_bin(Real mean) {
    return Real(3) * mean - Real(97.5);
}

template <class Real>
struct Matrix3 {
    Real m[9];
};

template <class Real>
X2C_HD Matrix3<Real> multiply(const Matrix3<Real>& a, const Matrix3<Real>& b) {
    Matrix3<Real> c{};
    for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 3; ++j) {
            c.m[3 * i + j] = a.m[3 * i] * b.m[j] + a.m[3 * i + 1] * b.m[3 + j] + a.m[3 * i + 2] * b.m[6 + j];
        }
    }
    return c;
}

template <class Real>
X2C_HD Matrix3<Real> transposed(const Matrix3<Real>& a) {
    return {{a.m[0], a.m[3], a.m[6], a.m[1], a.m[4], a.m[7], a.m[2], a.m[5], a.m[8]}};
}

template <class Real>
X2C_HD Matrix3<Real> load_matrix(const float* from) {
    Matrix3<Real> a{};
    for (int i = 0; i < 9; ++i) a.m[i] = static_cast<Real>(from[i]);
    return a;
}

// (Rz Ry Rx) transposed, from the sines and cosines of pitch, yaw and roll.
template <class Real>
X2C_HD Matrix3<Real> rotation(const Real (&sine)[3], const Real (&cosine)[3]) {
    const Real sa = sine[0], sb = sine[1], sc = sine[2], ca = cosine[0], cb = cosine[1], cc = cosine[2];
    return {{cb * cc, cb * sc, -sb, sa * sb * cc - ca * sc, sa * sb * sc + ca * cc, sa * cb,
             ca * sb * cc + sa * sc, ca * sb * sc - sa * cc, ca * cb}};
}

// Section 6, steps 1, 3 and 4: what all points of a frame share.
template <class Real>
struct RelativePose {
    Matrix3<Real> rotation;
    Real scale;
    Real t[2];
};

template <class Real>
X2C_HD RelativePose<Real> relative_pose(const RelativeKeypointsJob& job, const Matrix3<Real>& current) {
    const MotionLayout at{job.keypoints};
    RelativePose<Real> pose{};
    pose.rotation = multiply(multiply(current, transposed(load_matrix<Real>(job.reference))),
                             load_matrix<Real>(job.source));
    pose.scale = Real(job.source[at.scale()]) * (Real(job.scale[0]) / Real(job.reference[at.scale()]));
    for (int axis = 0; axis < 2; ++axis) {
        pose.t[axis] =
            Real(job.source[at.t() + axis]) + (Real(job.t[axis]) - Real(job.reference[at.t() + axis]));
    }
    return pose;
}

// Steps 2, 5 and 7 for coordinate `axis` of keypoint k.
template <class Real>
X2C_HD float relative_coordinate(const RelativeKeypointsJob& job, const RelativePose<Real>& pose, int k,
                                 int axis) {
    const MotionLayout at{job.keypoints};
    const int i = 3 * k + axis;
    const float* kp = job.source + at.source_kp() + 3 * k;
    const Real turned = Real(kp[0]) * pose.rotation.m[axis] + Real(kp[1]) * pose.rotation.m[3 + axis] +
                        Real(kp[2]) * pose.rotation.m[6 + axis];
    const Real exp = Real(job.source[at.exp() + i]) + (Real(job.exp[i]) - Real(job.reference[at.exp() + i]));
    const Real moved = pose.scale * (turned + exp) + (axis < 2 ? pose.t[axis] : Real(0));
    const Real offset = moved - Real(job.reference[at.reference_x() + i]);
    return static_cast<float>(Real(job.source[at.source_x() + i]) +
                              Real(job.reference[at.reference_multiplier()]) * offset);
}

// The motion row's entry i, as this frame has it.
template <class Real>
X2C_HD float motion_entry(const RelativeKeypointsJob& job, const Matrix3<Real>& current, int i) {
    const MotionLayout at{job.keypoints};
    if (i < at.exp()) return static_cast<float>(current.m[i]);
    if (i < at.t()) return job.exp[i - at.exp()];
    return i < at.scale() ? job.t[i - at.t()] : job.scale[0];
}

X2C_HD float stitched_coordinate(const StitchJob& job, int i) {
    const int axis = i % 3;
    const float shift = axis < 2 ? job.delta[3 * job.keypoints + axis] : 0.0f;
    return job.driving[i] + job.delta[i] + shift;
}

}  // namespace x2c
