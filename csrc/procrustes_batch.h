// The batch of poses that the CPU and the CUDA kernels take.
#pragma once

#include <cstdint>

namespace ites_fast {

// N poses of J joints, contiguous. Either `errors` is written or `rotation`, `scale` and `translation` are.
template <class T>
struct ProcrustesBatch {
  const T* source;  // (N, J, 3)
  const T* target;  // (N, J, 3)
  std::int64_t poses;
  int joints;
  bool with_scale;
  T* errors = nullptr;       // (N, J)
  T* rotation = nullptr;     // (N, 3, 3)
  T* scale = nullptr;        // (N)
  T* translation = nullptr;  // (N, 3)
};

}  // namespace ites_fast
