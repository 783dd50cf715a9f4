#pragma once

#include <pybind11/pybind11.h>

// What each file here adds to the module.
namespace x2c::bindings {

void define_crop(pybind11::module_& module);
void define_raster(pybind11::module_& module);
void define_keypoints(pybind11::module_& module);
void define_volumes(pybind11::module_& module);
void define_mapping(pybind11::module_& module);
void define_cuda(pybind11::module_& module);
void define_variants(pybind11::module_& module);

}  // namespace x2c::bindings
