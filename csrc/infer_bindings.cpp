// The inference functions of ites_fast._C.
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "bindings.h"
#include "infer_cpu.h"

namespace py = pybind11;
using namespace py::literals;

namespace ites_fast {
namespace {

using Pointer = std::uintptr_t;

void student(Pointer pose_2d, Pointer weights, std::int64_t poses, int joints, int channels, int layers, Pointer depth,
             int threads, const std::string& instruction_set) {
  const Student problem{reinterpret_cast<const float*>(pose_2d),
                        reinterpret_cast<const float*>(weights),
                        poses,
                        joints,
                        channels,
                        layers,
                        reinterpret_cast<float*>(depth)};
  student_infer_cpu(problem, threads, instruction_set);
}

void mlp(Pointer features, Pointer weights, Pointer head, std::int64_t poses, int inputs, int width, int layers,
         int outputs, bool half_weights, Pointer result, int threads, const std::string& instruction_set) {
  const MLP problem{reinterpret_cast<const float*>(features),
                    reinterpret_cast<const void*>(weights),
                    reinterpret_cast<const float*>(head),
                    poses,
                    inputs,
                    width,
                    layers,
                    outputs,
                    half_weights,
                    reinterpret_cast<float*>(result)};
  mlp_infer_cpu(problem, threads, instruction_set);
}

}  // namespace

void define_infer(py::module_& module) {
  module.def("student_infer_cpu", &student, py::kw_only(), "pose_2d"_a, "weights"_a, "poses"_a, "joints"_a,
             "channels"_a, "layers"_a, "depth"_a, "threads"_a, "instruction_set"_a = "",
             py::call_guard<py::gil_scoped_release>());
  module.def("mlp_infer_cpu", &mlp, py::kw_only(), "features"_a, "weights"_a, "head"_a, "poses"_a, "inputs"_a,
             "width"_a, "layers"_a, "outputs"_a, "half_weights"_a, "result"_a, "threads"_a, "instruction_set"_a = "",
             py::call_guard<py::gil_scoped_release>());
}

}  // namespace ites_fast
