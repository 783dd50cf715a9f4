// CUDA memory, streams, events and graphs: only in a build with CUDA.
#include <cstddef>
#include <cstdint>

#include "module.h"

#if defined(X2C_WITH_CUDA)
#include "../cuda/device.h"
#include "../cuda/runtime.h"
#endif

namespace x2c::bindings {

namespace py = pybind11;

namespace {

constexpr const char* kBuiltDoc = "Whether the CUDA kernels were compiled in.";
constexpr const char* kCountDoc = "Usable CUDA devices; 0 without a driver.";

#if defined(X2C_WITH_CUDA)

using Unlocked = py::call_guard<py::gil_scoped_release>;

void define_types(py::module_& module) {
    py::class_<cuda::DeviceMemory>(module, "CudaMemory", "Device memory, zero-filled; raises RuntimeError.")
        .def(py::init<std::size_t>(), py::arg("bytes"), Unlocked())
        .def_property_readonly("address", &cuda::DeviceMemory::address);
    py::class_<cuda::PinnedMemory>(
        module, "CudaPinned", py::buffer_protocol(),
        "Page-locked host memory, zero-filled: a buffer of bytes that the device sees at ``address``.")
        .def(py::init<std::size_t>(), py::arg("bytes"), Unlocked())
        .def_property_readonly("address", &cuda::PinnedMemory::address)
        .def_buffer([](cuda::PinnedMemory& memory) {
            return py::buffer_info(static_cast<std::uint8_t*>(memory.host()),
                                   static_cast<py::ssize_t>(memory.bytes()));
        });
    py::class_<cuda::Graph>(module, "CudaGraph", "A captured list of work.")
        .def("launch", &cuda::Graph::launch, py::arg("stream"), Unlocked());
    py::class_<cuda::Stream>(module, "CudaStream",
                             "A non-blocking stream of the highest priority, or a wrapper of a cudaStream_t.")
        .def(py::init<std::uintptr_t>(), py::arg("handle") = 0, Unlocked())
        .def_property_readonly("handle", &cuda::Stream::handle)
        .def("wait", &cuda::Stream::wait, Unlocked())
        .def("begin_capture", &cuda::Stream::begin_capture, Unlocked())
        .def("end_capture", &cuda::Stream::end_capture, Unlocked())
        .def("abandon_capture", &cuda::Stream::abandon_capture, Unlocked());
    py::class_<cuda::Event>(module, "CudaEvent", "A moment on a stream, with a time.")
        .def(py::init<>(), Unlocked())
        .def("record", &cuda::Event::record, py::arg("stream"), Unlocked())
        .def("milliseconds_since", &cuda::Event::milliseconds_since, py::arg("earlier"), Unlocked());
}

#endif

}  // namespace

#if defined(X2C_WITH_CUDA)

void define_cuda_runtime(py::module_& module) {
    define_types(module);
    module.def("cuda_copy_in", &cuda::copy_in, py::arg("device"), py::arg("host"), py::arg("bytes"),
               py::arg("stream"), Unlocked(), "Enqueue a copy of bytes to the device; nothing waits.");
    module.def("cuda_copy_out", &cuda::copy_out, py::arg("host"), py::arg("device"), py::arg("bytes"),
               py::arg("stream"), Unlocked(), "Enqueue a copy of bytes to the host; nothing waits.");
    module.def("cuda_built", [] { return true; }, kBuiltDoc);
    module.def("cuda_device_count", &cuda::device_count, kCountDoc, Unlocked());
}

#else

void define_cuda_runtime(py::module_& module) {
    module.def("cuda_built", [] { return false; }, kBuiltDoc);
    module.def("cuda_device_count", [] { return 0; }, kCountDoc);
}

#endif

}  // namespace x2c::bindings
