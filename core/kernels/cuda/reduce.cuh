// Sums and extremes over the threads of a warp and of a block, always in the same order.
#pragma once
#include "common.cuh"

struct Sum {
  template <class W> __device__ __forceinline__ W operator()(W a, W b) const { return a + b; }
};
struct Greatest {
  template <class W> __device__ __forceinline__ W operator()(W a, W b) const { return greater(a, b); }
};

template <class W, class Op> __device__ __forceinline__ W warp_reduce(W v, Op op) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v = op(v, __shfl_xor_sync(0xffffffffu, v, o));
  return v;
}

// Every thread gets the result. All threads of the block must call it; `empty` changes nothing when it joins.
template <class W, class Op> __device__ W block_reduce(W v, Op op, W empty) {
  __shared__ W part[32];
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = (blockDim.x + 31) >> 5;
  v = warp_reduce(v, op);
  __syncthreads();  // a reduction before this one may still be read from
  if (lane == 0) part[warp] = v;
  __syncthreads();
  return warp_reduce(lane < warps ? part[lane] : empty, op);
}
