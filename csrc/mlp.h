// The fully connected residual network for one instruction set. Formula and layout of the weights:
// ites_fast/reference/mlp_infer.py.
#pragma once

#include "gemm.h"
#include "infer.h"

namespace ites_fast {
namespace {

constexpr int kMLPBlock = 96;  // poses at a time: what is computed for them stays in the second-level cache

// The parts of the head, in their order.
struct MLPHead {
  const float *input_factor, *input_shift, *factor, *shift, *output_weight, *output_shift;

  explicit MLPHead(const MLP& m) {
    const std::int64_t W = m.width;
    input_factor = m.head;
    input_shift = input_factor + W;
    factor = input_shift + W;
    shift = factor + m.layers * W;
    output_weight = shift + m.layers * W;
    output_shift = output_weight + W * round_up(m.outputs);
  }
};

std::int64_t widest(const MLP& m) { return m.width > round_up(m.outputs) ? m.width : round_up(m.outputs); }

std::size_t mlp_scratch(const MLP& m, std::int64_t poses) {
  const std::int64_t rows = poses < kMLPBlock ? poses : kMLPBlock;
  return static_cast<std::size_t>(rows * (2 * m.width + widest(m)) + kConverted);
}

template <class Weight>
void run_block(const MLP& m, std::int64_t begin, int poses, float* memory) {
  const std::ptrdiff_t W = m.width;
  const int width = m.width, panels = m.width / kPanel;
  const MLPHead head(m);
  float* const converted = memory;
  float* const features = converted + kConverted;  // (poses, W)
  float* const hidden = features + poses * W;      // (poses, W)
  float* const work = hidden + poses * W;          // (poses, widest)

  const Weight* const input = static_cast<const Weight*>(m.weights);
  const Weight* const layers = input + round_up(W * m.inputs);
  multiply(Product<Weight>{m.features + begin * m.inputs, m.inputs, poses, input, m.inputs, panels, false, features},
           converted, [&](int row, int column, Lanes sum) {
             const Lanes normed = sum * load(head.input_factor + column) + load(head.input_shift + column);
             store(features + row * W + column, relu(normed));
           });
  for (int layer = 0; layer < m.layers; ++layer) {
    const bool first = layer % 2 == 0;
    const float* const factor = head.factor + layer * W;
    const float* const shift = head.shift + layer * W;
    const float* const source = first ? features : hidden;
    float* const sums = first ? hidden : work;
    const Weight* const weights = layers + layer * W * W;
    const Product<Weight> product{source, W, poses, weights, width, panels, false, sums};
    multiply(product, converted, [&](int row, int column, Lanes sum) {
      const Lanes normed = relu(sum * load(factor + column) + load(shift + column));
      const std::ptrdiff_t place = row * W + column;
      if (first) {
        store(hidden + place, normed);
      } else {
        store(features + place, load(features + place) + normed);
      }
    });
  }
  const int rounded = static_cast<int>(round_up(m.outputs));
  multiply(Product<float>{features, W, poses, head.output_weight, width, rounded / kPanel, false, work}, nullptr,
           [&](int row, int column, Lanes sum) {
             store(work + static_cast<std::ptrdiff_t>(row) * rounded + column, sum + load(head.output_shift + column));
           });
  for (int pose = 0; pose < poses; ++pose) {
    float* const result = m.result + (begin + pose) * m.outputs;
    for (int i = 0; i < m.outputs; ++i) result[i] = work[static_cast<std::ptrdiff_t>(pose) * rounded + i];
  }
}

void run_mlp(const MLP& m, std::int64_t begin, std::int64_t end, float* memory) {
  for (std::int64_t pose = begin; pose < end; pose += kMLPBlock) {
    const int poses = end - pose < kMLPBlock ? static_cast<int>(end - pose) : kMLPBlock;
    m.half_weights ? run_block<Half>(m, pose, poses, memory) : run_block<float>(m, pose, poses, memory);
  }
}

}  // namespace
}  // namespace ites_fast
