// What each file of bindings adds to the module ites_fast._C.
#pragma once

#include <pybind11/pybind11.h>

namespace ites_fast {

void define_infer(pybind11::module_& module);
void define_procrustes(pybind11::module_& module);

}  // namespace ites_fast
