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

// f(i, value) for this thread's elements of the row; 16 bytes at once where `packed`. The order does not depend on the team's luck.
template <class Team, class T, class F> __device__ __forceinline__ void each_of_row(const T* row, int n, bool packed, F f) {
  if (packed) {
    const int K = Pack<T>::COUNT;
    for (int i = Team::rank() * K; i < n; i += Team::size() * K) {
      Pack<T> p = load_pack(row + i);
#pragma unroll
      for (int k = 0; k < K; k++) f(i + k, read(p.at[k]));
    }
  } else {
    for (int i = Team::rank(); i < n; i += Team::size()) f(i, read(row[i]));
  }
}

// to[i] = f(value of from[i], i) for the same elements.
template <class Team, class T, class F>
__device__ __forceinline__ void map_row(const T* from, T* to, int n, bool packed, F f) {
  if (packed) {
    const int K = Pack<T>::COUNT;
    for (int i = Team::rank() * K; i < n; i += Team::size() * K) {
      Pack<T> p = load_pack(from + i);
#pragma unroll
      for (int k = 0; k < K; k++) p.at[k] = write<T>(f(read(p.at[k]), i + k));
      store_pack(to + i, p);
    }
  } else {
    for (int i = Team::rank(); i < n; i += Team::size()) to[i] = write<T>(f(read(from[i]), i));
  }
}
