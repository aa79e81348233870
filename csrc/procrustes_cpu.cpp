// Chooses the instruction set at run time and splits a batch over threads.
#include "procrustes_cpu.h"

#include <algorithm>
#include <future>
#include <memory>
#include <new>
#include <stdexcept>
#include <type_traits>

namespace ites_fast {

extern const ProcrustesKernel procrustes_baseline;
#ifdef ITES_FAST_X86
extern const ProcrustesKernel procrustes_avx2, procrustes_avx512;
#endif

namespace {

constexpr std::int64_t kPosesPerThread = 1024;  // below this, starting a thread costs more than it saves

struct Candidate {
  const ProcrustesKernel* kernel;
  bool supported;
};

// The fastest first.
std::vector<Candidate> candidates() {
  return {
#ifdef ITES_FAST_X86
      {&procrustes_avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                               __builtin_cpu_supports("fma")},
      {&procrustes_avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
#endif
      {&procrustes_baseline, true},
  };
}

const ProcrustesKernel& find_kernel(const std::string& name) {
  for (const Candidate& candidate : candidates()) {
    if (candidate.supported && (name.empty() || name == candidate.kernel->name)) return *candidate.kernel;
  }
  throw std::invalid_argument("instruction set '" + name + "' was not compiled or this processor lacks it");
}

struct AlignedDelete {
  void operator()(void* memory) const { ::operator delete(memory, std::align_val_t(64)); }
};

// Splits the batch over threads and calls run(batch, begin, end, scratch) for each part.
template <class Batch, class Run>
void split(const ProcrustesKernel& kernel, const Batch& batch, int threads, const Run& run) {
  const auto run_part = [&](std::int64_t begin, std::int64_t end) {
    const std::unique_ptr<void, AlignedDelete> scratch(
        ::operator new(kernel.scratch_bytes(batch.joints), std::align_val_t(64)));
    run(batch, begin, end, scratch.get());
  };
  const std::int64_t useful = (batch.poses + kPosesPerThread - 1) / kPosesPerThread;
  const std::int64_t parts = std::max<std::int64_t>(1, std::min<std::int64_t>(threads, useful));
  // Destroying a future of std::async waits for its thread, also when an exception passes here.
  std::vector<std::future<void>> others;
  for (std::int64_t i = 1; i < parts; ++i) {
    others.push_back(
        std::async(std::launch::async, run_part, batch.poses * i / parts, batch.poses * (i + 1) / parts));
  }
  run_part(0, batch.poses / parts);
  for (std::future<void>& other : others) other.get();
}

}  // namespace

std::vector<std::string> supported_instruction_sets() {
  std::vector<std::string> names;
  for (const Candidate& candidate : candidates()) {
    if (candidate.supported) names.emplace_back(candidate.kernel->name);
  }
  return names;
}

std::vector<std::string> compiled_instruction_sets() {
  std::vector<std::string> names;
  for (const Candidate& candidate : candidates()) names.emplace_back(candidate.kernel->name);
  return names;
}

template <class T>
void procrustes_cpu(const ProcrustesBatch<T>& batch, int threads, const std::string& instruction_set) {
  const ProcrustesKernel& kernel = find_kernel(instruction_set);
  if constexpr (std::is_same_v<T, float>) {
    split(kernel, batch, threads, kernel.align_float);
  } else {
    split(kernel, batch, threads, kernel.align_double);
  }
}

template <class T>
void aligned_errors_cpu(const AlignedErrorsBatch<T>& batch, int threads, const std::string& instruction_set) {
  const ProcrustesKernel& kernel = find_kernel(instruction_set);
  if constexpr (std::is_same_v<T, float>) {
    split(kernel, batch, threads, kernel.errors_float);
  } else {
    split(kernel, batch, threads, kernel.errors_double);
  }
}

template void procrustes_cpu(const ProcrustesBatch<float>&, int, const std::string&);
template void procrustes_cpu(const ProcrustesBatch<double>&, int, const std::string&);
template void aligned_errors_cpu(const AlignedErrorsBatch<float>&, int, const std::string&);
template void aligned_errors_cpu(const AlignedErrorsBatch<double>&, int, const std::string&);

}  // namespace ites_fast
