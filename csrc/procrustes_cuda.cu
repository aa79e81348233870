// The tiles of procrustes_tile.h on CUDA: a block for each of them.
#include <cuda_runtime.h>

#include "procrustes_cuda.h"
#include "procrustes_tile.h"

namespace ites_fast {
namespace {

constexpr int kBlocks = 6;  // resident at a time: leaves just enough registers (168) to spill none
constexpr std::int64_t kLargestGrid = 1 << 20;  // blocks; they take further tiles in turn

template <class State>
class DeviceBlock {
 public:
  template <class Step>
  __device__ void each(const Step& step) {
    step(static_cast<int>(threadIdx.x));
    __syncthreads();
  }
  __device__ State& state(int) { return state_; }

 private:
  State state_;
};

template <class T, bool kStaged>
__global__ void __launch_bounds__(kTilePoses, kBlocks)
    align_kernel(const ProcrustesBatch<T> batch, std::int64_t tiles) {
  extern __shared__ __align__(16) char shared[];
  DeviceBlock<Alignment<double>> block;
  for (std::int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    align_tile<T, kStaged>(block, batch, tile, reinterpret_cast<T*>(shared));
  }
}

template <class T, bool kStaged>
__global__ void __launch_bounds__(kTilePoses, kBlocks)
    measure_kernel(const AlignedErrorsBatch<T> batch, std::int64_t tiles) {
  extern __shared__ __align__(16) char shared[];
  DeviceBlock<AlignedErrorsState> block;
  for (std::int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    measure_tile<T, kStaged>(block, batch, tile, reinterpret_cast<T*>(shared));
  }
}

// Launches the kernel that stages its tiles in shared memory where they fit, else the other one.
template <class T, template <class> class Batch>
const char* launch(const Batch<T>& batch, int device, void* stream, void (*staged)(Batch<T>, std::int64_t),
                   void (*direct)(Batch<T>, std::int64_t)) {
  if (batch.poses == 0) return nullptr;  // a grid without blocks is an error
  int before = device;
  cudaError_t error = cudaGetDevice(&before);
  if (error == cudaSuccess && before != device) error = cudaSetDevice(device);
  if (error == cudaSuccess) {
    const bool fits = fits_in_shared(batch);
    const std::size_t shared = fits ? shared_size(batch) * sizeof(T) : 0;
    const std::int64_t tiles = tiles_of(batch.poses);
    const auto grid = static_cast<unsigned>(tiles < kLargestGrid ? tiles : kLargestGrid);
    (fits ? staged : direct)<<<grid, kTilePoses, shared, static_cast<cudaStream_t>(stream)>>>(batch, tiles);
    error = cudaGetLastError();
  }
  if (before != device) {
    const cudaError_t restored = cudaSetDevice(before);  // the caller's current device stays what it was
    if (error == cudaSuccess) error = restored;
  }
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace

template <>
const char* procrustes_cuda(const ProcrustesBatch<float>& batch, int device, void* stream) {
  return launch(batch, device, stream, align_kernel<float, true>, align_kernel<float, false>);
}

template <>
const char* procrustes_cuda(const ProcrustesBatch<double>& batch, int device, void* stream) {
  return launch(batch, device, stream, align_kernel<double, false>, align_kernel<double, false>);
}

template <>
const char* aligned_errors_cuda(const AlignedErrorsBatch<float>& batch, int device, void* stream) {
  return launch(batch, device, stream, measure_kernel<float, true>, measure_kernel<float, false>);
}

template <>
const char* aligned_errors_cuda(const AlignedErrorsBatch<double>& batch, int device, void* stream) {
  return launch(batch, device, stream, measure_kernel<double, false>, measure_kernel<double, false>);
}

}  // namespace ites_fast
