// Python module ites_fast._C: raw pointers (as integers), sizes, threads or a stream in. Python checks the arguments.
#include "bindings.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "procrustes_cpu.h"

namespace py = pybind11;

PYBIND11_MODULE(_C, module) {
  ites_fast::define_procrustes(module);
  ites_fast::define_infer(module);
#ifdef ITES_FAST_CUDA_VERSION
  module.attr("cuda_version") = ITES_FAST_CUDA_VERSION;
  module.attr("cuda_architectures") = ITES_FAST_CUDA_ARCHITECTURES;
#else
  module.attr("cuda_version") = py::none();
  module.attr("cuda_architectures") = py::none();
#endif
  module.def("supported_instruction_sets", &ites_fast::supported_instruction_sets);
  module.def("compiled_instruction_sets", &ites_fast::compiled_instruction_sets);
  module.attr("compiler") = ITES_FAST_COMPILER;
}
