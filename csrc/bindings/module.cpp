// The module x2c_edge._kernels. csrc/bindings is the only place that knows Python: every function there
// checks its arguments, fills a job, releases the GIL, and calls.
#include "module.h"

PYBIND11_MODULE(_kernels, module) {
    module.doc() = "Native kernels of x2c-edge (csrc/).";
    x2c::bindings::define_crop(module);
    x2c::bindings::define_raster(module);
    x2c::bindings::define_keypoints(module);
    x2c::bindings::define_volumes(module);
    x2c::bindings::define_mapping(module);
    x2c::bindings::define_cuda(module);
    x2c::bindings::define_variants(module);
}
