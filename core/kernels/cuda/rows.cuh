// Rows of n elements, one after another in memory, each the work of a team: a warp where rows are short, else a block.
#pragma once
#include "reduce.cuh"

struct WarpTeam {
  static __device__ __forceinline__ int64 row() { return (int64)blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5); }
  static __device__ __forceinline__ int rank() { return threadIdx.x & 31; }
  static __device__ __forceinline__ int size() { return 32; }
  static __device__ __forceinline__ int64 count() { return (int64)gridDim.x * (blockDim.x >> 5); }
  template <class W, class Op> static __device__ __forceinline__ W reduce(W v, Op op, W) { return warp_reduce(v, op); }
};
struct BlockTeam {
  static __device__ __forceinline__ int64 row() { return blockIdx.x; }
  static __device__ __forceinline__ int rank() { return threadIdx.x; }
  static __device__ __forceinline__ int size() { return blockDim.x; }
  static __device__ __forceinline__ int64 count() { return gridDim.x; }
  template <class W, class Op> static __device__ __forceinline__ W reduce(W v, Op op, W empty) { return block_reduce(v, op, empty); }
};
