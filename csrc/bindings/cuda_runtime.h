#pragma once

#include <pybind11/pybind11.h>

#if defined(X2C_WITH_CUDA)
#include "../cuda/runtime.h"
#endif

// Part of bindings.cpp: CUDA memory, streams, events and graphs. Only in a build with CUDA.
namespace {

#if defined(X2C_WITH_CUDA)

void define_cuda_runtime(pybind11::module_& module) {
    namespace py = pybind11;
    namespace cuda = x2c::cuda;
    using Unlocked = py::call_guard<py::gil_scoped_release>;
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
    module.def("cuda_copy_in", &cuda::copy_in, py::arg("device"), py::arg("host"), py::arg("bytes"),
               py::arg("stream"), Unlocked(), "Enqueue a copy of bytes to the device; nothing waits.");
    module.def("cuda_copy_out", &cuda::copy_out, py::arg("host"), py::arg("device"), py::arg("bytes"),
               py::arg("stream"), Unlocked(), "Enqueue a copy of bytes to the host; nothing waits.");
}

#else

void define_cuda_runtime(pybind11::module_&) {}

#endif

}  // namespace
