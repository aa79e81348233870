// Inference of trained networks on the CPU.
#pragma once

#include <string>

#include "infer.h"

namespace ites_fast {

// Both run on up to `threads` threads. `instruction_set` is one of supported_instruction_sets() of procrustes_cpu.h, or
// empty for the fastest.
void student_infer_cpu(const Student& student, int threads, const std::string& instruction_set);
void mlp_infer_cpu(const MLP& mlp, int threads, const std::string& instruction_set);

}  // namespace ites_fast
