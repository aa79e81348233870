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

template <class T>
ites_fast::ProcrustesBatch<T> inputs(Pointer source, Pointer target, std::int64_t poses, int joints, bool with_scale) {
  return {reinterpret_cast<const T*>(source), reinterpret_cast<const T*>(target), poses, joints, with_scale};
}

template <class T>
ites_fast::ProcrustesBatch<T> with_errors(ites_fast::ProcrustesBatch<T> batch, Pointer errors) {
  batch.errors = reinterpret_cast<T*>(errors);
  return batch;
}

template <class T>
ites_fast::ProcrustesBatch<T> with_alignment(ites_fast::ProcrustesBatch<T> batch, Pointer rotation, Pointer scale,
                                             Pointer translation) {
  batch.rotation = reinterpret_cast<T*>(rotation);
  batch.scale = reinterpret_cast<T*>(scale);
  batch.translation = reinterpret_cast<T*>(translation);
  return batch;
}

template <class T>
void define_cpu(py::module_& module, const std::string& dtype) {
  module.def(
      ("procrustes_" + dtype).c_str(),
      [](Pointer source, Pointer target, std::int64_t poses, int joints, bool with_scale, Pointer rotation,
         Pointer scale, Pointer translation, int threads, const std::string& instruction_set) {
        const auto batch = inputs<T>(source, target, poses, joints, with_scale);
        ites_fast::procrustes_cpu(with_alignment(batch, rotation, scale, translation), threads, instruction_set);
      },
      "source"_a, "target"_a, "poses"_a, "joints"_a, "with_scale"_a, "rotation"_a, "scale"_a, "translation"_a,
      "threads"_a, "instruction_set"_a = "", py::call_guard<py::gil_scoped_release>());
  module.def(
      ("procrustes_errors_" + dtype).c_str(),
      [](Pointer source, Pointer target, std::int64_t poses, int joints, bool with_scale, Pointer errors, int threads,
         const std::string& instruction_set) {
        const auto batch = inputs<T>(source, target, poses, joints, with_scale);
        ites_fast::procrustes_cpu(with_errors(batch, errors), threads, instruction_set);
      },
      "source"_a, "target"_a, "poses"_a, "joints"_a, "with_scale"_a, "errors"_a, "threads"_a,
      "instruction_set"_a = "", py::call_guard<py::gil_scoped_release>());
}

#ifdef ITES_FAST_CUDA_VERSION
template <class T>
void launch(const ites_fast::ProcrustesBatch<T>& batch, int device, Pointer stream) {
  const char* error = ites_fast::procrustes_cuda(batch, device, reinterpret_cast<void*>(stream));
  if (error != nullptr) throw std::runtime_error(std::string("procrustes on CUDA: ") + error);
}

template <class T>
void define_cuda(py::module_& module, const std::string& dtype) {
  module.def(
      ("procrustes_cuda_" + dtype).c_str(),
      [](Pointer source, Pointer target, std::int64_t poses, int joints, bool with_scale, Pointer rotation,
         Pointer scale, Pointer translation, int device, Pointer stream) {
        const auto batch = inputs<T>(source, target, poses, joints, with_scale);
        launch(with_alignment(batch, rotation, scale, translation), device, stream);
      },
      "source"_a, "target"_a, "poses"_a, "joints"_a, "with_scale"_a, "rotation"_a, "scale"_a, "translation"_a,
      "device"_a, "stream"_a, py::call_guard<py::gil_scoped_release>());
  module.def(
      ("procrustes_errors_cuda_" + dtype).c_str(),
      [](Pointer source, Pointer target, std::int64_t poses, int joints, bool with_scale, Pointer errors, int device,
         Pointer stream) {
        launch(with_errors(inputs<T>(source, target, poses, joints, with_scale), errors), device, stream);
      },
      "source"_a, "target"_a, "poses"_a, "joints"_a, "with_scale"_a, "errors"_a, "device"_a, "stream"_a,
      py::call_guard<py::gil_scoped_release>());
}
#endif

}  // namespace

PYBIND11_MODULE(_C, module) {
  define_cpu<float>(module, "float32");
  define_cpu<double>(module, "float64");
  module.def("supported_instruction_sets", &ites_fast::supported_instruction_sets);
  module.def("compiled_instruction_sets", &ites_fast::compiled_instruction_sets);
  module.attr("compiler") = ITES_FAST_COMPILER;
#ifdef ITES_FAST_CUDA_VERSION
  define_cuda<float>(module, "float32");
  define_cuda<double>(module, "float64");
  module.attr("cuda_version") = ITES_FAST_CUDA_VERSION;
  module.attr("cuda_architectures") = ITES_FAST_CUDA_ARCHITECTURES;
#else
  module.attr("cuda_version") = py::none();
  module.attr("cuda_architectures") = py::none();
#endif
}
