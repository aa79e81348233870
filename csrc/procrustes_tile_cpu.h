// The CUDA kernels' tiles on the CPU, so that tests reach them without a GPU.
#pragma once

#include "procrustes_batch.h"

namespace ites_fast {

// As the CPU kernels, one thread of a block after the other. `staged`: through what stands for shared memory, as CUDA
// does where the tile fits. Throws std::invalid_argument where it does not.
template <class T>
void procrustes_tiles(const ProcrustesBatch<T>& batch, bool staged);
template <class T>
void aligned_errors_tiles(const AlignedErrorsBatch<T>& batch, bool staged);

}  // namespace ites_fast
