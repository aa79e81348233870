// The Procrustes functions of ites_fast._C.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings.h"
#include "procrustes_cpu.h"
#include "procrustes_tile_cpu.h"
#ifdef ITES_FAST_CUDA_VERSION
#include "procrustes_cuda.h"
#endif

namespace py = pybind11;
using namespace py::literals;

namespace ites_fast {
namespace {

using Pointer = std::uintptr_t;

template <class T>
const T* input(Pointer pointer) {
  return reinterpret_cast<const T*>(pointer);
}

template <class T>
T* output(Pointer pointer) {
  return reinterpret_cast<T*>(pointer);
}

// Calls `run` with a zero of the dtype that the caller names.
template <class Run>
void with_dtype(bool float64, const Run& run) {
  float64 ? run(0.0) : run(0.0f);
}

// A function of the fields of ProcrustesBatch that calls run(batch, more...); `names` are those of `more`.
template <class... More, class Run, class... Names>
void define_alignment(py::module_& module, const char* name, const Run& run, const Names&... names) {
  const auto function = [run](bool float64, Pointer source, Pointer target, std::int64_t poses, int joints,
                              bool with_scale, Pointer rotation, Pointer scale, Pointer translation, More... more) {
    with_dtype(float64, [&](auto zero) {
      using T = decltype(zero);
      run(ProcrustesBatch<T>{input<T>(source), input<T>(target), poses, joints, with_scale, output<T>(rotation),
                             output<T>(scale), output<T>(translation)},
          more...);
    });
  };
  module.def(name, function, py::kw_only(), "float64"_a, "source"_a, "target"_a, "poses"_a, "joints"_a,
             "with_scale"_a, "rotation"_a, "scale"_a, "translation"_a, names...,
             py::call_guard<py::gil_scoped_release>());
}

// The same for AlignedErrorsBatch. `fits` and `flip` are the numbers of Fit and Flip.
template <class... More, class Run, class... Names>
void define_errors(py::module_& module, const char* name, const Run& run, const Names&... names) {
  const auto function = [run](bool float64, Pointer source, Pointer target, std::int64_t poses, int joints, int root,
                              const std::vector<int>& fits, int flip, Pointer errors, Pointer flipped, More... more) {
    const int count = static_cast<int>(fits.size());
    if (count > kFits) throw std::invalid_argument("more fits than there are");
    const auto choice = static_cast<Flip>(flip);
    if (choice == Flip::best && count != 1) throw std::invalid_argument("the better candidate of one fit only");
    std::uint32_t list = 0;
    for (int i = 0; i < count; ++i) list |= static_cast<std::uint32_t>(fits[i]) << (4 * i);
    with_dtype(float64, [&](auto zero) {
      using T = decltype(zero);
      run(AlignedErrorsBatch<T>{input<T>(source), input<T>(target), poses, joints, root, list, count, choice,
                             output<T>(errors), output<std::uint8_t>(flipped)},
          more...);
    });
  };
  module.def(name, function, py::kw_only(), "float64"_a, "source"_a, "target"_a, "poses"_a, "joints"_a, "root"_a,
             "fits"_a, "flip"_a, "errors"_a, "flipped"_a = 0, names..., py::call_guard<py::gil_scoped_release>());
}

#ifdef ITES_FAST_CUDA_VERSION
void raise(const char* error) {
  if (error != nullptr) throw std::runtime_error(std::string("Procrustes on CUDA: ") + error);
}

void* stream_of(Pointer stream) { return reinterpret_cast<void*>(stream); }
#endif

}  // namespace

void define_procrustes(py::module_& module) {
  const auto align = [](const auto& batch, int threads, const std::string& set) {
    procrustes_cpu(batch, threads, set);
  };
  const auto measure = [](const auto& batch, int threads, const std::string& set) {
    aligned_errors_cpu(batch, threads, set);
  };
  define_alignment<int, const std::string&>(module, "procrustes_cpu", align, "threads"_a, "instruction_set"_a = "");
  define_errors<int, const std::string&>(module, "aligned_errors_cpu", measure, "threads"_a, "instruction_set"_a = "");

  const auto align_tiles = [](const auto& batch, bool staged) { procrustes_tiles(batch, staged); };
  const auto measure_tiles = [](const auto& batch, bool staged) { aligned_errors_tiles(batch, staged); };
  define_alignment<bool>(module, "procrustes_tiles", align_tiles, "staged"_a);
  define_errors<bool>(module, "aligned_errors_tiles", measure_tiles, "staged"_a);

#ifdef ITES_FAST_CUDA_VERSION
  const auto align_cuda = [](const auto& batch, int device, Pointer stream) {
    raise(procrustes_cuda(batch, device, stream_of(stream)));
  };
  const auto measure_cuda = [](const auto& batch, int device, Pointer stream) {
    raise(aligned_errors_cuda(batch, device, stream_of(stream)));
  };
  define_alignment<int, Pointer>(module, "procrustes_cuda", align_cuda, "device"_a, "stream"_a);
  define_errors<int, Pointer>(module, "aligned_errors_cuda", measure_cuda, "device"_a, "stream"_a);
#endif
}

}  // namespace ites_fast
