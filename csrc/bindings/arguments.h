#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "unlocked.h"

// What every kernel's arguments go through. Every refusal is a ValueError that names the argument.
namespace x2c::bindings {

namespace py = pybind11;

// Byte offsets inside a frame are 32-bit integers.
constexpr py::ssize_t kMaxSide = 1 << 24;
constexpr py::ssize_t kMaxPixels = INT32_MAX / 3;

[[noreturn]] void reject(const std::string& argument, const std::string& what);

std::string text(py::handle object);

// One array argument, on the CPU (buffer protocol) or on the GPU (__cuda_array_interface__), held for the
// length of a call.
class Array {
  public:
    Array(const char* name, py::handle object);
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    ~Array();

    const char* name() const { return name_; }
    bool on_gpu() const { return on_gpu_; }
    bool has_type(const char* type) const { return type_ == type; }
    int rank() const { return rank_; }
    py::ssize_t size(int axis) const { return shape_[static_cast<std::size_t>(axis)]; }
    void* data() const { return data_; }
    py::ssize_t count() const;  // values, all axes

    void expect_type(const char* type) const;
    void expect_contiguous() const;
    void expect_writable() const;
    [[noreturn]] void reject_shape(const std::string& expected) const;

  private:
    static constexpr int kMaxRank = 8;

    void read_buffer(py::handle object);
    void read_cuda(py::handle object);
    template <class Size>
    void set_shape(int rank, const Size& size_of);

    const char* name_;
    Py_buffer view_{};
    std::string type_;
    std::array<py::ssize_t, kMaxRank> shape_{};
    int rank_ = 0;
    void* data_ = nullptr;
    bool on_gpu_ = false;
    bool writable_ = false;
    bool contiguous_ = false;
};

std::array<double, 3> three_numbers(const char* name, py::handle object);

void expect_range(const char* name, int value, int low, int high);

// True for float16, false for float32; anything else is refused.
bool is_half(const Array& array);

// Contiguous and writable, of any type.
void expect_output(const Array& array);

// An array whose shape is free: `count` float32 values in C order.
const float* expect_values(const Array& array, py::ssize_t count);
float* expect_output_values(const Array& array, py::ssize_t count);

// That the kernels can count the array's values.
void expect_index_range(const Array& array);

// (2, 3) float64.
const double* affine_of(const Array& array);

// (count, 3) float32.
const float* keypoints_of(const Array& array, py::ssize_t count);

void expect_same_device(std::initializer_list<const Array*> arrays);

// The affine step from colours of full scale `white`, channels in the order `from`, to normalised ones in
// the order `to`.
template <class Job>
void set_normalisation(Job& job, const std::string& from, const std::string& to, py::handle mean,
                       py::handle std_, double white) {
    if (to != "RGB" && to != "BGR") reject("order", "expected 'RGB' or 'BGR', got '" + to + "'");
    const auto means = three_numbers("mean", mean);
    const auto deviations = three_numbers("std", std_);
    for (std::size_t k = 0; k < 3; ++k) {
        const std::size_t plane = from == to ? k : 2 - k;
        if (deviations[plane] == 0.0) reject("std", "must not be zero");
        job.plane[k] = static_cast<std::int32_t>(plane);
        job.scale[k] = static_cast<float>(1.0 / (white * deviations[plane]));
        job.offset[k] = static_cast<float>(-means[plane] / deviations[plane]);
        if (!std::isfinite(job.scale[k])) reject("std", "1 / std is beyond float32");
        if (!std::isfinite(job.offset[k])) reject("mean", "mean / std is beyond float32");
    }
}

// Runs the job where `first` is, without the GIL. `on_gpu` is X2C_ON_GPU(call).
template <class OnCpu, class OnGpu>
void dispatch(const Array& first, const OnCpu& on_cpu, const OnGpu& on_gpu) {
    if (!first.on_gpu()) {
        const Unlocked unlocked;
        on_cpu();
        return;
    }
#if defined(X2C_WITH_CUDA)
    const Unlocked unlocked;
    on_gpu();
#else
    static_cast<void>(on_gpu);
    reject(first.name(), "is on the GPU, but these kernels were built without CUDA");
#endif
}

#if defined(X2C_WITH_CUDA)
#define X2C_ON_GPU(call) [&] { x2c::cuda::call; }
#else
#define X2C_ON_GPU(call) [] {}
#endif

}  // namespace x2c::bindings
