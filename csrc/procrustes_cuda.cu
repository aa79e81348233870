// One thread aligns one pose, with the mathematics of procrustes.h in double precision.
#include <cuda_runtime.h>

#include "procrustes.h"
#include "procrustes_cuda.h"

namespace ites_fast {
namespace {

constexpr int kThreads = 128;
constexpr int kBlocks = 3;  // resident at a time: leaves just enough registers (133 of 168) to spill none

// Reads joint j of a pose relative to its first joint.
template <class T>
__device__ void read_joint(const T* pose, int j, double joint[3]) {
  for (int i = 0; i < 3; ++i) joint[i] = static_cast<double>(pose[3 * j + i]) - static_cast<double>(pose[i]);
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks) procrustes_kernel(const ProcrustesBatch<T> batch) {
  const std::int64_t pose = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (pose >= batch.poses) return;
  const int joints = batch.joints;
  const T* const source = batch.source + pose * joints * 3;
  const T* const target = batch.target + pose * joints * 3;

  double a[3], b[3];
  Moments<double> moments;
  for (int j = 0; j < joints; ++j) {
    read_joint(source, j, a);
    read_joint(target, j, b);
    moments.add(a, b);
  }
  moments.center(joints);
  Alignment<double> alignment;
  align(moments, batch.with_scale, alignment);

  double aligned[3];
  if (batch.errors != nullptr) {
    for (int j = 0; j < joints; ++j) {
      read_joint(source, j, a);
      read_joint(target, j, b);
      alignment.apply(a, aligned);
      double square = 0.0;
      for (int i = 0; i < 3; ++i) {
        const double difference = aligned[i] + alignment.translation[i] - b[i];
        square += difference * difference;
      }
      batch.errors[pose * joints + j] = static_cast<T>(sqrt(square));
    }
    return;
  }
  for (int i = 0; i < 3; ++i) a[i] = static_cast<double>(source[i]);
  alignment.apply(a, aligned);
  for (int i = 0; i < 3; ++i) {
    const double moved = alignment.translation[i] + static_cast<double>(target[i]) - aligned[i];
    batch.translation[pose * 3 + i] = static_cast<T>(moved);
    for (int j = 0; j < 3; ++j) batch.rotation[pose * 9 + 3 * i + j] = static_cast<T>(alignment.rotation[i][j]);
  }
  batch.scale[pose] = static_cast<T>(alignment.scale);
}

}  // namespace

template <class T>
const char* procrustes_cuda(const ProcrustesBatch<T>& batch, int device, void* stream) {
  if (batch.poses == 0) return nullptr;  // a grid without blocks is an error
  int before = device;
  cudaError_t error = cudaGetDevice(&before);
  if (error == cudaSuccess && before != device) error = cudaSetDevice(device);
  if (error == cudaSuccess) {
    const auto blocks = static_cast<unsigned>((batch.poses + kThreads - 1) / kThreads);
    procrustes_kernel<T><<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(batch);
    error = cudaGetLastError();
  }
  if (before != device) {
    const cudaError_t restored = cudaSetDevice(before);  // the caller's current device stays what it was
    if (error == cudaSuccess) error = restored;
  }
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

template const char* procrustes_cuda(const ProcrustesBatch<float>&, int, void*);
template const char* procrustes_cuda(const ProcrustesBatch<double>&, int, void*);

}  // namespace ites_fast
