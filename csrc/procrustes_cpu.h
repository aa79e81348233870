// Batched Procrustes alignment on the CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "procrustes_batch.h"

namespace ites_fast {

// One compiled instruction set. The functions handle the poses [begin, end); `scratch` is their own, of
// `scratch_bytes`, aligned to 64 bytes.
struct ProcrustesKernel {
  const char* name;
  std::size_t (*scratch_bytes)(int joints);
  void (*align_float)(const ProcrustesBatch<float>&, std::int64_t begin, std::int64_t end, void* scratch);
  void (*align_double)(const ProcrustesBatch<double>&, std::int64_t begin, std::int64_t end, void* scratch);
  void (*errors_float)(const AlignedErrorsBatch<float>&, std::int64_t begin, std::int64_t end, void* scratch);
  void (*errors_double)(const AlignedErrorsBatch<double>&, std::int64_t begin, std::int64_t end, void* scratch);
};

// Names of the compiled instruction sets, and of those among them that this processor has; the fastest first.
std::vector<std::string> compiled_instruction_sets();
std::vector<std::string> supported_instruction_sets();

// Both run on up to `threads` threads. `instruction_set` is one of supported_instruction_sets(), or empty for the
// fastest.
template <class T>
void procrustes_cpu(const ProcrustesBatch<T>& batch, int threads, const std::string& instruction_set);
template <class T>
void aligned_errors_cpu(const AlignedErrorsBatch<T>& batch, int threads, const std::string& instruction_set);

}  // namespace ites_fast
