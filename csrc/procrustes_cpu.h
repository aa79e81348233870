// Batched Procrustes alignment on the CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "procrustes_batch.h"

namespace ites_fast {

// One compiled instruction set. `run` handles the poses [begin, end); `scratch` is its own, aligned to 64 bytes.
struct ProcrustesKernel {
  const char* name;
  std::size_t (*scratch_bytes)(int joints);
  void (*run_float)(const ProcrustesBatch<float>&, std::int64_t begin, std::int64_t end, void* scratch);
  void (*run_double)(const ProcrustesBatch<double>&, std::int64_t begin, std::int64_t end, void* scratch);
};

// Names of the compiled instruction sets, and of those among them that this processor has; the fastest first.
std::vector<std::string> compiled_instruction_sets();
std::vector<std::string> supported_instruction_sets();

// Runs on up to `threads` threads. `instruction_set` is one of supported_instruction_sets(), or empty for the fastest.
template <class T>
void procrustes_cpu(const ProcrustesBatch<T>& batch, int threads, const std::string& instruction_set);

}  // namespace ites_fast
