#include "arguments.h"

#include <cmath>

namespace x2c::bindings {

namespace {

// Names of the native types that kernels take; anything else is returned as it was spelled.
std::string dtype_of_buffer(const char* format) {
    if (format == nullptr) return "uint8";
    const std::string spelled = format;
    const bool prefixed = !spelled.empty() && (spelled[0] == '<' || spelled[0] == '=' || spelled[0] == '@');
    const std::string code = prefixed ? spelled.substr(1) : spelled;
    if (code == "B") return "uint8";
    if (code == "i" || (code == "l" && sizeof(long) == 4)) return "int32";
    if (code == "e") return "float16";
    if (code == "f") return "float32";
    if (code == "d") return "float64";
    return "'" + spelled + "'";
}

std::string dtype_of_typestr(const std::string& spelled) {
    if (spelled == "|u1" || spelled == "<u1") return "uint8";
    if (spelled == "<f2") return "float16";
    if (spelled == "<f4") return "float32";
    if (spelled == "<f8") return "float64";
    return "'" + spelled + "'";
}

}  // namespace

void reject(const std::string& argument, const std::string& what) {
    throw py::value_error(argument + ": " + what);
}

std::string text(py::handle object) { return py::str(object).cast<std::string>(); }

Array::Array(const char* name, py::handle object) : name_(name) {
    if (PyObject_CheckBuffer(object.ptr()) != 0) {
        read_buffer(object);
    } else if (py::hasattr(object, "__cuda_array_interface__")) {
        try {
            read_cuda(object);
        } catch (const py::value_error&) {
            throw;
        } catch (const std::exception& error) {
            reject(name_, std::string("its __cuda_array_interface__ cannot be read: ") + error.what());
        }
    } else {
        reject(name_, "expected an array, got " + std::string(Py_TYPE(object.ptr())->tp_name));
    }
}

Array::~Array() {
    if (view_.obj != nullptr) PyBuffer_Release(&view_);
}

py::ssize_t Array::count() const {
    py::ssize_t values = 1;
    for (int axis = 0; axis < rank_; ++axis) values *= size(axis);
    return values;
}

void Array::expect_type(const char* type) const {
    if (!has_type(type)) reject(name_, "expected dtype " + std::string(type) + ", got " + type_);
}

void Array::expect_contiguous() const {
    if (!contiguous_) reject(name_, "must be C-contiguous (use numpy.ascontiguousarray)");
}

void Array::expect_writable() const {
    if (!writable_) reject(name_, "is read-only");
}

void Array::reject_shape(const std::string& expected) const {
    std::string got = "(";
    for (int i = 0; i < rank_; ++i) got += (i > 0 ? ", " : "") + std::to_string(size(i));
    reject(name_, "expected shape " + expected + ", got " + got + ")");
}

template <class Size>
void Array::set_shape(int rank, const Size& size_of) {
    if (rank > kMaxRank) reject(name_, "has too many dimensions");
    rank_ = rank;
    for (int axis = 0; axis < rank; ++axis) shape_[static_cast<std::size_t>(axis)] = size_of(axis);
}

void Array::read_buffer(py::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_FORMAT | PyBUF_STRIDES) != 0) {
        view_.obj = nullptr;
        PyErr_Clear();
        reject(name_, "its memory cannot be read through the buffer protocol");
    }
    if (view_.ndim > kMaxRank) {  // refused in the constructor, after which no destructor gives it back
        PyBuffer_Release(&view_);
        reject(name_, "has too many dimensions");
    }
    set_shape(view_.ndim, [this](int axis) { return view_.shape[axis]; });
    type_ = dtype_of_buffer(view_.format);
    contiguous_ = PyBuffer_IsContiguous(&view_, 'C') != 0;
    writable_ = view_.readonly == 0;
    data_ = view_.buf;
}

void Array::read_cuda(py::handle object) {
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
        if (strides.size() != shape.size()) reject(name_, "its strides are not as many as its axes");
        py::ssize_t dense = std::stoi(interface["typestr"].cast<std::string>().substr(2));
        for (int axis = rank_ - 1; axis >= 0; --axis) {
            const auto stride = strides[static_cast<std::size_t>(axis)].cast<py::ssize_t>();
            if (size(axis) != 1 && stride != dense) contiguous_ = false;
            dense *= size(axis);
        }
    }
}

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
    } catch (const py::error_already_set&) {  // an array without axes is a sequence without a length
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

bool is_half(const Array& array) {
    if (!array.has_type("float16")) array.expect_type("float32");
    return array.has_type("float16");
}

void expect_output(const Array& array) {
    array.expect_contiguous();
    array.expect_writable();
}

const float* expect_values(const Array& array, py::ssize_t count) {
    array.expect_type("float32");
    array.expect_contiguous();
    if (array.count() != count) array.reject_shape("with " + std::to_string(count) + " values");
    return static_cast<const float*>(array.data());
}

float* expect_output_values(const Array& array, py::ssize_t count) {
    expect_values(array, count);
    array.expect_writable();
    return static_cast<float*>(array.data());
}

void expect_index_range(const Array& array) {
    if (array.count() >= INT32_MAX) reject(array.name(), "is larger than kernels address");
}

const double* affine_of(const Array& array) {
    array.expect_type("float64");
    array.expect_contiguous();
    if (array.rank() != 2 || array.size(0) != 2 || array.size(1) != 3) array.reject_shape("(2, 3)");
    return static_cast<const double*>(array.data());
}

const float* keypoints_of(const Array& array, py::ssize_t count) {
    array.expect_type("float32");
    array.expect_contiguous();
    if (array.rank() != 2 || array.size(0) != count || array.size(1) != 3)
        array.reject_shape("(" + std::to_string(count) + ", 3)");
    return static_cast<const float*>(array.data());
}

void expect_same_device(std::initializer_list<const Array*> arrays) {
    const Array& first = **arrays.begin();
    for (const Array* array : arrays) {
        if (array->on_gpu() == first.on_gpu()) continue;
        reject(array->name(), std::string(array->on_gpu() ? "is on the GPU but " : "is not on the GPU but ") +
                                  first.name() + (array->on_gpu() ? " is not" : " is"));
    }
}

}  // namespace x2c::bindings
