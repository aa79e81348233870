// Chooses the instruction set at run time and splits a batch over threads.
#include "infer_cpu.h"

#include <algorithm>
#include <future>
#include <new>
#include <stdexcept>
#include <vector>

#include "procrustes_cpu.h"

namespace ites_fast {

extern const InferKernel infer_baseline;
#ifdef ITES_FAST_X86
extern const InferKernel infer_avx2, infer_avx512;
#endif

namespace {

// Below these, starting a thread costs more than it saves.
constexpr std::int64_t kStudentPosesPerThread = 8, kMLPPosesPerThread = 64;

bool runs_here(const InferKernel& kernel) {
  const std::vector<std::string> names = supported_instruction_sets();
  if (std::find(names.begin(), names.end(), kernel.name) == names.end()) return false;
#ifdef ITES_FAST_X86
  if (&kernel == &infer_avx2) return __builtin_cpu_supports("f16c");
#endif
  return true;
}

// What this processor has, the fastest first.
const std::vector<const InferKernel*>& kernels() {
  static const std::vector<const InferKernel*> found = [] {
    std::vector<const InferKernel*> result;
#ifdef ITES_FAST_X86
    for (const InferKernel* kernel : {&infer_avx512, &infer_avx2}) {
      if (runs_here(*kernel)) result.push_back(kernel);
    }
#endif
    result.push_back(&infer_baseline);
    return result;
  }();
  return found;
}

const InferKernel& find_kernel(const std::string& name) {
  for (const InferKernel* kernel : kernels()) {
    if (name.empty() || name == kernel->name) return *kernel;
  }
  throw std::invalid_argument("instruction set '" + name + "' was not compiled or this processor lacks it");
}

// Memory of a thread that outlives the call: the next one of the same size allocates nothing.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { free(); }

  float* floats(std::size_t count) {
    if (count > capacity_) {
      free();
      memory_ = static_cast<float*>(::operator new(count * sizeof(float), kAlignment));
      capacity_ = count;
    }
    return memory_;
  }

 private:
  static constexpr std::align_val_t kAlignment{64};

  void free() {
    ::operator delete(memory_, kAlignment);
    memory_ = nullptr;
    capacity_ = 0;
  }

  float* memory_ = nullptr;
  std::size_t capacity_ = 0;
};

template <class Problem>
void run_parts(const Problem& problem, std::int64_t poses_per_thread, int threads,
               std::size_t (*scratch_floats)(const Problem&, std::int64_t),
               void (*kernel)(const Problem&, std::int64_t, std::int64_t, float*)) {
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    thread_local Scratch scratch;
    kernel(problem, begin, end, scratch.floats(scratch_floats(problem, end - begin)));
  };
  const std::int64_t useful = problem.poses / poses_per_thread;
  const std::int64_t parts = std::max<std::int64_t>(1, std::min<std::int64_t>(threads, useful));
  // Destroying a future of std::async waits for its thread, also when an exception passes here.
  std::vector<std::future<void>> others;
  for (std::int64_t i = 1; i < parts; ++i) {
    others.push_back(std::async(std::launch::async, run, problem.poses * i / parts, problem.poses * (i + 1) / parts));
  }
  run(0, problem.poses / parts);
  for (std::future<void>& other : others) other.get();
}

}  // namespace

void student_infer_cpu(const Student& student, int threads, const std::string& instruction_set) {
  const InferKernel& kernel = find_kernel(instruction_set);
  run_parts(student, kStudentPosesPerThread, threads, kernel.student_scratch, kernel.student);
}

void mlp_infer_cpu(const MLP& mlp, int threads, const std::string& instruction_set) {
  const InferKernel& kernel = find_kernel(instruction_set);
  run_parts(mlp, kMLPPosesPerThread, threads, kernel.mlp_scratch, kernel.mlp);
}

}  // namespace ites_fast
