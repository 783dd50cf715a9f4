// The CUDA device, and what pycuda's streams need from us: only in a build with CUDA.
#include <utility>

#include "module.h"
#include "unlocked.h"

#if defined(X2C_WITH_CUDA)
#include "../cuda/device.h"
#include "../cuda/graph.h"
#endif

namespace x2c::bindings {

namespace py = pybind11;

namespace {

constexpr const char* kBuiltDoc = "Whether the CUDA kernels were compiled in.";
constexpr const char* kCountDoc = "Usable CUDA devices; 0 without a driver.";
constexpr const char* kVersionsDoc =
    "(built with, newest that the driver knows) as 1000 * major + 10 * minor; 0 where there is none.";

}  // namespace

#if defined(X2C_WITH_CUDA)

using WithoutGil = py::call_guard<Unlocked>;

void define_cuda(py::module_& module) {
    py::class_<cuda::Graph>(module, "CudaGraph", "A captured list of work.")
        .def("launch", &cuda::Graph::launch, py::arg("stream"), WithoutGil());
    module.def("cuda_begin_capture", &cuda::begin_capture, py::arg("stream"), WithoutGil(),
               "What this thread gives the stream is remembered from now on, not done.");
    module.def("cuda_end_capture", &cuda::end_capture, py::arg("stream"), WithoutGil(),
               "What was remembered, as a CudaGraph.");
    module.def("cuda_abandon_capture", &cuda::abandon_capture, py::arg("stream"), WithoutGil(),
               "Ends a capture that failed; the stream can be used again.");
    module.def("cuda_set_highest_priority", &cuda::set_highest_priority, py::arg("stream"), WithoutGil(),
               "For what is enqueued from now on; returns the priority that the stream says it has.");
    module.def("cuda_built", [] { return true; }, kBuiltDoc);
    module.def("cuda_device_count", &cuda::device_count, kCountDoc, WithoutGil());
    module.def(
        "cuda_versions", [] { return std::pair(cuda::built_version(), cuda::driver_version()); },
        kVersionsDoc);
}

#else

void define_cuda(py::module_& module) {
    module.def("cuda_built", [] { return false; }, kBuiltDoc);
    module.def("cuda_device_count", [] { return 0; }, kCountDoc);
    module.def("cuda_versions", [] { return std::pair(0, 0); }, kVersionsDoc);
}

#endif

}  // namespace x2c::bindings
