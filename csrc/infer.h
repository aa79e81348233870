// What the inference kernels take. What they compute, and how the weights lie in memory, is in ites_fast/reference:
// student_infer.py, mlp_infer.py and panels.py. A matrix of K inputs and N outputs is N / 16 panels of K x 16 values.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ites_fast {

constexpr int kPanel = 16;
constexpr int kMaxJoints = 32;

constexpr std::int64_t round_up(std::int64_t size) { return (size + kPanel - 1) / kPanel * kPanel; }

// B poses of J joints, `layers` layers after the first.
struct Student {
  const float* pose_2d;  // (B, J, 2)
  const float* weights;  // StudentParts
  std::int64_t poses;
  int joints;    // at most kMaxJoints
  int channels;  // a multiple of kPanel
  int layers;    // even
  float* depth;  // (B, J), written
};

// B vectors, `layers` layers after the first.
struct MLP {
  const float* features;  // (B, inputs)
  const void* weights;    // MLPWeights, float or, with half_weights, float16
  const float* head;      // MLPHead
  std::int64_t poses;
  int inputs;
  int width;   // a multiple of kPanel
  int layers;  // even
  int outputs;
  bool half_weights;
  float* result;  // (B, outputs), written
};

// One compiled instruction set: what lifts the poses [begin, end), with memory of its own for as many floats as the
// function beside it says for that many poses.
struct InferKernel {
  const char* name;
  std::size_t (*student_scratch)(const Student&, std::int64_t poses);
  void (*student)(const Student&, std::int64_t begin, std::int64_t end, float* scratch);
  std::size_t (*mlp_scratch)(const MLP&, std::int64_t poses);
  void (*mlp)(const MLP&, std::int64_t begin, std::int64_t end, float* scratch);
};

}  // namespace ites_fast
