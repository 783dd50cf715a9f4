// The only file that knows Python: it checks arguments, fills a job, releases the GIL, and calls.
#include <pybind11/pybind11.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "core/crop_normalize.h"
#include "cpu/crop_normalize.h"
#include "cpu/thread_pool.h"
#include "cpu/variants.h"
#if defined(X2C_WITH_CUDA)
#include "cuda/crop_normalize.h"
#include "cuda/device.h"
#endif

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

// Byte offsets inside a frame are 32-bit integers.
constexpr py::ssize_t kMaxSide = 1 << 24;
constexpr py::ssize_t kMaxPixels = INT32_MAX / 3;

void set_frame(x2c::CropJob& job, const Array& frame, const std::string& format) {
    frame.expect_type("uint8");
    frame.expect_contiguous();
    const auto expect = [&frame](bool fits, const char* shape) {
        if (!fits) frame.reject_shape(shape);
    };
    py::ssize_t height = frame.rank() > 0 ? frame.size(0) : 0;
    if (format == "BGR" || format == "RGB") {
        job.format = x2c::PixelFormat::kPacked3;
        expect(frame.rank() == 3 && frame.size(2) == 3, "(H, W, 3)");
    } else if (format == "YUYV") {
        job.format = x2c::PixelFormat::kYuyv;
        expect(frame.rank() == 3 && frame.size(2) == 2 && frame.size(1) % 2 == 0, "(H, W, 2) with W even");
    } else if (format == "NV12") {
        job.format = x2c::PixelFormat::kNv12;
        expect(frame.rank() == 2 && height % 3 == 0 && frame.size(1) % 2 == 0,
               "(H*3/2, W) with H and W even");
        height = height / 3 * 2;
    } else {
        reject("format", "expected 'BGR', 'RGB', 'YUYV' or 'NV12', got '" + format + "'");
    }
    const py::ssize_t width = frame.size(1);
    expect(height > 0 && width > 0, "with at least one pixel");
    if (height >= kMaxSide || width >= kMaxSide || height * width >= kMaxPixels) {
        reject(frame.name(), "is larger than kernels address");
    }
    job.frame = static_cast<const std::uint8_t*>(frame.data());
    job.width = static_cast<std::int32_t>(width);
    job.height = static_cast<std::int32_t>(height);
}

void set_out(x2c::CropJob& job, const Array& out) {
    if (!out.has_type("float16")) out.expect_type("float32");
    out.expect_contiguous();
    out.expect_writable();
    if (out.rank() != 3 || out.size(0) != 3) out.reject_shape("(3, h, w)");
    if (out.size(1) >= kMaxSide || out.size(2) >= kMaxSide)
        reject(out.name(), "is larger than kernels address");
    job.out = out.data();
    job.half = out.has_type("float16");
    job.out_height = static_cast<std::int32_t>(out.size(1));
    job.out_width = static_cast<std::int32_t>(out.size(2));
}

// Device affines are not looked at here: that would wait for the device. The kernel samples black where
// they are not finite.
void set_affine(x2c::CropJob& job, const Array& affine) {
    affine.expect_type("float64");
    affine.expect_contiguous();
    if (affine.rank() != 2 || affine.size(0) != 2 || affine.size(1) != 3) affine.reject_shape("(2, 3)");
    if (affine.on_gpu()) return;
    const auto* values = static_cast<const double*>(affine.data());
    for (int i = 0; i < 6; ++i) {
        if (!std::isfinite(values[i])) reject(affine.name(), "must be finite");
        job.affine[i] = values[i];
    }
}

void set_colour(x2c::CropJob& job, const std::string& format, const std::string& order, py::handle mean,
                py::handle std_) {
    if (order != "RGB" && order != "BGR") reject("order", "expected 'RGB' or 'BGR', got '" + order + "'");
    const auto means = three_numbers("mean", mean);
    const auto deviations = three_numbers("std", std_);
    const std::string channels = format == "BGR" ? "BGR" : "RGB";
    for (std::size_t k = 0; k < 3; ++k) {
        const std::size_t plane = channels == order ? k : 2 - k;
        if (deviations[plane] == 0.0) reject("std", "must not be zero");
        job.plane[k] = static_cast<std::int32_t>(plane);
        job.scale[k] = static_cast<float>(1.0 / (255.0 * deviations[plane]));
        job.offset[k] = static_cast<float>(-means[plane] / deviations[plane]);
    }
}

void crop_normalize(py::handle frame_argument, py::handle affine_argument, py::handle out_argument,
                    const std::string& format, const std::string& order, py::handle mean, py::handle std_,
                    int taps, int threads, std::uintptr_t stream) {
    const Array frame("frame", frame_argument);
    const Array affine("affine", affine_argument);
    const Array out("out", out_argument);
    x2c::CropJob job{};
    set_frame(job, frame, format);
    set_affine(job, affine);
    set_out(job, out);
    set_colour(job, format, order, mean, std_);
    expect_range("taps", taps, 1, 16);
    expect_range("threads", threads, 1, x2c::kMaxThreads);
    job.taps = taps;
    if (job.out_width == 0 || job.out_height == 0) return;
    if (!frame.on_gpu()) {
        if (out.on_gpu()) reject("out", "is on the GPU but frame is not");
        if (affine.on_gpu()) reject("affine", "is on the GPU but frame is not");
        const py::gil_scoped_release unlocked;
        x2c::cpu::crop_normalize(job, threads);
        return;
    }
    if (!out.on_gpu()) reject("out", "is not on the GPU but frame is");
#if defined(X2C_WITH_CUDA)
    const auto* device_affine = affine.on_gpu() ? static_cast<const double*>(affine.data()) : nullptr;
    const py::gil_scoped_release unlocked;
    x2c::cuda::crop_normalize(job, device_affine, stream);
#else
    static_cast<void>(stream);
    reject("frame", "is on the GPU, but these kernels were built without CUDA");
#endif
}

int cuda_device_count() {
#if defined(X2C_WITH_CUDA)
    const py::gil_scoped_release unlocked;
    return x2c::cuda::device_count();
#else
    return 0;
#endif
}

constexpr bool cuda_built() {
#if defined(X2C_WITH_CUDA)
    return true;
#else
    return false;
#endif
}

constexpr std::pair<const char*, x2c::cpu::Variant> kVariants[] = {{"baseline", x2c::cpu::Variant::kBaseline},
                                                                   {"avx2", x2c::cpu::Variant::kAvx2}};

py::list cpu_variants() {
    py::list names;
    for (const auto& [name, variant] : kVariants) {
        if (x2c::cpu::supported(variant)) names.append(name);
    }
    return names;
}

std::string cpu_variant() {
    for (const auto& [name, variant] : kVariants) {
        if (variant == x2c::cpu::current_variant()) return name;
    }
    return "";
}

void set_cpu_variant(const std::string& wanted) {
    for (const auto& [name, variant] : kVariants) {
        if (wanted == name && x2c::cpu::supported(variant)) return x2c::cpu::set_variant(variant);
    }
    reject("name", "expected one of " + text(cpu_variants()) + ", got '" + wanted + "'");
}

constexpr const char* kCropNormalizeDoc =
    R"(Affine crop of a camera frame, normalised and planar: one pass over the pixels that are needed.

frame: uint8, C-contiguous, as in frames.Frame: BGR or RGB (H, W, 3), YUYV (H, W, 2), NV12 (H*3/2, W).
affine: (2, 3) float64; maps OUTPUT pixel (x, y, 1) to FRAME pixel; (0, 0) is a pixel's centre.
out: (3, h, w) float32 or float16, C-contiguous, overwritten:
    out[c] = (colour[c] / 255 - mean[c]) / std[c], c in `order`.

Sampling is bilinear; each corner outside the frame counts as RGB (0, 0, 0) before normalisation. With
taps = n, an output pixel is the mean of n x n samples spread evenly over it. YUYV and NV12 are BT.601
limited range; a luma pixel has the chroma sample of its pair or 2x2 block; Y, U and V are interpolated
and averaged over the taps, then converted, then clamped to 0..255.

threads: 1..64, the caller's included. Calls may come from several Python threads; the GIL is released.
GPU: frame and out (and affine, if it is to be read when the kernel runs) have __cuda_array_interface__;
the work is enqueued on `stream` (a cudaStream_t as int) of the current device and nothing waits.

Raises ValueError naming the argument, RuntimeError naming the CUDA call.)";

}  // namespace

PYBIND11_MODULE(_kernels, module) {
    module.doc() = "Native kernels of x2c-edge (csrc/).";
    module.def("crop_normalize", &crop_normalize, kCropNormalizeDoc, py::arg("frame"), py::arg("affine"),
               py::arg("out"), py::kw_only(), py::arg("format") = "BGR", py::arg("order") = "RGB",
               py::arg("mean") = py::make_tuple(0.0, 0.0, 0.0),
               py::arg("std") = py::make_tuple(1.0, 1.0, 1.0), py::arg("taps") = 1, py::arg("threads") = 1,
               py::arg("stream") = 0);
    module.def("cuda_built", &cuda_built, "Whether the CUDA kernels were compiled in.");
    module.def("cuda_device_count", &cuda_device_count, "Usable CUDA devices; 0 without a driver.");
    module.def("cpu_variants", &cpu_variants,
               "Instruction sets that the CPU kernels can use here: 'baseline', 'avx2'.");
    module.def("cpu_variant", &cpu_variant, "The one in use: the last of cpu_variants() unless it was set.");
    module.def("set_cpu_variant", &set_cpu_variant, py::arg("name"),
               "Choose one of cpu_variants() for the whole process; for tests and comparisons.");
}
