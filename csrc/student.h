// The student for one instruction set. Formula and layout of the weights: ites_fast/reference/student_infer.py.
#pragma once

#include "gemm.h"
#include "infer.h"

namespace ites_fast {
namespace {

constexpr int kStudentBlock = 8;  // poses at a time: what is computed for them stays in the second-level cache

// The parts of the weights, in their order.
struct StudentParts {
  const float *input_mixing, *input_weight, *input_shift, *mixing, *physical, *values_keys, *query, *query_bias, *key,
      *pair_weight, *pair_shift, *factor, *shift, *output_weight, *output_mixing, *output_shift;

  explicit StudentParts(const Student& s) {
    const std::int64_t J = s.joints, C = s.channels, L = s.layers;
    const float* next = s.weights;
    const auto take = [&](std::int64_t size) {
      const float* const part = next;
      next += round_up(size);
      return part;
    };
    input_mixing = take(2 * J * J);
    input_weight = take(4 * C);
    input_shift = take(C);
    mixing = take(L * J * J);
    physical = take(L * 2 * C * C);
    values_keys = take(L * C * C);
    query = take(L * C);
    query_bias = take(L);
    key = take(L * C / 2);
    pair_weight = take(L * C * C / 2);
    pair_shift = take(L * C);
    factor = take(L * C);
    shift = take(L * C);
    output_weight = take(2 * C);
    output_mixing = take(2 * J * J);
    output_shift = take(1);
  }
};

// What is computed for a block of poses; R rows, one for each joint of each pose.
struct StudentScratch {
  float *features, *hidden, *work;  // (R, C)
  float* both;                      // (R, 2 C)
  float *pooled, *pair_values;      // (pairs, C)

  static std::size_t floats(const Student& s, std::int64_t poses) {
    const std::int64_t rows = poses * s.joints, pairs = poses * (s.joints / 2);
    return static_cast<std::size_t>((5 * rows + 2 * pairs) * s.channels);
  }

  StudentScratch(const Student& s, std::int64_t poses, float* memory) {
    const std::int64_t rows = poses * s.joints * s.channels, pairs = poses * (s.joints / 2) * s.channels;
    features = memory;
    hidden = features + rows;
    work = hidden + rows;
    both = work + rows;
    pooled = both + 2 * rows;
    pair_values = pooled + pairs;
  }
};

// The joints that reach each joint along the edges of one layer.
struct Neighbours {
  int count[kMaxJoints];
  int joint[kMaxJoints][kMaxJoints];

  Neighbours(const float* mixing, int joints) {
    for (int i = 0; i < joints; ++i) {
      count[i] = 0;
      for (int j = 0; j < joints; ++j) {
        joint[i][count[i]] = j;
        count[i] += i != j && mixing[i * joints + j] != 0;
      }
    }
  }
};

// both = [own weight times a joint's features | weighted sum of its neighbours' features]
void mix_joints(const Student& s, const float* mixing, int poses, const float* features, float* both) {
  const int J = s.joints, C = s.channels;
  const Neighbours neighbours(mixing, J);
  for (int pose = 0; pose < poses; ++pose, features += J * C, both += J * 2 * C) {
    for (int i = 0; i < J; ++i) {
      const float own = mixing[i * J + i];
      for (int c = 0; c < C; c += kLanes) {
        Lanes others = {};
        for (int n = 0; n < neighbours.count[i]; ++n) {
          const int j = neighbours.joint[i][n];
          others += mixing[i * J + j] * load(features + j * C + c);
        }
        store(both + i * 2 * C + c, own * load(features + i * C + c));
        store(both + i * 2 * C + C + c, others);
      }
    }
  }
}

// Where one of a pair is NaN the other may win: the joint itself keeps the NaN, and the output gives it to its pose.
inline Lanes maximum(Lanes a, Lanes b) { return a > b ? a : b; }

void pool_pairs(const Student& s, int poses, const float* values_keys, float* pooled) {
  const int J = s.joints, C = s.channels;
  for (int pose = 0; pose < poses; ++pose, values_keys += J * C) {
    for (int k = 0; k < J / 2; ++k, pooled += C) {
      const float* const pair = values_keys + 2 * k * C;
      for (int c = 0; c < C; c += kLanes) store(pooled + c, maximum(load(pair + c), load(pair + C + c)));
    }
  }
}

// work = factor * features + affinity * pair_values + shift
void attend(const Student& s, const StudentParts& parts, int layer, int poses, const StudentScratch& scratch,
            const float* features) {
  const int J = s.joints, C = s.channels, pairs = J / 2;
  const float* const key = parts.key + layer * (C / 2);
  const float* const factor = parts.factor + layer * C;
  const float* const shift = parts.shift + layer * C;
  for (int pose = 0; pose < poses; ++pose) {
    const float* const pooled = scratch.pooled + pose * pairs * C;
    const float* const pair_values = scratch.pair_values + pose * pairs * C;
    float from_pair[kMaxJoints / 2];
    for (int k = 0; k < pairs; ++k) from_pair[k] = dot(pooled + k * C + C / 2, key, C / 2);
    for (int i = 0; i < J; ++i) {
      const float* const x = features + (pose * J + i) * C;
      const float from_joint = dot(x, parts.query + layer * C, C) + parts.query_bias[layer];
      float affinity[kMaxJoints / 2];
      for (int k = 0; k < pairs; ++k) {
        const float sum = from_joint + from_pair[k];
        affinity[k] = sum < 0 ? 0 : sum;
      }
      float* const work = scratch.work + (pose * J + i) * C;
      for (int c = 0; c < C; c += kLanes) {
        Lanes total = load(factor + c) * load(x + c) + load(shift + c);
        for (int k = 0; k < pairs; ++k) total += affinity[k] * load(pair_values + k * C + c);
        store(work + c, total);
      }
    }
  }
}

// out = residual + layer(features); `residual` may be absent, and `out` may be it.
void run_layer(const Student& s, const StudentParts& parts, int layer, int poses, const StudentScratch& scratch,
               const float* features, const float* residual, float* out) {
  const int J = s.joints, C = s.channels, rows = poses * J, pairs = poses * (J / 2), panels = C / kPanel;
  mix_joints(s, parts.mixing + layer * J * J, poses, features, scratch.both);
  const std::ptrdiff_t square = static_cast<std::ptrdiff_t>(C) * C;
  multiply(Product<float>{features, C, rows, parts.values_keys + layer * square, C, panels, false, scratch.work},
           nullptr, [](int, int, Lanes) {});
  pool_pairs(s, poses, scratch.work, scratch.pooled);
  const float* const pair_shift = parts.pair_shift + layer * C;
  multiply(Product<float>{scratch.pooled, C, pairs, parts.pair_weight + layer * square / 2, C / 2, panels, false,
                          scratch.pair_values},
           nullptr, [&](int row, int column, Lanes sum) {
             store(scratch.pair_values + row * C + column, sum + load(pair_shift + column));
           });
  attend(s, parts, layer, poses, scratch, features);
  multiply(
      Product<float>{scratch.both, 2 * C, rows, parts.physical + layer * 2 * square, 2 * C, panels, true, scratch.work},
      nullptr, [&](int row, int column, Lanes sum) {
        const std::ptrdiff_t place = static_cast<std::ptrdiff_t>(row) * C + column;
        store(out + place, residual == nullptr ? relu(sum) : load(residual + place) + relu(sum));
      });
}

// The features of the first layer, which has two inputs for each joint and a physical graph only.
void run_input(const Student& s, const StudentParts& parts, const float* pose_2d, int poses,
               const StudentScratch& scratch) {
  const int J = s.joints, C = s.channels;
  for (int pose = 0; pose < poses; ++pose) {
    for (int i = 0; i < J; ++i) {
      float* const inputs = scratch.both + (pose * J + i) * 4;
      for (int which = 0; which < 2; ++which) {
        const float* const weights = parts.input_mixing + (which * J + i) * J;
        float x = 0, y = 0;
        for (int j = 0; j < J; ++j) {
          x += weights[j] * pose_2d[(pose * J + j) * 2];
          y += weights[j] * pose_2d[(pose * J + j) * 2 + 1];
        }
        inputs[2 * which] = x;
        inputs[2 * which + 1] = y;
      }
    }
  }
  multiply(Product<float>{scratch.both, 4, poses * J, parts.input_weight, 4, C / kPanel, false, scratch.features},
           nullptr, [&](int row, int column, Lanes sum) {
             store(scratch.features + row * C + column, relu(sum + load(parts.input_shift + column)));
           });
}

void run_output(const Student& s, const StudentParts& parts, int poses, const float* features, float* depth) {
  const int J = s.joints, C = s.channels;
  for (int pose = 0; pose < poses; ++pose, depth += J) {
    float projected[2][kMaxJoints];
    for (int j = 0; j < J; ++j) {
      for (int which = 0; which < 2; ++which) {
        projected[which][j] = dot(features + (pose * J + j) * C, parts.output_weight + which * C, C);
      }
    }
    for (int i = 0; i < J; ++i) {
      float total = parts.output_shift[0];
      for (int which = 0; which < 2; ++which) {
        const float* const weights = parts.output_mixing + (which * J + i) * J;
        for (int j = 0; j < J; ++j) total += weights[j] * projected[which][j];
      }
      depth[i] = total;
    }
  }
}

std::size_t student_scratch(const Student& s, std::int64_t poses) {
  return StudentScratch::floats(s, poses < kStudentBlock ? poses : kStudentBlock);
}

void run_student(const Student& s, std::int64_t begin, std::int64_t end, float* memory) {
  const StudentParts parts(s);
  for (std::int64_t pose = begin; pose < end; pose += kStudentBlock) {
    const int poses = end - pose < kStudentBlock ? static_cast<int>(end - pose) : kStudentBlock;
    const StudentScratch scratch(s, poses, memory);
    run_input(s, parts, s.pose_2d + pose * s.joints * 2, poses, scratch);
    for (int layer = 0; layer < s.layers; layer += 2) {
      run_layer(s, parts, layer, poses, scratch, scratch.features, nullptr, scratch.hidden);
      run_layer(s, parts, layer + 1, poses, scratch, scratch.hidden, scratch.features, scratch.features);
    }
    run_output(s, parts, poses, scratch.features, s.depth + pose * s.joints);
  }
}

}  // namespace
}  // namespace ites_fast
