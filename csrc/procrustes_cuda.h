// Batched Procrustes alignment on a CUDA device.
#pragma once

#include "procrustes_batch.h"

namespace ites_fast {

// Both launch on a stream (a cudaStream_t) of a device and return at once. The result is null, or what went wrong.
template <class T>
const char* procrustes_cuda(const ProcrustesBatch<T>& batch, int device, void* stream);
template <class T>
const char* aligned_errors_cuda(const AlignedErrorsBatch<T>& batch, int device, void* stream);

}  // namespace ites_fast
