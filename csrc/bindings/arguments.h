#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <string>

// Part of bindings.cpp: what every kernel's arguments go through.
namespace py = pybind11;

namespace {

[[noreturn]] void reject(const std::string& argument, const std::string& what) {
    throw py::value_error(argument + ": " + what);
}

std::string text(py::handle object) { return py::str(object).cast<std::string>(); }

// One array argument, on the CPU (buffer protocol) or on the GPU (__cuda_array_interface__), held for the
// length of a call.
class Array {
  public:
    Array(const char* name, py::handle object) : name_(name) {
        if (PyObject_CheckBuffer(object.ptr()) != 0) {
            read_buffer(object);
        } else if (py::hasattr(object, "__cuda_array_interface__")) {
            read_cuda(object);
        } else {
            reject(name_, "expected an array, got " + std::string(Py_TYPE(object.ptr())->tp_name));
        }
    }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    ~Array() {
        if (view_.obj != nullptr) PyBuffer_Release(&view_);
    }

    const char* name() const { return name_; }
    bool on_gpu() const { return on_gpu_; }
    bool has_type(const char* type) const { return type_ == type; }
    int rank() const { return rank_; }
    py::ssize_t size(int axis) const { return shape_[static_cast<std::size_t>(axis)]; }
    void* data() const { return data_; }
    py::ssize_t count() const {
        py::ssize_t values = 1;
        for (int axis = 0; axis < rank_; ++axis) values *= size(axis);
        return values;
    }

    void expect_type(const char* type) const {
        if (!has_type(type)) reject(name_, "expected dtype " + std::string(type) + ", got " + type_);
    }
    void expect_contiguous() const {
        if (!contiguous_) reject(name_, "must be C-contiguous (use numpy.ascontiguousarray)");
    }
    void expect_writable() const {
        if (!writable_) reject(name_, "is read-only");
    }
    [[noreturn]] void reject_shape(const std::string& expected) const {
        std::string got = "(";
        for (int i = 0; i < rank_; ++i) got += (i > 0 ? ", " : "") + std::to_string(size(i));
        reject(name_, "expected shape " + expected + ", got " + got + ")");
    }

  private:
    static constexpr int kMaxRank = 8;

    void read_buffer(py::handle object) {
        if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_FORMAT | PyBUF_STRIDES) != 0) {
            view_.obj = nullptr;
            PyErr_Clear();
            reject(name_, "its memory cannot be read through the buffer protocol");
        }
        set_shape(view_.ndim, [this](int axis) { return view_.shape[axis]; });
        type_ = dtype_of_buffer(view_.format);
        contiguous_ = PyBuffer_IsContiguous(&view_, 'C') != 0;
        writable_ = view_.readonly == 0;
        data_ = view_.buf;
    }

    void read_cuda(py::handle object) {
        on_gpu_ = true;
        const py::dict interface = object.attr("__cuda_array_interface__").cast<py::dict>();
        const auto shape = interface["shape"].cast<py::tuple>();
        set_shape(static_cast<int>(shape.size()),
                  [&shape](int axis) { return shape[static_cast<std::size_t>(axis)].cast<py::ssize_t>(); });
        type_ = dtype_of_typestr(interface["typestr"].cast<std::string>());
        const auto pointer = interface["data"].cast<py::tuple>();
        data_ = reinterpret_cast<void*>(pointer[0].cast<std::uintptr_t>());
        writable_ = !pointer[1].cast<bool>();
        contiguous_ = true;
        if (interface.contains("strides") && !interface["strides"].is_none()) {
            const auto strides = interface["strides"].cast<py::tuple>();
            py::ssize_t dense = std::stoi(interface["typestr"].cast<std::string>().substr(2));
            for (int axis = rank_ - 1; axis >= 0; --axis) {
                const auto stride = strides[static_cast<std::size_t>(axis)].cast<py::ssize_t>();
                if (size(axis) != 1 && stride != dense) contiguous_ = false;
                dense *= size(axis);
            }
        }
    }

    template <class Size>
    void set_shape(int rank, const Size& size_of) {
        if (rank > kMaxRank) reject(name_, "has too many dimensions");
        rank_ = rank;
        for (int axis = 0; axis < rank; ++axis) shape_[static_cast<std::size_t>(axis)] = size_of(axis);
    }

    // Names of the native types that kernels take; anything else is returned as it was spelled.
    static std::string dtype_of_buffer(const char* format) {
        if (format == nullptr) return "uint8";
        const std::string spelled = format;
        const bool prefixed =
            !spelled.empty() && (spelled[0] == '<' || spelled[0] == '=' || spelled[0] == '@');
        const std::string code = prefixed ? spelled.substr(1) : spelled;
        if (code == "B") return "uint8";
        if (code == "i" || (code == "l" && sizeof(long) == 4)) return "int32";
        if (code == "e") return "float16";
        if (code == "f") return "float32";
        if (code == "d") return "float64";
        return "'" + spelled + "'";
    }
    static std::string dtype_of_typestr(const std::string& spelled) {
        if (spelled == "|u1" || spelled == "<u1") return "uint8";
        if (spelled == "<f2") return "float16";
        if (spelled == "<f4") return "float32";
        if (spelled == "<f8") return "float64";
        return "'" + spelled + "'";
    }

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

std::array<double, 3> three_numbers(const char* name, py::handle object) {
    std::array<double, 3> values{};
    if (PySequence_Check(object.ptr()) == 0)
        reject(name, "expected 3 numbers, got " + text(py::repr(object)));
    try {
        const auto sequence = py::reinterpret_borrow<py::sequence>(object);
        if (sequence.size() != 3) reject(name, "expected 3 numbers, got " + std::to_string(sequence.size()));
        for (std::size_t i = 0; i < 3; ++i) values[i] = sequence[i].cast<double>();
    } catch (const py::cast_error&) {
        reject(name, "expected 3 numbers, got " + text(py::repr(object)));
    }
    for (const double value : values) {
        if (!std::isfinite(value)) reject(name, "must be finite, got " + text(py::repr(object)));
    }
    return values;
}

void expect_range(const char* name, int value, int low, int high) {
    if (value >= low && value <= high) return;
    reject(name, "expected " + std::to_string(low) + ".." + std::to_string(high) + ", got " +
                     std::to_string(value));
}

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
    }
}

}  // namespace
