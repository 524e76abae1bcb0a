// Sums over rows in two stages, in one order whatever the GPU: each block adds up what its rows give to each column (add_up),
// then sum_parts adds up the blocks' sums.
#pragma once
#include "held.cuh"

// The columns' numbers that the block's threads hold into its row of `parts` (blocks, n): a block that is one team ...
template <int K, int HELD, class W> __device__ __forceinline__ void add_up(BlockTeam, const W (&mine)[HELD], W* parts, int n) {
  walk<BlockTeam, K, HELD>(n, [&](int e, int i) {
#pragma unroll
    for (int k = 0; k < K; k++) parts[(int64)blockIdx.x * n + i + k] = mine[e + k];
  });
}
// ... or several warps, one after another, through n numbers of shared memory.
template <int K, int HELD, class W> __device__ __forceinline__ void add_up(WarpTeam, const W (&mine)[HELD], W* parts, int n) {
  DYN_SHARED(W, total);
  for (int warp = 0; warp < blockDim.x >> 5; warp++) {
    __syncthreads();
    if (threadIdx.x >> 5 == warp)
      walk<WarpTeam, K, HELD>(n, [&](int e, int i) {
#pragma unroll
        for (int k = 0; k < K; k++) total[i + k] = warp ? total[i + k] + mine[e + k] : mine[e + k];
      });
  }
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) parts[(int64)blockIdx.x * n + i] = total[i];
  __syncthreads();  // the next call writes to it again
}

// parts (grid.y, count, n) summed over count: sums (grid.y, n). Blocks of 32 columns by 8.
template <class W> __device__ void sum_parts(const W* parts, W* sums, int count, int64 n) {
  __shared__ W of[8][33];
  int64 column = (int64)blockIdx.x * 32 + threadIdx.x;
  W sum = 0;
  if (column < n)
    for (int64 p = threadIdx.y; p < count; p += 8) sum += parts[(blockIdx.y * (int64)count + p) * n + column];
  of[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y || column >= n) return;
  for (int y = 1; y < 8; y++) sum += of[y][threadIdx.x];
  sums[blockIdx.y * n + column] = sum;
}
