// Python module ites_fast._C: raw pointers (as integers), sizes, threads or a stream in. Python checks the arguments.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "procrustes_cpu.h"
#ifdef ITES_FAST_CUDA_VERSION
#include "procrustes_cuda.h"
#endif

namespace py = pybind11;
using namespace py::literals;

namespace {

using Pointer = std::uintptr_t;

// Calls `run` with the batch in the dtype that the caller names.
template <class Run>
void with_batch(bool float64, Pointer source, Pointer target, std::int64_t poses, int joints, bool with_scale,
                Pointer errors, Pointer rotation, Pointer scale, Pointer translation, const Run& run) {
  const auto make = [&](auto zero) {
    using T = decltype(zero);
    const auto input = [](Pointer pointer) { return reinterpret_cast<const T*>(pointer); };
    const auto output = [](Pointer pointer) { return reinterpret_cast<T*>(pointer); };
    run(ites_fast::ProcrustesBatch<T>{input(source), input(target), poses, joints, with_scale, output(errors),
                                      output(rotation), output(scale), output(translation)});
  };
  float64 ? make(0.0) : make(0.0f);
}

void procrustes_cpu(bool float64, Pointer source, Pointer target, std::int64_t poses, int joints, bool with_scale,
                    Pointer errors, Pointer rotation, Pointer scale, Pointer translation, int threads,
                    const std::string& instruction_set) {
  with_batch(float64, source, target, poses, joints, with_scale, errors, rotation, scale, translation,
             [&](const auto& batch) { ites_fast::procrustes_cpu(batch, threads, instruction_set); });
}

#ifdef ITES_FAST_CUDA_VERSION
void procrustes_cuda(bool float64, Pointer source, Pointer target, std::int64_t poses, int joints, bool with_scale,
                     Pointer errors, Pointer rotation, Pointer scale, Pointer translation, int device,
                     Pointer stream) {
  with_batch(float64, source, target, poses, joints, with_scale, errors, rotation, scale, translation,
             [&](const auto& batch) {
               const char* error = ites_fast::procrustes_cuda(batch, device, reinterpret_cast<void*>(stream));
               if (error != nullptr) throw std::runtime_error(std::string("procrustes on CUDA: ") + error);
             });
}
#endif

}  // namespace

PYBIND11_MODULE(_C, module) {
  // Outputs: `errors`, or all of `rotation`, `scale` and `translation`.
  module.def("procrustes_cpu", &procrustes_cpu, py::kw_only(), "float64"_a, "source"_a, "target"_a, "poses"_a,
             "joints"_a, "with_scale"_a, "errors"_a = 0, "rotation"_a = 0, "scale"_a = 0, "translation"_a = 0,
             "threads"_a, "instruction_set"_a = "", py::call_guard<py::gil_scoped_release>());
#ifdef ITES_FAST_CUDA_VERSION
  module.def("procrustes_cuda", &procrustes_cuda, py::kw_only(), "float64"_a, "source"_a, "target"_a, "poses"_a,
             "joints"_a, "with_scale"_a, "errors"_a = 0, "rotation"_a = 0, "scale"_a = 0, "translation"_a = 0,
             "device"_a, "stream"_a, py::call_guard<py::gil_scoped_release>());
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
